"""What a decision says besides its ranking: rules of order, assumptions, prices of age."""

from __future__ import annotations

import math
from collections.abc import Sequence

from groundup.decide.catalogs import assumed, lever
from groundup.decide.config import DecideConfig
from groundup.decide.contradictions import impossible
from groundup.decide.costs import (
    ONE_OFF,
    OptionCost,
    continued_tokens,
    model_params,
    option_costs,
    scratch_plan,
)
from groundup.decide.criteria import OPTIONS, VETO, Fired, evaluate
from groundup.decide.ownership import serving
from groundup.decide.prices import find_price, price_age_note
from groundup.decide.ranking import PROMPTING, SMALL_MODEL, Standing
from groundup.decide.scratch import known_chip
from groundup.decide.sensitivity import change_text, tipping_point
from groundup.decide.techniques import own_text
from groundup.units import format_count, format_money


def decision_notes(
    answers: DecideConfig,
    fired: Sequence[Fired],
    standings: Sequence[Standing],
    costs: dict[str, OptionCost],
) -> tuple[str, ...]:
    """Everything a reader should know before acting on the ranking."""
    effects = {one.criterion.effect: one for one in fired}
    notes = _wanted(answers, fired, standings)
    first = standings[0]
    if not any(
        one.criterion.points or one.criterion.effect[:5] in ("VETO", "route") for one in fired
    ):
        notes.append("no criterion speaks for or against an option: they stand by commitment only")
    if PROMPTING in effects and not first.first:
        if "C07" in _vetoes(standings, "buy") or "C09" in _vetoes(standings, "buy"):
            notes.append("prompt an open model that you host first: C29 holds without an API too")
        elif first.option != "buy":
            notes.append("measure how far prompting gets before money goes into training (C29)")
    notes += _bought_tuning(answers, standings)
    notes += _training_notes(answers, first)
    if answers.change_architecture_or_tokenizer and _vetoes(standings, "train"):
        notes.append(
            "architecture or tokenizer must change, but training from scratch is ruled out: add "
            "words to an open model's vocabulary, or train a smaller model"
        )
    notes += _cheaper(standings, costs)
    notes += _over_budget(answers, standings, costs)
    if "scenario:discount" in effects:
        notes += _discount_note(answers, costs, SMALL_MODEL in effects)
    if "cost:annotation" in effects:
        notes.append(effects["cost:annotation"].text)
    notes += _assumed(answers, standings)
    age = price_age_note(find_price(answers.api_model))
    return (*notes, *([age] if age else []))


def _wanted(
    answers: DecideConfig, fired: Sequence[Fired], standings: Sequence[Standing]
) -> list[str]:
    """What became of the option that somebody wants, and what would lift its vetoes."""
    wanted = answers.option_wanted
    if wanted is None:
        return []
    place = next(i for i, one in enumerate(standings) if one.option == wanted)
    one, first = standings[place], standings[0]
    if not one.vetoed_by:
        if place == 0:
            return [f"you wanted {wanted}, and it stands first"]
        return [
            f"you wanted {wanted}; it stands {('second', 'third')[place - 1]}, with "
            f"{one.score:+d} points against {first.score:+d} of {first.option}"
            + (" (a route leads there)" if first.first else "")
        ]
    because = []
    for veto in fired:
        criterion = veto.criterion
        if criterion.effect == VETO and OPTIONS[criterion.option] == wanted:
            lifted = _lifted(answers, criterion.id, criterion.field)
            because.append(veto.text + (f"; {lifted} would lift that" if lifted else ""))
    return [f"you wanted {wanted}; it is vetoed because {'. And because '.join(because)}"]


def _lifted(answers: DecideConfig, veto: str, name: str) -> str | None:
    """The change of one answer that ends a veto; None where none was found."""

    def ends(changed: DecideConfig) -> bool:
        return not impossible(changed) and all(
            one.criterion.id != veto for one in evaluate(changed)[0]
        )

    value = getattr(answers, name)
    if isinstance(value, (bool, str)) or not value:
        return None
    found = tipping_point(answers, name, ends, up=True)
    return None if found is None else change_text(answers, {name: found})


def _vetoes(standings: Sequence[Standing], option: str) -> tuple[str, ...]:
    """The vetoes of one option."""
    return next(one.vetoed_by for one in standings if one.option == option)


def _bought_tuning(answers: DecideConfig, standings: Sequence[Standing]) -> list[str]:
    """Why buying means prompting although prompting was measured as too little."""
    buy = next(one for one in standings if one.option == "buy")
    if not answers.prompting_ceiling_measured or buy.technique == "peft" or buy.vetoed_by:
        return []
    tunable = find_price(answers.api_model).training_usd is not None
    why = (
        "tuning was measured too"
        if answers.peft_ceiling_measured
        else "there are too few labelled examples to tune on"
        if tunable
        else f"no price for tuning {answers.api_model} is known"
    )
    return [f"prompting was measured as too little and {why}: to buy means a better model"]


