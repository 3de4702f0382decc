"""What a decision says besides its ranking: rules of order, assumptions, prices of age."""

from __future__ import annotations

from collections.abc import Sequence

from groundup.decide.catalogs import assumed
from groundup.decide.config import DecideConfig
from groundup.decide.costs import option_costs, scratch_plan
from groundup.decide.criteria import Fired
from groundup.decide.prices import find_price, price_age_note
from groundup.decide.ranking import PROMPTING, SMALL_MODEL, Standing
from groundup.units import format_count, format_money


def decision_notes(
    answers: DecideConfig, fired: Sequence[Fired], standings: Sequence[Standing]
) -> tuple[str, ...]:
    """Everything a reader should know before acting on the ranking."""
    effects = {one.criterion.effect: one for one in fired}
    notes = []
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
    notes += _training_notes(answers, first)
    if answers.change_architecture_or_tokenizer and _vetoes(standings, "train"):
        notes.append(
            "architecture or tokenizer must change, but training from scratch is ruled out: add "
            "words to an open model's vocabulary, or train a smaller model"
        )
    if "scenario:discount" in effects:
        small = SMALL_MODEL in effects
        notes += _discount_note(answers, small)
    if "cost:annotation" in effects:
        notes.append(effects["cost:annotation"].text)
    notes += _assumed(answers)
    age = price_age_note(find_price(answers.api_model))
    return (*notes, *([age] if age else []))


def _vetoes(standings: Sequence[Standing], option: str) -> tuple[str, ...]:
    """The vetoes of one option."""
    return next(one.vetoed_by for one in standings if one.option == option)


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


def _discount_note(answers: DecideConfig, small_model: bool) -> list[str]:
    """The scenario of C31: what 30 % off the list prices changes."""
    cheaper = answers.model_copy(update={"discount_pct": 30.0})
    now = option_costs(answers, small_model=small_model)
    then = option_costs(cheaper, small_model=small_model)
    parts = [
        f"{name} {format_money(now[name].total.central)} → {format_money(then[name].total.central)}"
        for name in now
        if name != "buy" or not now[name].missing
    ]
    return [f"list prices are an upper bound; 30 % off them: {', '.join(parts)}"]


def _assumed(answers: DecideConfig) -> list[str]:
    found = []
    if answers.params is None:
        found.append(f"a size of {format_count(assumed('params'))} parameters")
    if answers.output_share is None:
        found.append("a third of the tokens written")
    if answers.horizon_months is None:
        found.append(f"{assumed('horizon_months'):g} months")
    if isinstance(answers.tokens_per_month, str):
        volume = assumed(f"tokens_per_month_{answers.tokens_per_month}")
        found.append(f"{format_count(volume)} tokens a month ({answers.tokens_per_month})")
    if answers.people_usd_per_month is None:
        found.append(f"people at {format_money(assumed('people_usd_per_month'))} a month each")
    notes = [f"assumed where not answered: {', '.join(found)}"] if found else []
    if answers.tokens_per_month is None:
        notes.append(
            "tokens_per_month is not answered: what buying costs is not known, and hosting is "
            "counted at its smallest"
        )
    if answers.latency_seconds is not None:
        notes += _latency(answers)
    return notes


def _latency(answers: DecideConfig) -> list[str]:
    """Whether a chip reads all weights once in the time for one token."""
    from groundup.decide.costs import model_params
    from groundup.decide.ownership import serving
    from groundup.plan.hardware import find_chip

    chip = find_chip(answers.chip)
    one = serving(model_params(answers), chip)
    least = one.output_seconds / one.n_chips
    if least <= (answers.latency_seconds or 0):
        return []
    return [
        f"{format_count(model_params(answers))} parameters take at least {least * 1e3:.3g} ms a "
        f"token on {one.n_chips} {chip.id}: fewer parameters, fewer bits or more chips are needed"
    ]
