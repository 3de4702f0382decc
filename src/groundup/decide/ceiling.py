"""Whether prompting has flattened, for each candidate of a trial.

The white paper's rule, "only once we reach a ceiling do we fine-tune", made a test: along the tries
of one candidate, in the order of effort, is the best of the later half better than the best of the
earlier half on the same items? The interval of that paired difference decides:

    flattened     even its upper end is below `WORTH`
    still rising  its lower end is above zero
    open          neither: the text says how many items would be enough
    at the top    every answer of the best try is right: nothing is left to gain on these items
    no verdict    the answers are not fit for one: too many spoilt or missing, or all wrong

The interval is the score interval of Tango (1998): it has a width also where no pair is discordant,
z²/(n + z²), so that a handful of items never says "flattened".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from groundup.decide.trial import Outcome
from groundup.decide.trial_rows import Row, row_of
from groundup.intervals import Z

WORTH = 0.02  # a gain in the share of right answers that would be worth another prompt
MOST_SPOILT = 0.03  # share of a try's items spoilt or missing, above which nothing is concluded
FEWEST_TRIES = 3
MOST_ITEMS = 10**7  # no evaluation is larger
Verdict = Literal["flattened", "still rising", "open", "at the top", "no verdict"]


@dataclass(frozen=True)
class Ceiling:
    """Whether more prompting still pays, for one candidate."""

    candidate: str
    best: Row
    verdict: Verdict
    gain: float | None  # of the later tries over the earlier ones, in share of right answers
    gain_interval: tuple[float, float] | None
    items_needed: int | None  # to close an open verdict, about
    text: str


def ceilings(outcomes: Sequence[Outcome]) -> list[Ceiling]:
    """The verdict for each candidate with an answer, in the order of their tries."""
    names = list(dict.fromkeys(outcome.attempt.candidate.name for outcome in outcomes))
    found = []
    for name in names:
        own = [outcome for outcome in outcomes if outcome.attempt.candidate.name == name]
        if any(row_of(outcome).n for outcome in own):
            found.append(_ceiling(name, own))
    return found


def paired_interval(gained: float, lost: float, n: float) -> tuple[float, float]:
    """95 % interval of a difference of paired shares (Tango 1998, Statistics in Medicine 17:891).

    Args:
        gained: pairs that are right only after.
        lost: pairs that are right only before.
        n: all pairs.
    """
    return -_upper(lost, gained, n), _upper(gained, lost, n)


def _upper(gained: float, lost: float, n: float) -> float:
    """The largest difference that the pairs do not speak against, by bisection of the score."""

    def score(difference: float) -> float:
        # the likeliest share of lost pairs under this difference (Tango's equation 9)
        a, c = 2 * n, -lost * difference * (1 - difference)
        b = -gained - lost + (2 * n - gained + lost) * difference
        q = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        variance = n * (2 * q + difference * (1 - difference))
        return (gained - lost - n * difference) / math.sqrt(max(variance, 1e-300))

    low, high = (gained - lost) / n, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if score(middle) > -Z else (low, middle)
    return high


def _ceiling(name: str, outcomes: Sequence[Outcome]) -> Ceiling:
    tries = [row_of(outcome) for outcome in outcomes]
    best = max(tries, key=lambda row: -1.0 if row.quality is None else row.quality)
    unfit = _unfit(tries, best)
    if unfit:
        return Ceiling(name, best, "no verdict", None, None, None, unfit)
    if best.quality == 1 and best.interval:
        text = (
            f"every answer of {best.name} is right ({best.interval[0]:.0%} to 100% of all such "
            "questions): nothing is left to gain here; harder or more items would tell more"
        )
        return Ceiling(name, best, "at the top", None, None, None, text)
    if len(outcomes) < FEWEST_TRIES:
        text = (
            f"{len(outcomes)} {'try says' if len(outcomes) == 1 else 'tries say'} nothing of a "
            f"ceiling: give at least {FEWEST_TRIES} prompts or numbers of shots"
        )
        return Ceiling(name, best, "open", None, None, None, text)
    middle = len(outcomes) // 2
    pairs = _pairs(_best(outcomes[:middle]), _best(outcomes[middle:]))
    gained, lost = pairs.count((False, True)), pairs.count((True, False))
    gain, interval = (gained - lost) / len(pairs), paired_interval(gained, lost, len(pairs))
    shown = f"{gain:+.1%} ({interval[0]:+.1%} to {interval[1]:+.1%})"
    verdict, why = _verdict(interval)
    if verdict != "open":
        text = f"the later tries gained {shown}: {why}"
        return Ceiling(name, best, verdict, gain, interval, None, text)
    needed = _items_needed(gained / len(pairs), lost / len(pairs), len(pairs))
    text = f"the later tries gained {shown}: {len(pairs)} {why}"
    if needed is not None:
        text += f"; about {needed:,} would"
    return Ceiling(name, best, "open", gain, interval, needed, text)


def _unfit(tries: Sequence[Row], best: Row) -> str | None:
    """Why these answers say nothing of a ceiling; None where they do."""
    for row in tries:
        items = row.n + row.refused + row.not_asked
        missing = row.refused + row.not_asked
        if missing / items > MOST_SPOILT:
            return (
                f"{missing} of {items} items have no answer to {row.name}: "
                "there is no verdict without them"
            )
        if row.spoilt / items > MOST_SPOILT:
            return (
                f"{row.spoilt} of {items} answers to {row.name} are empty or cut off before they "
                "answer: a verdict would be about their length; raise --max-tokens (a model that "
                "reasons first needs thousands)"
            )
    if not best.quality:
        return (
            "not one answer of any try is right: look at the replies in answers.jsonl first; "
            "they may have another form than --match compares"
        )
    return None


def _verdict(interval: tuple[float, float]) -> tuple[Verdict, str]:
    low, high = interval
    if high < WORTH:
        return "flattened", "prompting has flattened, fine-tuning is next"
    if low > 0:
        return "still rising", "better prompts still pay, try more of them first"
    return "open", "items cannot tell a ceiling from a gain worth having"


def _items_needed(gained: float, lost: float, n: int) -> int | None:
    """The number of items at which these shares of pairs would close the verdict, about."""
    few, many = n, MOST_ITEMS

    def closes(items: int) -> bool:
        return _verdict(paired_interval(gained * items, lost * items, items))[0] != "open"

    if not closes(many):
        return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if closes(middle) else (middle, many)
    return many


def _best(outcomes: Sequence[Outcome]) -> Outcome:
    return max(outcomes, key=lambda outcome: row_of(outcome).quality or 0.0)


def _pairs(earlier: Outcome, later: Outcome) -> list[tuple[bool, bool]]:
    """The marks of the items that both answered, before and after."""
    return [
        (before.right, after.right)
        for before, after in zip(earlier.marks, later.marks, strict=True)
        if before is not None and after is not None
        if before.right is not None and after.right is not None
    ]
