"""The two answers that would change the outcome, found by deciding again with each one changed.

A yes or no is turned, a level moved, an open question answered, an amount moved until the outcome
tips: multiplied or divided by up to a thousand, then halved in between (in its logarithm) down to
the tipping point. Of all single changes that put another option (or, failing that, another
technique) first, the two smallest are reported: of distance 1 is a turned answer or one level, 0.5
an open question answered, and for amounts the distance is the decimal logarithm of the factor.
Where no single change is enough, pairs of turned answers are tried, the nearest first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from groundup.decide.config import LEVELS, SKILLS, DecideConfig
from groundup.decide.contradictions import impossible
from groundup.decide.criteria import evaluate, read_criteria
from groundup.decide.ranking import Standing, rank
from groundup.decide.techniques import techniques
from groundup.errors import GroundupError
from groundup.units import format_count

FACTORS = (1.25, 1.5, 2, 3, 5, 10, 30, 100, 1000)
CLOSE = 1.001  # a tipping point is known to within this factor, then written with three digits
MOST_PAIRS = 400  # each is a decision: some tenths of a second in all
# What an open amount is tried at: an answer as others give it.
TRIED: dict[str, tuple[float, ...]] = {
    "labelled_examples": (10, 5_000),
    "deadline_months": (0.5, 2.0),
    "unique_tokens": (10**9, 10**13),
    "proprietary_tokens": (10**13,),
    "tokens_per_month": (10**8, 10**10, 10**12),
    "upfront_budget": (10_000.0,),
    "budget": (1_000.0, 100_000.0),
}
BESIDES = ("needs_chat", "data_grows", "params")  # answers that criteria look at besides their own
UNITS = {"budget": "${}", "upfront_budget": "${}", "deadline_months": "{} months"}
WANTED = 2  # changes that are reported

Setting = tuple[str, Any, float]  # answer, value, distance
Test = Callable[[DecideConfig], bool]


@dataclass(frozen=True)
class Change:
    """Other answers, and the option (or technique) that would then stand first."""

    changes: tuple[tuple[str, object, object], ...]  # answer, as it is, as it would have to be
    outcome: str
    technique: str
    text: str


def would_change(answers: DecideConfig) -> tuple[Change, ...]:
    """The smallest changes of the answers that change what stands first."""
    now = _standing(answers)
    if now is None:
        return ()

    def other_option(changed: DecideConfig) -> bool:
        then = _standing(changed)
        return then is not None and then.option != now.option

    def other_technique(changed: DecideConfig) -> bool:
        then = _standing(changed)
        return then is not None and (then.option, then.technique) != (now.option, now.technique)

    turns = sorted(_turns(answers), key=lambda setting: setting[2])
    settings = _nearest(answers, turns, other_option)
    found = [_change(answers, {name: value}) for name, value, _ in settings]
    if not found:
        found = _pairs(answers, turns, other_option)
    if len(found) < WANTED:
        seen = {name for change in found for name, _, _ in change.changes}
        more = _nearest(answers, turns, other_technique)
        found += [_change(answers, {name: value}) for name, value, _ in more if name not in seen]
    return tuple(found[:WANTED])


def tipping_point(answers: DecideConfig, name: str, tips: Test, *, up: bool) -> float | int | None:
    """The amount nearest to the answer ``name`` at which ``tips`` holds, with three digits.

    Args:
        answers: of which ``tips`` does not hold.
        name: of an answer that is a number above zero.
        tips: whether other answers have another outcome.
        up: look above the answer, else below.

    Returns:
        None where it does not hold up to a thousand times more or less.
    """
    start: int | float = getattr(answers, name)

    def tried(factor: float) -> float | int:
        value = start * factor if up else start / factor
        return round(value) if isinstance(start, int) else value

    def holds(value: float | int) -> bool:
        return value != start and tips(_with(answers, {name: value}))

    inside, outside = 1.0, next((factor for factor in FACTORS if holds(tried(factor))), None)
    if outside is None:
        return None
    inside = max([1.0, *(factor for factor in FACTORS if factor < outside)])
    while outside / inside > CLOSE:
        middle = math.sqrt(inside * outside)
        inside, outside = (inside, middle) if holds(tried(middle)) else (middle, outside)
    exact = tried(outside)
    near, away = _three_digits(exact, round), _three_digits(exact, math.ceil if up else math.floor)
    return next((value for value in (near, away) if holds(value)), exact)


def change_text(answers: DecideConfig, changes: dict[str, Any]) -> str:
    """``budget $177k instead of $20k``."""
    parts = [
        f"{name} {_shown(name, value)} instead of {_shown(name, getattr(answers, name))}"
        for name, value in changes.items()
    ]
    return " and ".join(parts)


def _nearest(answers: DecideConfig, turns: list[Setting], tips: Test) -> list[Setting]:
    """Of each answer the smallest change that tips, nearest first."""
    found: dict[str, Setting] = {}
    for name, value, distance in turns:
        if name not in found and tips(_with(answers, {name: value})):
            found[name] = (name, value, distance)
    for name in _amounts(answers):
        start = getattr(answers, name)
        for up in (True, False):
            value = tipping_point(answers, name, tips, up=up)
            if value is None:
                continue
            distance = abs(math.log10(value / start)) if value else math.inf
            if name not in found or distance < found[name][2]:
                found[name] = (name, value, distance)
    return sorted(found.values(), key=lambda setting: setting[2])


def _pairs(answers: DecideConfig, turns: list[Setting], tips: Test) -> list[Change]:
    """Two answers together that put another option first: the nearest such pair."""
    pairs = [
        (one[2] + other[2], {one[0]: one[1], other[0]: other[1]})
        for one, other in combinations(turns, 2)
        if one[0] != other[0]
    ]
    for _, changed in sorted(pairs, key=lambda pair: pair[0])[:MOST_PAIRS]:
        if tips(_with(answers, changed)):
            return [_change(answers, changed)]
    return []


def _fields() -> list[str]:
    """The answers that can change the ranking."""
    return list(dict.fromkeys([*(one.field for one in read_criteria()), *BESIDES]))


def _amounts(answers: DecideConfig) -> Iterator[str]:
    """The answers that are numbers above zero."""
    for name in _fields():
        value = getattr(answers, name)
        if name != "discount_pct" and not isinstance(value, (bool, str)) and value:
            yield name


def _turns(answers: DecideConfig) -> Iterator[Setting]:
    """Every other value that an answer could have, but for other amounts, with its distance."""
    for name in _fields():
        value = getattr(answers, name)
        if name == "team_llm_skill":
            yield from _steps(name, value, SKILLS)
        elif name == "stage":
            others = [word for word in ("prototype", "product") if word != value]
            yield from ((name, word, 1.0 if value else 0.5) for word in others)
        elif isinstance(value, bool):
            yield name, not value, 1.0
        elif isinstance(value, str):
            yield from _steps(name, value, LEVELS)
        elif not value and name in TRIED:
            yield from ((name, tried, 0.5) for tried in TRIED[name])
        elif value is None and name not in ("discount_pct", "params"):
            yield from ((name, answer, 0.5) for answer in (True, False))


def _steps(name: str, value: str | None, words: tuple[str, ...]) -> Iterator[Setting]:
    """The other words of an ordered list: as far as the number of steps."""
    for place, word in enumerate(words):
        if word != value:
            yield name, word, 0.5 if value is None else abs(place - words.index(value))


def _with(answers: DecideConfig, changes: dict[str, Any]) -> DecideConfig:
    return answers.model_copy(update=changes)


def _standing(answers: DecideConfig) -> Standing | None:
    """What stands first; None where the answers cannot be so."""
    if impossible(answers):
        return None
    try:
        fired, _ = evaluate(answers)
    except GroundupError:
        return None  # a size beyond what can be planned
    return rank(answers, fired)[0]


def _change(answers: DecideConfig, changes: dict[str, Any]) -> Change:
    then = _standing(_with(answers, changes))
    assert then is not None  # it was tried
    technique = techniques()[then.technique].name
    return Change(
        changes=tuple((name, getattr(answers, name), value) for name, value in changes.items()),
        outcome=then.option,
        technique=then.technique,
        text=f"{change_text(answers, changes)} → {then.option} ({technique})",
    )


def _three_digits(value: float | int, rounded: Callable[[float], int]) -> float | int:
    """``value`` with three digits: 176,431 is 176,000, or 177,000 by ``math.ceil``."""
    step = 10.0 ** (math.floor(math.log10(value)) - 2) if value else 1.0
    if isinstance(value, int):
        step = max(step, 1.0)
        return int(rounded(value / step) * step)
    return float(f"{rounded(value / step) * step:.3g}")


def _shown(name: str, value: Any) -> str:
    match value:
        case None:
            return "not answered"
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return UNITS.get(name, "{}").format(format_count(value))
    return str(value)