def _training_notes(answers: DecideConfig, first: Standing) -> list[str]:
    budget = answers.budget
    if first.option != "train" or not isinstance(budget, float):
        return []
    plan = scratch_plan(answers)
    if budget < 3 * plan.usd.central:
        return [
            f"the budget is less than 3 times the plan of {format_money(plan.usd.central)}: "
            "failed runs may use it up"
        ]
    return []


def _cheaper(standings: Sequence[Standing], costs: dict[str, OptionCost]) -> list[str]:
    """An option without a veto that costs less than the first."""
    first = standings[0]
    known = [one for one in standings[1:] if not one.vetoed_by and _is_known(one, costs)]
    if not _is_known(first, costs) or not known:
        return []
    at = costs[first.option].total.central
    least = min(known, key=lambda one: costs[one.option].total.central)
    cheapest = costs[least.option].total.central
    if cheapest >= at:
        return []
    return [
        f"{first.option} stands first by its points, but {least.option} costs less: "
        f"{format_money(cheapest)} against {format_money(at)}"
    ]


def _is_known(one: Standing, costs: dict[str, OptionCost]) -> bool:
    return one.option != "buy" or not costs["buy"].missing


def _over_budget(
    answers: DecideConfig, standings: Sequence[Standing], costs: dict[str, OptionCost]
) -> list[str]:
    """Of each option that costs more than the budget, what the budget pays for."""
    budget = answers.budget
    if not isinstance(budget, float):
        return []
    notes = []
    for one in standings:
        cost = costs[one.option]
        if cost.total.central <= budget:
            continue
        least = "" if _is_known(one, costs) else "at least "
        notes.append(
            f"{one.option} costs {least}{format_money(cost.total.central)} with people, more than "
            f"the budget of {format_money(budget)}, which {_pays_for(budget, cost)}"
        )
    return notes


def _pays_for(budget: float, cost: OptionCost) -> str:
    """What a budget below the cost of an option buys of it."""
    once = sum(band.central for name, band in cost.lines if name in ONE_OFF)
    if budget < once:
        return f"is less than what is paid once ({format_money(once)})"
    months = (budget - once) / ((cost.total.central - once) / cost.months)
    if months < 0.1:
        return "pays for no more than days of it"
    return f"pays for {math.floor(10 * months) / 10:g} of {cost.months} months"


def _discount_note(
    answers: DecideConfig, now: dict[str, OptionCost], small_model: bool
) -> list[str]:
    """The scenario of C31: what the usual discount off the list prices changes."""
    percent = 100 * (1 - lever("discount"))
    cheaper = answers.model_copy(update={"discount_pct": percent})
    then = option_costs(cheaper, small_model=small_model)
    parts = [
        f"{name} {format_money(now[name].total.central)} → {format_money(then[name].total.central)}"
        for name in now
        if name != "buy" or not now[name].missing
    ]
    return [f"list prices are an upper bound; {percent:.3g} % off them: {', '.join(parts)}"]


def _assumed(answers: DecideConfig, standings: Sequence[Standing]) -> list[str]:
    found = []
    if answers.params is None:
        found.append(f"a size of {format_count(assumed('params'))} parameters")
    if answers.output_share is None:
        found.append(f"{assumed('output_share'):.0%} of the tokens written")
    if answers.horizon_months is None:
        found.append(f"{assumed('horizon_months'):g} months")
    if isinstance(answers.tokens_per_month, str):
        volume = assumed(f"tokens_per_month_{answers.tokens_per_month}")
        found.append(f"{format_count(volume)} tokens a month ({answers.tokens_per_month})")
    if answers.people_usd_per_month is None:
        found.append(f"people at {format_money(assumed('people_usd_per_month'))} a month each")
    if answers.api_model == DecideConfig().api_model:
        found.append(f"buying at the price of {answers.api_model}")
    notes = [f"assumed where not answered: {', '.join(found)}"] if found else []
    if answers.tokens_per_month is None:
        notes.append(
            "tokens_per_month is not answered: what buying costs is not known, and hosting is "
            "counted at its smallest"
        )
    if any(one.technique == "continued-pre-training" for one in standings):
        notes += _continued(answers)
    if answers.latency_seconds is not None:
        notes += _latency(answers)
    return notes


def _continued(answers: DecideConfig) -> list[str]:
    """How much text the tuning is counted on."""
    tokens, own = continued_tokens(answers), own_text(answers) or 0
    note = f"continued pre-training is counted on {format_count(tokens)} tokens"
    if tokens < own:
        note += (
            f" of your {format_count(own)}: {assumed('continued_share'):.0%} of what a model of "
            "this size takes from scratch"
        )
    return [note]


def _latency(answers: DecideConfig) -> list[str]:
    """Whether a chip reads all weights once in the time for one token."""
    chip = known_chip(answers.chip)
    one = serving(model_params(answers), chip)
    least = one.output_seconds / one.n_chips
    if least <= (answers.latency_seconds or 0):
        return []
    return [
        f"{format_count(model_params(answers))} parameters take at least {least * 1e3:.3g} ms a "
        f"token on {one.n_chips} {chip.id}: fewer parameters, fewer bits or more chips are needed"
    ]
