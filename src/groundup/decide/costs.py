"""What each option costs over the horizon: low, central and high, in US dollars.

    buy    = tokens × price per token (+ tuning at its price)            + people
    adapt  = tuning + hosting + people (+ human labels for RLHF)
    train  = training from scratch (`scratch`) + hosting + people (+ labels)

The band is that of prices and goodput (`scratch`); for an API low is its batch price, high the
list price, central the list price less the discount asked for. Owned chips are one pool of hours
an option: training spends it first, then hosting (`hosting`), the rest is rented. Whatever was not
answered is taken from `catalog/assumptions.csv` and named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from groundup.decide.catalogs import assumed, lever
from groundup.decide.config import MOST_TOKENS, DecideConfig
from groundup.decide.hosting import HOURS_PER_MONTH, Hosting, hosting
from groundup.decide.ownership import volume_over
from groundup.decide.prices import find_price, require_volume, usage_cost
from groundup.decide.scratch import (
    Band,
    ScratchPlan,
    hours_usd,
    known_chip,
    scratch_cost,
    training_rate,
)
from groundup.decide.techniques import adapt_technique, buy_technique, own_text
from groundup.plan.catalogs import cached
from groundup.plan.limits import require_parameters

ONE_OFF = ("tuning", "training from scratch", "human labels for RLHF")  # lines paid once


@dataclass(frozen=True)
class OptionCost:
    """What one option costs over the horizon, line by line."""

    months: int
    lines: tuple[tuple[str, Band], ...]
    missing: tuple[str, ...] = ()  # answers without which the total is a lower bound

    @property
    def total(self) -> Band:
        """All lines."""
        return sum((band for _, band in self.lines), Band(0, 0, 0))


def option_costs(answers: DecideConfig, *, small_model: bool = False) -> dict[str, OptionCost]:
    """Every option's cost over the horizon; ``small_model``: adapt means a small one.

    Raises:
        InputError: an unknown chip or API model, or a volume beyond this world.
    """
    months, volume = horizon(answers), monthly_tokens(answers)
    size, chip, discount = model_params(answers), known_chip(answers.chip), discount_of(answers)
    adapted = assumed("small_model_params") if small_model else size
    missing = () if volume is not None else ("tokens_per_month",)
    labels = (("human labels for RLHF", _annotation()),) if answers.needs_rlhf else ()
    bought = (("API", _api(answers, volume)),) if volume is not None else ()
    tuning, left = _tuning(answers, adapted, small_model=small_model)
    plan = scratch_plan(answers)
    _, left_by_training = hours_usd(plan.chip_hours, chip, discount, _owned(answers))

    def hosted(params: float, owned: Band) -> Band:
        hours = _hosting(answers, params).hours(volume or 0)
        return hours_usd(Band(hours, hours, hours), chip, discount, owned)[0]

    return {
        "buy": OptionCost(
            months, (*_api_tuning(answers), *bought, _people(answers, "buy")), missing
        ),
        "adapt": OptionCost(
            months,
            (
                ("tuning", tuning),
                ("hosting", hosted(adapted, left)),
                _people(answers, "adapt"),
                *labels,
            ),
            missing,
        ),
        "train": OptionCost(
            months,
            (
                ("training from scratch", plan.usd),
                ("hosting", hosted(size, left_by_training)),
                _people(answers, "train"),
                *labels,
            ),
            missing,
        ),
    }


def break_even_per_month(answers: DecideConfig, *, small_model: bool = False) -> float | None:
    """Tokens in the first month from which adapting costs no more than buying; None: never.

    Central costs. The bill of buying grows with every token; that of hosting stands still while
    the chips that hold the model have time left, then grows in one month after the other, and
    faster where the owned hours are used up. Between these corners both are straight lines.

    Raises:
        InputError: an unknown chip or API model.
    """
    months, chip, discount = horizon(answers), known_chip(answers.chip), discount_of(answers)
    size = assumed("small_model_params") if small_model else model_params(answers)
    host = _hosting(answers, size)
    tuning, left = _tuning(answers, size, small_model=small_model)
    fixed = tuning.central + (_annotation().central if answers.needs_rlhf else 0)
    fixed += _people(answers, "adapt")[1].central - _people(answers, "buy")[1].central
    fixed -= sum(band.central for _, band in _api_tuning(answers))
    price = find_price(answers.api_model).blend(output_share(answers)) * (1 - discount)
    price *= volume_over(1.0, months, answers.growth_per_month or 0)

    def gap(volume: float) -> float:
        """What adapting costs more than buying."""
        hours = host.hours(volume)
        usd, _ = hours_usd(Band(hours, hours, hours), chip, discount, left)
        return fixed + usd.central - volume * price

    corners = host.corners()
    used_up = _crossing(lambda volume: left.central - host.hours(volume), corners)
    found = _crossing(gap, sorted({*corners, *([used_up] if used_up else [])}))
    return found if found is not None and found <= MOST_TOKENS else None


def monthly_tokens(answers: DecideConfig) -> float | None:
    """Tokens a month as a number; None where it was not answered."""
    volume = answers.tokens_per_month
    if isinstance(volume, str):
        return assumed(f"tokens_per_month_{volume}")
    return None if volume is None else float(volume)


def model_params(answers: DecideConfig) -> float:
    """The size asked for, or the assumed one."""
    return assumed("params") if answers.params is None else float(answers.params)


def output_share(answers: DecideConfig) -> float:
    """The share of tokens that the model writes, answered or assumed."""
    given = answers.output_share
    return assumed("output_share") if given is None else given


def horizon(answers: DecideConfig) -> int:
    """Months over which costs are added up."""
    return answers.horizon_months or int(assumed("horizon_months"))


def discount_of(answers: DecideConfig) -> float:
    """Share off the list prices."""
    return (answers.discount_pct or 0) / 100


def owned_hours(answers: DecideConfig) -> float:
    """Hours of owned chips over the horizon."""
    return (answers.hardware_owned or 0) * HOURS_PER_MONTH * horizon(answers)


def scratch_plan(answers: DecideConfig) -> ScratchPlan:
    """The run that training from scratch would be."""
    return scratch_cost(
        model_params(answers),
        answers.tokens,
        chip=answers.chip,
        discount=discount_of(answers),
        owned_hours=owned_hours(answers),
    )


def continued_tokens(answers: DecideConfig) -> float:
    """Tokens of continued pre-training: text of one's own, up to a share of a run from scratch."""
    return min(
        float(own_text(answers) or 0), assumed("continued_share") * scratch_plan(answers).tokens
    )


