"""The trial: candidates × prompts × numbers of shots on the user's own evaluation.

"Only once we reach a ceiling do we fine-tune": so the ceiling is measured. Every answer is written
to ``answers.jsonl`` and brought to the disk before it counts; the same command goes on after a kill
and asks nothing that was answered. Marks and prices are worked out from the answers each time, so
that a price added later, or another way to mark, needs no new answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from groundup.decide.examples import Item, Prompt
from groundup.decide.marking import chosen, is_right
from groundup.decide.trial_asking import ask_all
from groundup.decide.trial_candidates import TrialCandidate
from groundup.decide.trial_journal import ANSWERS, Answer, read_answers
from groundup.decide.trial_plan import Plan, Request, Settings, Try, plan_trial


@dataclass(frozen=True)
class Mark:
    """One answer, marked and priced."""

    answer: Answer
    right: bool | None  # None: the endpoint refused to answer
    cut_off: bool  # at the most tokens of an answer
    empty: bool  # no text
    spoilt: bool  # empty, or cut off before the answer
    usd: float | None  # None: refused, or no prices


@dataclass(frozen=True)
class Outcome:
    """One try on every scored item; None where it is not asked yet."""

    attempt: Try
    marks: list[Mark | None]


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
        examples: where shots are taken from (`plan_trial`).

    Raises:
        ConfigError: a plan that cannot be (`plan_trial`), no address or no key.
        BudgetError, InputError, Interrupted, LockedError: as `ask_all`; what was answered is kept,
            and `read_outcomes` marks it.
    """
    plan = plan_trial(items, candidates, prompts, shots, settings, examples)
    ask_all(plan, folder)
    return read_outcomes(plan, folder)


def read_outcomes(plan: Plan, folder: Path) -> list[Outcome]:
    """What is answered so far, marked and priced; asks nothing.

    Raises:
        InputError: a line in the journal is no answer.
    """
    answers = read_answers(folder / ANSWERS)
    return [
        Outcome(
            one,
            [
                _mark(item, request, answers.get(request.key), plan.settings)
                for item, request in zip(plan.items, requests, strict=True)
            ],
        )
        for one, requests in zip(plan.tries, plan.requests, strict=True)
    ]


def _mark(item: Item, request: Request, answer: Answer | None, settings: Settings) -> Mark | None:
    if answer is None:
        return None
    if answer.reply is None:
        return Mark(answer, None, cut_off=False, empty=False, spoilt=False, usd=None)
    right = is_right(item, answer.reply, settings.match)
    cut_off, empty = answer.finish_reason == "length", not answer.reply.strip()
    found = chosen(item, answer.reply) is not None if item.choices else right
    return Mark(
        answer, right, cut_off, empty, empty or (cut_off and not found), request.usd(answer)
    )
