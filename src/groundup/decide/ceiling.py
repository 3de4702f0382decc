"""What a trial says: quality with its interval, price, speed, and whether prompting has flattened.

The white paper's rule, "only once we reach a ceiling do we fine-tune", made a test: along the tries
of one candidate, in the order of effort, is the best of the later half better than the best of the
earlier half on the same items? The paired bootstrap interval of that gain decides:

    flattened     even its upper end is below `WORTH`
    still rising  its lower end is above zero
    open          neither: the text says how many items would be enough
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from groundup.decide.trial import Outcome
from groundup.intervals import FEWEST_DOCUMENTS, ratio_interval, wilson

WORTH = 0.02  # a gain in the share of right answers that would be worth another prompt
FEWEST_TRIES = 3


@dataclass(frozen=True)
class Row:
    """One try in numbers."""

    candidate: str
    prompt: str
    shots: int
    n: int  # items with an answer
    unanswered: int  # refused by the endpoint
    quality: float | None  # share of right answers
    interval: tuple[float, float]  # 95 % (Wilson)
    usd_per_1000: float | None
    quality_per_usd: float | None  # right answers for a dollar
    median_seconds: float | None
    p95_seconds: float | None


@dataclass(frozen=True)
class Ceiling:
    """Whether more prompting still pays, for one candidate."""

    candidate: str
    best: Row
    verdict: Literal["flattened", "still rising", "open"]
    gain: float | None  # of the later tries over the earlier ones, in share of right answers
    gain_interval: tuple[float, float] | None
    items_needed: int | None  # to close an open verdict, about
    text: str


def rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """Every try in numbers."""
    return [_row(outcome) for outcome in outcomes]


def ceilings(outcomes: Sequence[Outcome]) -> list[Ceiling]:
    """The verdict for each candidate, in the order of their tries."""
    names = list(dict.fromkeys(outcome.attempt.candidate.name for outcome in outcomes))
    found = []
    for name in names:
        own = [outcome for outcome in outcomes if outcome.attempt.candidate.name == name]
        answered = [outcome for outcome in own if any(one is not None for one in outcome.right)]
        if answered:
            found.append(_ceiling(name, answered))
    return found


def _row(outcome: Outcome) -> Row:
    marks = [one for one in outcome.right if one is not None]
    n, right = len(marks), sum(marks)
    answers = [answer for answer in outcome.answers if answer is not None]
    seconds = sorted(answer.seconds for answer in answers if answer.reply is not None)
    prices = [answer.usd for answer in answers if answer.usd is not None]
    usd = sum(prices) if prices and len(prices) == len(answers) else None
    one = outcome.attempt
    return Row(
        one.candidate.name,
        one.prompt.name,
        one.n_shots,
        n,
        len(outcome.right) - n,
        right / n if n else None,
        wilson(right, n),
        1000 * usd / len(answers) if usd is not None else None,
        right / usd if usd else None,
        median(seconds) if seconds else None,
        seconds[math.ceil(0.95 * len(seconds)) - 1] if seconds else None,
    )


def _ceiling(name: str, outcomes: Sequence[Outcome]) -> Ceiling:
    best = max((_row(outcome) for outcome in outcomes), key=lambda row: row.quality or 0.0)
    if len(outcomes) < FEWEST_TRIES:
        text = (
            f"{len(outcomes)} tries say nothing of a ceiling: "
            f"give at least {FEWEST_TRIES} prompts or numbers of shots"
        )
        return Ceiling(name, best, "open", None, None, None, text)
    middle = len(outcomes) // 2
    earlier, later = _best(outcomes[:middle]), _best(outcomes[middle:])
    pairs = [
        (float(after), float(before))
        for before, after in zip(earlier.right, later.right, strict=True)
        if before is not None and after is not None
    ]
    gains = np.array([after - before for after, before in pairs])
    interval = ratio_interval(gains, np.ones(len(gains))) if pairs else None
    if interval is None:
        text = f"{len(pairs)} items are too few for an interval: give at least {FEWEST_DOCUMENTS}"
        return Ceiling(name, best, "open", None, None, FEWEST_DOCUMENTS, text)
    gain, (low, high) = float(gains.mean()), interval
    shown = f"{gain:+.1%} ({low:+.1%} to {high:+.1%})"
    if high < WORTH:
        text = f"the later tries gained {shown}: prompting has flattened, fine-tuning is next"
        return Ceiling(name, best, "flattened", gain, interval, None, text)
    if low > 0:
        text = f"the later tries gained {shown}: better prompts still pay, try more of them first"
        return Ceiling(name, best, "still rising", gain, interval, None, text)
    # The interval narrows with the root of the number of items.
    needed = math.ceil(len(pairs) * ((high - low) / 2 / WORTH) ** 2)
    text = (
        f"the later tries gained {shown}: {len(pairs)} items cannot tell a ceiling from a gain "
        f"worth having; about {needed:,} would"
    )
    return Ceiling(name, best, "open", gain, interval, needed, text)


def _best(outcomes: Sequence[Outcome]) -> Outcome:
    def share(outcome: Outcome) -> float:
        marks = [one for one in outcome.right if one is not None]
        return sum(marks) / len(marks)

    return max(outcomes, key=share)