def _crossing(gap: Callable[[float], float], corners: Sequence[float]) -> float | None:
    """Where ``gap``, straight between the corners, first falls to 0; None: it does not."""
    before, value = 0.0, gap(0)
    if value <= 0:
        return 0.0
    for corner in (*corners, 2 * corners[-1]):
        then = gap(corner)
        falling = (value - then) / (corner - before)
        if then <= 0:
            return before + value / falling
        before, value = corner, then
    return before + value / falling if falling > 0 else None


def _api(answers: DecideConfig, volume: float) -> Band:
    share = output_share(answers)
    tokens = volume_over(volume, horizon(answers), answers.growth_per_month or 0)
    require_volume(tokens, "tokens_per_month, grown over the horizon,")
    bill = usage_cost(find_price(answers.api_model), tokens * (1 - share), tokens * share)
    listed, off = bill.total_usd, 1 - discount_of(answers)
    return Band(listed * off * lever("batch"), listed * off, listed)


def _api_tuning(answers: DecideConfig) -> tuple[tuple[str, Band], ...]:
    """What the provider takes for tuning its model, where that is the technique."""
    if buy_technique(answers) != "peft":
        return ()
    bill = usage_cost(find_price(answers.api_model), 0, 0, _example_tokens(answers))
    listed, off = bill.training_usd, 1 - discount_of(answers)
    return (("tuning", Band(listed * off, listed * off, listed)),)


def _hosting(answers: DecideConfig, params: float) -> Hosting:
    growth = answers.growth_per_month or 0
    return _hosting_of(params, answers.chip, output_share(answers), horizon(answers), growth)


@cached
def _hosting_of(params: float, chip: str, share: float, months: int, growth: float) -> Hosting:
    return hosting(
        require_parameters(params),
        known_chip(chip),
        output_share=share,
        months=months,
        growth_per_month=growth,
    )


def _tuning(answers: DecideConfig, params: float, *, small_model: bool) -> tuple[Band, Band]:
    """6·N FLOPs a token: its price, and the owned hours that are left.

    The labelled examples by epochs, and text of one's own where the ladder says continued
    pre-training.
    """
    technique = adapt_technique(answers, small_model=small_model)
    tokens = 0.0 if technique == "prompting" else _example_tokens(answers)
    if technique == "continued-pre-training":
        tokens += continued_tokens(answers)
    chip = known_chip(answers.chip)
    hours = 6 * params * tokens / training_rate(chip) / assumed("goodput")
    return hours_usd(Band(hours, hours, hours), chip, discount_of(answers), _owned(answers))


def _example_tokens(answers: DecideConfig) -> float:
    """Tokens of the labelled examples, epochs counted."""
    each = assumed("tokens_per_example") * assumed("tuning_epochs")
    return (answers.labelled_examples or 0) * each


def _owned(answers: DecideConfig) -> Band:
    hours = owned_hours(answers)
    return Band(hours, hours, hours)


def _people(answers: DecideConfig, option: str) -> tuple[str, Band]:
    given = answers.people_usd_per_month
    rate = assumed("people_usd_per_month") if given is None else given
    usd = assumed(f"people_{option}") * rate * horizon(answers)
    return "people", Band(usd, usd, usd)


def _annotation() -> Band:
    usd = assumed("annotations") * assumed("usd_per_annotation")
    return Band(usd, usd, usd)
