"""The trial: candidates × prompts × numbers of shots on the user's own evaluation.

"Only once we reach a ceiling do we fine-tune": so the ceiling is measured. Every answer is written
to ``answers.jsonl`` and brought to the disk before it counts; the same command goes on after a kill
and asks nothing that was answered. What a request is, is its hash (endpoint, model, chat, length):
a changed prompt asks anew, an unchanged one never.

The budget is a cap, not a hope: before a request starts, its worst case is set aside.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from groundup.decide.endpoint import Endpoint, RequestRefused, base_url
from groundup.decide.examples import Item, Match, Prompt, is_right, messages
from groundup.decide.trial_candidates import TrialCandidate, require_names
from groundup.errors import BudgetError, ConfigError, GroundupError, InputError, Interrupted
from groundup.files import fsync_folder, hash_json, lock, storage_errors
from groundup.progress import progress

ANSWERS = "answers.jsonl"
TEMPLATE_TOKENS = 16  # a chat's own tokens per message, beyond its text: generous


@dataclass(frozen=True)
class Settings:
    """How the trial asks.

    Raises:
        ConfigError: a number that makes no sense.
    """

    max_tokens: int = 64
    match: Match = "exact"
    max_usd: float | None = None
    concurrency: int = 4
    attempts: int = 6
    timeout_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name in ("max_tokens", "concurrency", "attempts"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be at least 1")
        if self.timeout_seconds <= 0:
            raise ConfigError(f"timeout_seconds is {self.timeout_seconds}, but must be above 0")
        if self.max_usd is not None and self.max_usd <= 0:
            raise ConfigError(f"max_usd is {self.max_usd}, but must be above 0")


@dataclass(frozen=True)
class Try:
    """One candidate with one prompt and one number of shots."""

    candidate: TrialCandidate
    prompt: Prompt
    n_shots: int


@dataclass(frozen=True)
class Request:
    """One question of one try, and its identity."""

    candidate: TrialCandidate
    chat: list[dict[str, str]]
    max_tokens: int

    @property
    def key(self) -> str:
        """The hash of all that the answer depends on."""
        identity = [base_url(self.candidate), self.candidate.model, self.chat, self.max_tokens, 0]
        return hash_json(identity)

    @property
    def most_usd(self) -> float:
        """What it can cost at most: no token is shorter than a byte of text."""
        size = sum(len(turn["content"].encode()) + TEMPLATE_TOKENS for turn in self.chat)
        return self.candidate.usd(size, self.max_tokens) or 0.0


@dataclass(frozen=True)
class Answer:
    """A line of `ANSWERS`."""

    key: str
    reply: str | None  # None: the endpoint refused this request
    problem: str
    input_tokens: int | None
    output_tokens: int | None
    seconds: float
    attempts: int
    usd: float | None


@dataclass(frozen=True)
class Outcome:
    """One try on every scored item; None where there is no answer."""

    attempt: Try
    right: list[bool | None]
    answers: list[Answer | None]


def run_trial(
    items: Sequence[Item],
    candidates: Sequence[TrialCandidate],
    prompts: Sequence[Prompt],
    shots: Sequence[int],
    settings: Settings,
    folder: Path,
    examples: Sequence[Item] | None = None,
) -> list[Outcome]:
    """Ask whatever is not answered yet, and mark everything.

    Args:
        items: the evaluation.
        candidates: models to try, with different names.
        prompts: instructions to try, in the order of effort.
        shots: numbers of worked examples to try.
        settings: how to ask.
        folder: of `ANSWERS`; made if absent.
        examples: where shots are taken from, in order; None sets the first items of the evaluation
            aside for all tries, so that every try is marked on the same items.

    Raises:
        ConfigError: nothing to try, or not enough examples.
        BudgetError: the cap is reached; what was answered is kept.
        InputError: an endpoint refuses or fails for good; what was answered is kept.
        Interrupted: asked to stop; what was answered is kept.
        LockedError: another trial is at work in the folder.
    """
    require_names(list(candidates))
    scored, examples = set_aside(items, shots, examples)
    if settings.max_usd is not None:
        unpriced = [candidate.name for candidate in candidates if not candidate.is_priced]
        if unpriced:
            raise ConfigError(
                f"a cap on the cost needs prices, and {unpriced[0]!r} has none",
                fix="give usd_per_million_input and usd_per_million_output (0 for your own server)",
            )
    tries = [
        Try(candidate, prompt, n)
        for candidate in candidates
        for prompt in prompts
        for n in sorted(set(shots))
    ]
    asked = [
        [
            Request(
                one.candidate,
                messages(one.prompt, item, examples[: one.n_shots]),
                settings.max_tokens,
            )
            for item in scored
        ]
        for one in tries
    ]
    with lock(folder / ".trial.lock"):
        journal = Journal(folder / ANSWERS)
        _ask(asked, journal, settings)
    return [
        _marked(one, scored, [journal.answers.get(request.key) for request in requests], settings)
        for one, requests in zip(tries, asked, strict=True)
    ]


def set_aside(
    items: Sequence[Item], shots: Sequence[int], examples: Sequence[Item] | None
) -> tuple[list[Item], list[Item]]:
    """The items to mark, and the examples to show.

    Raises:
        ConfigError: no number of shots, a negative one, or more than there are examples.
    """
    if not shots or min(shots) < 0:
        raise ConfigError(f"shots are {list(shots)}, but must be numbers of at least 0")
    most = max(shots)
    if examples is None:
        scored, shown = list(items[most:]), list(items[:most])
    else:
        ids = {item.question for item in examples}
        scored, shown = [item for item in items if item.question not in ids], list(examples)
    if len(shown) < most or not scored:
        raise ConfigError(
            f"{most} shots need {most} examples and something left to mark; there are "
            f"{len(shown)} examples and {len(scored)} items",
            fix="give fewer shots, or more examples",
        )
    return scored, shown


class Journal:
    """The answers so far, on disk: appended one line at a time, each brought to the disk.

    Raises:
        InputError: a line in the middle that is no answer (a torn last one is cut off).
    """

    def __init__(self, path: Path) -> None:
        self.path, self.answers = path, dict[str, Answer]()
        self._lock = threading.Lock()
        with storage_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            data = path.read_bytes() if path.exists() else b""
            whole = data[: data.rfind(b"\n") + 1]
            for number, line in enumerate(whole.splitlines(), 1):
                try:
                    answer = Answer(**json.loads(line))
                except (ValueError, TypeError) as error:
                    raise InputError(
                        "not a line of answers", where=f"{path}:{number}", fix="remove the line"
                    ) from error
                self.answers[answer.key] = answer
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            os.ftruncate(self._file, len(whole))
            fsync_folder(path.parent)

    def add(self, answer: Answer) -> None:
        """Write one answer."""
        line = json.dumps(asdict(answer), ensure_ascii=False, allow_nan=False) + "\n"
        with self._lock, storage_errors(self.path.parent):
            rest = memoryview(line.encode("utf-8", "surrogatepass"))
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
            self.answers[answer.key] = answer

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    @property
    def usd(self) -> float:
        """What the answers cost, as far as prices are known."""
        return sum(answer.usd or 0.0 for answer in self.answers.values())


def _ask(asked: Sequence[Sequence[Request]], journal: Journal, settings: Settings) -> None:
    """Ask what is missing, some requests at a time, until all is there or something ends it."""
    missing = list(_missing(asked, journal))
    total = len({request.key for requests in asked for request in requests})
    if not missing:
        journal.close()
        return
    stop = threading.Event()
    endpoints = {
        request.candidate.name: request.candidate for request in missing
    }  # opened once each, before anything is asked
    opened = {
        name: Endpoint(
            candidate,
            timeout_seconds=settings.timeout_seconds,
            attempts=settings.attempts,
            stop=stop,
        )
        for name, candidate in endpoints.items()
    }
    spent = journal.usd
    failure: GroundupError | None = None
    running: dict[Future[Answer], Request] = {}
    queue = iter(missing)
    pool = ThreadPoolExecutor(settings.concurrency)
    done = total - len(missing)
    try:
        with progress("trial", total, "answers", done=done) as shown:
            exhausted = False
            while running or not exhausted:
                while not exhausted and failure is None and len(running) < settings.concurrency:
                    request = next(queue, None)
                    if request is None:
                        exhausted = True
                        break
                    aside = sum(one.most_usd for one in running.values())
                    most = spent + aside + request.most_usd
                    if settings.max_usd is not None and most > settings.max_usd:
                        failure = _cap_reached(spent, request, settings.max_usd, len(missing))
                        break
                    endpoint = opened[request.candidate.name]
                    running[pool.submit(_one, endpoint, request, journal)] = request
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    del running[future]
                    try:
                        answer = future.result()
                    except (InputError, Interrupted) as error:
                        failure = failure or error
                        stop.set()
                        continue
                    spent += answer.usd or 0.0
                    shown.advance(1, f"${spent:.4f}" if spent else "")
    except KeyboardInterrupt:
        failure = Interrupted(
            "stopped; every answer that came is kept", fix="the same command goes on from there"
        )
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        for endpoint in opened.values():
            endpoint.close()
        journal.close()
    if failure is not None:
        raise failure


def _missing(asked: Sequence[Sequence[Request]], journal: Journal) -> Iterator[Request]:
    """Requests without an answer, each once."""
    seen = set(journal.answers)
    for requests in asked:
        for request in requests:
            key = request.key
            if key not in seen:
                seen.add(key)
                yield request


def _one(endpoint: Endpoint, request: Request, journal: Journal) -> Answer:
    """Ask one request and write its answer."""
    key = request.key
    try:
        reply = endpoint.ask(request.chat, max_tokens=request.max_tokens, key=key)
    except RequestRefused as refusal:
        answer = Answer(key, None, str(refusal), None, None, 0.0, 1, 0.0)
    else:
        usd = _usd(request, reply.input_tokens, reply.output_tokens)
        answer = Answer(
            key,
            reply.text,
            "",
            reply.input_tokens,
            reply.output_tokens,
            reply.seconds,
            reply.attempts,
            usd,
        )
    journal.add(answer)
    return answer


def _usd(request: Request, input_tokens: int | None, output_tokens: int | None) -> float | None:
    """The price of an answer; the worst case where the endpoint does not count tokens."""
    if not request.candidate.is_priced:
        return None
    if input_tokens is None or output_tokens is None:
        return request.most_usd
    return request.candidate.usd(input_tokens, output_tokens)


def _cap_reached(spent: float, request: Request, max_usd: float, missing: int) -> BudgetError:
    return BudgetError(
        f"the cap of ${max_usd:g} would be passed: ${spent:.4f} are spent, the next answer may "
        f"cost ${request.most_usd:.4f}",
        where="max_usd",
        fix=f"raise it; about ${spent + missing * request.most_usd:.2f} is surely enough, and what "
        "is answered is not asked again",
    )


def _marked(
    one: Try, scored: Sequence[Item], answers: list[Answer | None], settings: Settings
) -> Outcome:
    right: list[bool | None] = [
        None
        if answer is None or answer.reply is None
        else is_right(item, answer.reply, settings.match)
        for item, answer in zip(scored, answers, strict=True)
    ]
    return Outcome(one, right, answers)


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """For JSON: the try's names, not its endpoint."""
    one = outcome.attempt
    return {
        "candidate": one.candidate.name,
        "model": one.candidate.model,
        "prompt": one.prompt.name,
        "shots": one.n_shots,
    }
