"""A try in numbers: quality with its interval, price, speed, and what went wrong."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from groundup.decide.trial import Outcome
from groundup.intervals import wilson

SHOWN_REFUSALS = 3  # the most frequent ones


@dataclass(frozen=True)
class Row:
    """One try."""

    candidate: str
    model: str
    prompt: str
    shots: int
    n: int  # items with an answer
    refused: int  # by the endpoint
    not_asked: int  # yet
    cut_off: int  # answers that ended at the most tokens
    empty: int  # answers without text
    spoilt: int  # answers that are empty, or cut off before they answer
    quality: float | None  # share of right answers
    interval: tuple[float, float] | None  # 95 % (Wilson)
    usd_per_1000: float | None
    quality_per_usd: float | None  # right answers for a dollar
    median_seconds: float | None
    p95_seconds: float | None

    @property
    def name(self) -> str:
        """The try among those of its candidate."""
        return f"{self.prompt}, {self.shots} {'shot' if self.shots == 1 else 'shots'}"


@dataclass(frozen=True)
class Refusal:
    """What an endpoint objected to, and how often."""

    candidate: str
    count: int
    problem: str


def rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """Every try in numbers."""
    return [row_of(outcome) for outcome in outcomes]


def row_of(outcome: Outcome) -> Row:
    """One try in numbers."""
    marks = [mark for mark in outcome.marks if mark is not None]
    answered = [mark for mark in marks if mark.right is not None]
    n, right = len(answered), sum(bool(mark.right) for mark in answered)
    seconds = sorted(mark.answer.seconds for mark in answered)
    prices = [mark.usd for mark in answered if mark.usd is not None]
    usd = sum(prices) if prices and len(prices) == n else None
    one = outcome.attempt
    return Row(
        candidate=one.candidate.name,
        model=one.candidate.model,
        prompt=one.prompt.name,
        shots=one.n_shots,
        n=n,
        refused=len(marks) - n,
        not_asked=len(outcome.marks) - len(marks),
        cut_off=sum(mark.cut_off for mark in answered),
        empty=sum(mark.empty for mark in answered),
        spoilt=sum(mark.spoilt for mark in answered),
        quality=right / n if n else None,
        interval=wilson(right, n) if n else None,
        usd_per_1000=None if usd is None else 1000 * usd / n,
        quality_per_usd=right / usd if usd else None,
        median_seconds=median(seconds) if seconds else None,
        p95_seconds=seconds[math.ceil(0.95 * n) - 1] if seconds else None,
    )


def refusals(outcomes: Sequence[Outcome]) -> list[Refusal]:
    """The most frequent objections of each candidate's endpoint."""
    said: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        problems = said.setdefault(outcome.attempt.candidate.name, Counter())
        problems.update(
            mark.answer.problem
            for mark in outcome.marks
            if mark is not None and mark.answer.reply is None
        )
    return [
        Refusal(name, count, problem)
        for name, problems in said.items()
        for problem, count in problems.most_common(SHOWN_REFUSALS)
    ]
