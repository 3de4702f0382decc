"""The two answers that would change the outcome, found by deciding again with each one changed.

A yes or no is turned, a level moved, an amount multiplied or divided by up to a thousand, an open
question answered. Of all single changes that put another option (or, failing that, another
technique) first, the two smallest are reported: of distance 1 is a turned answer or one level, 0.5
an open question answered, and for amounts the distance is the decimal logarithm of the factor.
Where no single change is enough, pairs of turned answers are tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from groundup.decide.config import LEVELS, SKILLS, DecideConfig
from groundup.decide.contradictions import impossible
from groundup.decide.criteria import evaluate, read_criteria
from groundup.decide.ranking import Standing, rank
from groundup.errors import GroundupError
from groundup.units import format_count

FACTORS = (1.25, 1.5, 2, 3, 5, 10, 30, 100, 1000)
# What an open amount is tried at: an answer as others give it.
TRIED = {
    "labelled_examples": (10, 5_000),
    "deadline_months": (0.5, 2.0),
    "unique_tokens": (10**9, 10**13),
    "proprietary_tokens": (10**13,),
    "tokens_per_month": (10**8, 10**10, 10**12),
    "upfront_budget": (10_000.0,),
    "budget": (1_000.0, 100_000.0),
}
WANTED = 2  # changes that are reported

Setting = tuple[str, Any, float]  # answer, value, distance


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
    settings = sorted(_settings(answers), key=lambda setting: setting[2])
    by_option, by_technique = [], []
    seen: set[str] = set()
    for name, value, distance in settings:
        then = _standing(_with(answers, {name: value}))
        if then is None or name in seen:
            continue
        if then.option != now.option:
            seen.add(name)
            by_option.append((distance, _change(answers, {name: value}, then)))
        elif then.technique != now.technique:
            by_technique.append((distance, name, _change(answers, {name: value}, then)))
    found = [change for _, change in by_option]
    if not found:
        found = _pairs(answers, now, settings)
    for _, name, change in by_technique:
        if len(found) < WANTED and name not in seen:
            seen.add(name)
            found.append(change)
    return tuple(found[:WANTED])


def _pairs(answers: DecideConfig, now: Standing, settings: list[Setting]) -> list[Change]:
    """Two answers together that put another option first: the first such pair."""
    turns = [(name, value) for name, value, distance in settings if distance <= 1]
    for (one, first), (other, second) in combinations(turns, 2):
        if one == other:
            continue
        changed = {one: first, other: second}
        then = _standing(_with(answers, changed))
        if then is not None and then.option != now.option:
            return [_change(answers, changed, then)]
    return []


def _settings(answers: DecideConfig) -> Iterator[Setting]:
    """Every other value that each asked answer could have, with its distance."""
    fields = dict.fromkeys(one.field for one in read_criteria())
    for name in (*fields, "needs_chat", "params"):
        value = getattr(answers, name)
        if name in ("team_llm_skill", "stage"):
            yield from _words(name, value)
        elif isinstance(value, bool):
            yield name, not value, 1.0
        elif isinstance(value, str):
            yield from _steps(name, value, LEVELS)
        elif isinstance(value, (int, float)):
            yield from _amounts(name, value)
        elif name in TRIED:
            yield from ((name, tried, 0.5) for tried in TRIED[name])
        elif value is None and name not in ("discount_pct", "params"):
            yield from ((name, answer, 0.5) for answer in (True, False))


def _words(name: str, value: str | None) -> Iterator[Setting]:
    if name == "team_llm_skill":
        yield from _steps(name, value, SKILLS)
    else:
        others = [word for word in ("prototype", "product") if word != value]
        yield from ((name, word, 1.0 if value else 0.5) for word in others)


def _steps(name: str, value: str | None, words: tuple[str, ...]) -> Iterator[Setting]:
    """The other words of an ordered list: as far as the number of steps."""
    for place, word in enumerate(words):
        if word != value:
            yield name, word, 0.5 if value is None else abs(place - words.index(value))


def _amounts(name: str, value: float) -> Iterator[Setting]:
    if name == "discount_pct" or value == 0:
        return
    for factor in FACTORS:
        for tried in (value * factor, value / factor):
            number = round(tried) if isinstance(value, int) else tried
            yield name, number, math.log10(factor)


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


def _change(answers: DecideConfig, changes: dict[str, Any], then: Standing) -> Change:
    parts = [
        f"{name} {_shown(value)} instead of {_shown(getattr(answers, name))}"
        for name, value in changes.items()
    ]
    return Change(
        changes=tuple((name, getattr(answers, name), value) for name, value in changes.items()),
        outcome=then.option,
        technique=then.technique,
        text=f"{' and '.join(parts)} → {then.option} ({then.technique})",
    )


def _shown(value: Any) -> str:
    match value:
        case None:
            return "not answered"
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return format_count(value)
    return str(value)
