"""Which option stands first: routes, then vetoes, then points; no costs.

The order is described in `options`. A route of the paper (a narrow task, an unmeasured ceiling of
prompting) leads to its option whatever the points; a vetoed option stands last; on a tie the
option that commits least stands first.
"""

from __future__ import annotations

from dataclasses import dataclass

from groundup.decide.config import DecideConfig
from groundup.decide.criteria import OPTIONS, VETO, Fired
from groundup.decide.techniques import adapt_technique, buy_technique, train_technique

SMALL_MODEL = "route:small-model"
PROMPTING = "route:prompting"
ROUTES = {SMALL_MODEL: "adapt", PROMPTING: "buy"}


@dataclass(frozen=True)
class Reason:
    """One criterion that fired, and what it does."""

    id: str
    text: str
    effect: str


@dataclass(frozen=True)
class Standing:
    """One option before costs: what the criteria make of it."""

    option: str
    number: int
    technique: str
    score: int
    first: bool  # a route leads here
    reasons: tuple[Reason, ...]
    vetoed_by: tuple[str, ...]


def rank(answers: DecideConfig, fired: list[Fired]) -> list[Standing]:
    """The options in order, by routes, vetoes and points; no costs."""
    small = is_small_model(fired)
    led_to = _route(answers, fired)
    techniques = {
        "buy": buy_technique(answers),
        "adapt": adapt_technique(answers, small_model=small),
        "train": train_technique(answers),
    }
    standings = []
    for number, option in OPTIONS.items():
        own = [one for one in fired if one.criterion.option == number]
        vetoes = tuple(one.criterion.id for one in own if one.criterion.effect == VETO)
        standings.append(
            Standing(
                option=option,
                number=number,
                technique=techniques[option],
                score=sum(one.criterion.points for one in own),
                first=option == led_to,
                reasons=_reasons(option, number, fired, bool(vetoes), led_to),
                vetoed_by=vetoes,
            )
        )
    return sorted(
        standings, key=lambda one: (bool(one.vetoed_by), not one.first, -one.score, one.number)
    )


def _route(answers: DecideConfig, fired: list[Fired]) -> str | None:
    """Where steps 1 and 2 lead; None where neither says."""
    effects = {one.criterion.effect for one in fired}
    if SMALL_MODEL in effects:
        return "adapt"
    blocked = answers.change_architecture_or_tokenizer
    return "buy" if PROMPTING in effects and not blocked else None


def _reasons(
    option: str, number: int, fired: list[Fired], vetoed: bool, led_to: str | None
) -> tuple[Reason, ...]:
    """Its own criteria, the route to it, and the vetoes of the others if it has none itself."""
    found = []
    for one in fired:
        criterion, text, effect = one.criterion, one.text, one.criterion.effect
        if criterion.option == number:
            found.append(Reason(criterion.id, text, effect))
        elif effect == VETO and not vetoed:
            other = OPTIONS[criterion.option]
            found.append(Reason(criterion.id, f"not {other}: {text}", f"{VETO} of {other}"))
        elif ROUTES.get(effect) == option and led_to == option:
            found.append(Reason(criterion.id, text, effect))
    return tuple(found)


def is_small_model(fired: list[Fired]) -> bool:
    """Whether the task is narrow, so that adapting means a much smaller model."""
    return any(one.criterion.effect == SMALL_MODEL for one in fired)
