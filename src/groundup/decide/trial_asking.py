"""Asking what is not answered yet: some requests at a time, within the budget, until it is done.

Before a request starts, its worst case is set aside; after each answer, what it did cost is
compared with the cap. A candidate that fails is left out and the others go on. Ctrl-C drops what is
in flight at once: it is asked again the next time, under the same ``Idempotency-Key``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections import Counter
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from groundup.decide.endpoint import Endpoint, RequestRefused
from groundup.decide.trial_journal import ANSWERS, Answer, Journal
from groundup.decide.trial_plan import Plan, Request
from groundup.errors import BudgetError, InputError, Interrupted, UserError
from groundup.files import lock
from groundup.progress import Progress, progress, say

ROUNDING = 1e-9  # of sums of prices


def ask_all(plan: Plan, folder: Path) -> None:
    """Ask whatever is not answered yet; every answer is in ``folder / ANSWERS`` as it comes.

    Raises:
        ConfigError: no address or no key.
        BudgetError: the cap is reached.
        InputError: candidates that refuse or fail for good; the others are done.
        Interrupted: asked to stop.
        LockedError: another trial is at work in the folder.
    """
    _ = plan.distinct  # a wrong address is said before anything is written
    with lock(folder / ".trial.lock"), closing(Journal(folder / ANSWERS)) as journal:
        asking = Asking(plan, journal)
        if asking.missing:
            _run(asking.ask())
        failures = asking.failures | _all_refused(plan, journal)
    if asking.budget is not None:
        raise asking.budget
    if len(failures) == 1:
        raise next(iter(failures.values()))
    if failures:
        raise InputError(
            "; ".join(error.message for error in failures.values()),
            where=", ".join(failures),
            fix="the same command asks only what is not answered yet",
        )


def dollars(usd: float) -> str:
    """Three digits, rounded up: what is surely enough must not be rounded away."""
    if usd <= 0:
        return "$0"
    digits = max(2 - math.floor(math.log10(usd)), 0)
    raised = math.ceil(usd * 10**digits * (1 - ROUNDING)) / 10**digits
    return f"${raised:,.{digits}f}"


class Asking:
    """One run over what is missing."""

    def __init__(self, plan: Plan, journal: Journal) -> None:
        self.plan, self.journal, self.settings = plan, journal, plan.settings
        self.missing = list(_missing(plan, journal))
        self.spent = sum(
            _paid(answer, plan.distinct.get(key)) for key, answer in journal.answers.items()
        )
        self.running: dict[asyncio.Task[Answer], Request] = {}
        self.failures: dict[str, UserError] = {}  # by candidate
        self.budget: BudgetError | None = None

    async def ask(self) -> None:
        """Ask until all is there, or the cap or every candidate's failure ends it."""
        endpoints = {
            one.name: Endpoint(
                one,
                timeout_seconds=self.settings.timeout_seconds,
                attempts=self.settings.attempts,
            )
            for one in {request.candidate.name: request.candidate for request in self.missing}
            .values()
        }  # fmt: skip
        total = len(self.plan.distinct)
        self.missing.reverse()  # the next one is the last
        try:
            with progress("trial", total, "answers", done=total - len(self.missing)) as shown:
                self._start(endpoints)
                while self.running:
                    done, _ = await asyncio.wait(self.running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        self._take(task, shown)
                    self._start(endpoints)
        except asyncio.CancelledError:
            say("stopping")
            raise
        finally:
            for task in self.running:
                task.cancel()
            await asyncio.gather(*self.running, return_exceptions=True)
            for endpoint in endpoints.values():
                await endpoint.close()

    def _start(self, endpoints: dict[str, Endpoint]) -> None:
        """Start as many requests as may run now."""
        cap = self.settings.max_usd
        while self.missing and self.budget is None:
            request = self.missing[-1]
            if request.candidate.name in self.failures:
                self.missing.pop()
                continue
            if len(self.running) >= self.settings.concurrency:
                return
            aside = sum(one.most_usd for one in self.running.values())
            most = self.spent + aside + request.most_usd
            if cap is not None and most > cap * (1 + ROUNDING):
                if not self.running:  # else an answer may come in below its worst case
                    self.budget = self._cap_reached(cap, request)
                return
            self.missing.pop()
            endpoint = endpoints[request.candidate.name]
            self.running[asyncio.ensure_future(_one(endpoint, request, self.journal))] = request

    def _take(self, task: asyncio.Task[Answer], shown: Progress) -> None:
        """Count one answer, or a candidate's failure."""
        request = self.running.pop(task)
        try:
            answer = task.result()
        except InputError as error:
            name = request.candidate.name
            if name not in self.failures:
                self.failures[name] = error
                if any(one.candidate.name != name for one in self.missing):
                    say(f"{error.message}; the other candidates go on")
            return
        self.spent += request.usd(answer) or 0.0
        shown.advance(1, dollars(self.spent) if self.spent else "")
        cap = self.settings.max_usd
        if cap is not None and self.spent > cap * (1 + ROUNDING) and self.budget is None:
            self.budget = BudgetError(
                f"the cap of {dollars(cap)} is passed: {dollars(self.spent)} are spent, by the "
                f"tokens the endpoint of {request.candidate.name!r} counts",
                where="max_usd",
                fix="its last answers cost more than their text allows: compare "
                "input_tokens and output_tokens in answers.jsonl with the provider's bill",
            )

    def _cap_reached(self, cap: float, request: Request) -> BudgetError:
        enough = self.spent + sum(one.most_usd for one in self.missing)
        return BudgetError(
            f"the cap of {dollars(cap)} would be passed: {dollars(self.spent)} are spent, the next "
            f"answer may cost {dollars(request.most_usd)}",
            where="max_usd",
            fix=f"raise it; {dollars(enough)} is surely enough, and what is answered is not "
            "asked again",
        )


def _run(asking: Coroutine[Any, Any, None]) -> None:
    """Run it to its end, also where a loop runs already (a notebook).

    Raises:
        Interrupted: Ctrl-C.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, asking).result()
    try:
        asyncio.run(asking)
    except KeyboardInterrupt:
        raise Interrupted(
            "stopped; every answer that came is kept", fix="the same command goes on from there"
        ) from None


def _missing(plan: Plan, journal: Journal) -> Iterator[Request]:
    """Requests without an answer, each once."""
    for key, request in plan.distinct.items():
        answer = journal.answers.get(key)
        if answer is None or (answer.reply is None and plan.settings.retry_refused):
            yield request


def _paid(answer: Answer, request: Request | None) -> float:
    """At present prices; where the trial no longer holds the request, as it was priced then."""
    usd = answer.usd if request is None else request.usd(answer)
    return usd or 0.0


async def _one(endpoint: Endpoint, request: Request, journal: Journal) -> Answer:
    """Ask one request and write its answer."""
    key = request.key
    try:
        reply = await endpoint.ask(request.chat, max_tokens=request.max_tokens, key=key)
    except RequestRefused as refusal:
        answer = Answer(key, None, str(refusal), None, None, None, 0.0, 1, None)
    else:
        answer = Answer(
            key,
            reply.text,
            "",
            reply.finish_reason,
            reply.input_tokens,
            reply.output_tokens,
            reply.seconds,
            reply.attempts,
            None,
        )
        answer = dataclasses.replace(answer, usd=request.usd(answer))
    journal.add(answer)
    return answer


def _all_refused(plan: Plan, journal: Journal) -> dict[str, UserError]:
    """Candidates of which every request is refused, with what their endpoint says most."""
    said: dict[str, Counter[str]] = {}
    for key, request in plan.distinct.items():
        answer = journal.answers.get(key)
        problems = said.setdefault(request.candidate.name, Counter())
        problems["" if answer is None or answer.reply is not None else answer.problem] += 1
    return {
        name: InputError(
            f"every request of {name!r} is refused: {problems.most_common(1)[0][0]}",
            where=f"candidate {name}",
            fix="mend what it objects to (max_tokens_parameter, temperature, model); "
            "--retry-refused asks again",
        )
        for name, problems in said.items()
        if "" not in problems
    }
