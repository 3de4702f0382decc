"""What each option costs over the horizon: low, central and high, in US dollars.

    buy    = tokens × price per token                                    + people
    adapt  = tuning + hosting + people (+ human labels for RLHF)
    train  = 6·N·D FLOPs ÷ (peak × MFU × goodput) × price + hosting + people (+ labels)

Hosting pays for the chips that hold the model even when nobody asks, and for more of them when the
volume needs it (`ownership.serving`). The band is that of prices and goodput: low is the lowest
price seen of the chip (for an API: its batch price), high the list price, which is an upper bound;
central is their geometric mean (for an API: the list price less the discount asked for). Whatever
was not answered is taken from `catalog/assumptions.csv` and named.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cache

from groundup.decide.catalogs import assumed
from groundup.decide.config import DecideConfig
from groundup.decide.ownership import DAYS_PER_MONTH, Serving, serving, volume_over
from groundup.decide.prices import find_price, usage_cost
from groundup.decide.techniques import adapt_technique, field_tokens
from groundup.errors import InputError
from groundup.plan.catalogs import VARIABLE
from groundup.plan.hardware import Chip, find_chip
from groundup.plan.limits import require_parameters, require_tokens

LAWS = ("chinchilla-1", "besiroglu")  # the default law of sizes, and the one of losses
HOURS_PER_MONTH = DAYS_PER_MONTH * 24
BATCH_PRICE = 0.5  # of a listed API price (catalog/levers.csv)


@dataclass(frozen=True)
class Band:
    """A cost in US dollars."""

    low: float
    central: float
    high: float

    def __add__(self, other: Band) -> Band:
        return Band(self.low + other.low, self.central + other.central, self.high + other.high)


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


@dataclass(frozen=True)
class ScratchPlan:
    """A training run from scratch and its price."""

    params: float
    tokens: float
    tokens_low: float  # by the laws in `LAWS`
    tokens_high: float
    flops: float
    chip: str
    chip_hours: Band
    usd: Band


@cache
def needed_tokens(params: float) -> tuple[float, float, float]:
    """Tokens for a compute-optimal model of that size: (default law, lowest, highest law).

    Raises:
        InputError: an absurd size.
    """
    from groundup.plan.laws import frontier

    found = [frontier(params=require_parameters(params), law=law)[0].tokens for law in LAWS]
    return found[0], min(found), max(found)


@cache
def affordable(usd: float, chip: str, discount: float = 0.0) -> tuple[float, float]:
    """The compute-optimal model that this much money trains: (parameters, tokens)."""
    from groundup.plan.laws import frontier

    one = scratch_cost(1e9, 20e9, chip=chip, discount=discount)
    flops = max(usd / one.usd.central * one.flops, 1e7)
    point = frontier(flops=flops, law=LAWS[0])[0]
    return point.params, point.tokens


def scratch_cost(
    params: float,
    tokens: float | None = None,
    *,
    chip: str = "H100-SXM",
    discount: float = 0.0,
    owned_hours: float = 0.0,
) -> ScratchPlan:
    """One training run: 6·N·D FLOPs at a usual efficiency, at the chip's prices.

    Args:
        params: of the model.
        tokens: it is trained on; None: what the default law gives.
        chip: on which it is trained.
        discount: share off the list price.
        owned_hours: chip-hours that cost electricity only.

    Raises:
        InputError: absurd sizes, an unknown chip, or one without a price.
    """
    require_parameters(params)
    law, low, high = needed_tokens(params)
    tokens = law if tokens is None else require_tokens(tokens)
    kind = _chip(chip)
    flops = 6 * params * tokens
    rate = kind.peak(kind.training_precision) * assumed("mfu") * 3600
    hours = Band(
        flops / rate / assumed("goodput", "high"),
        flops / rate / assumed("goodput"),
        flops / rate / assumed("goodput", "low"),
    )
    return ScratchPlan(
        params, tokens, low, high, flops, kind.id, hours, _hours(hours, kind, discount, owned_hours)
    )


def monthly_tokens(answers: DecideConfig) -> float | None:
    """Tokens a month as a number; None where it was not answered."""
    volume = answers.tokens_per_month
    if isinstance(volume, str):
        return assumed(f"tokens_per_month_{volume}")
    return None if volume is None else float(volume)


def model_params(answers: DecideConfig) -> float:
    """The size asked for, or the assumed one."""
    return assumed("params") if answers.params is None else float(answers.params)


def scratch_plan(answers: DecideConfig) -> ScratchPlan:
    """The run that training from scratch would be."""
    return _scratch_plan(
        model_params(answers),
        answers.tokens,
        answers.chip,
        (answers.discount_pct or 0) / 100,
        (answers.hardware_owned or 0) * HOURS_PER_MONTH * _months(answers),
        os.environ.get(VARIABLE),
    )


def break_even_per_month(answers: DecideConfig) -> float | None:
    """Tokens a month at which adapting and buying cost the same (central costs); None: never.

    The chips that hold the model are paid anyway: up to what they can serve, a token costs nothing
    more. Owned chips count as free of rent if they can hold the model.
    """
    chip, share, months = _chip(answers.chip), _output_share(answers), _months(answers)
    discount, size = (answers.discount_pct or 0) / 100, model_params(answers)
    price = find_price(answers.api_model).blend(share) * (1 - discount)
    one, seconds = _serving(size, chip, share)
    owned = (answers.hardware_owned or 0) >= one.n_chips
    hourly = _electricity(chip) if owned else _chip_price(chip, discount).central
    holding = one.n_chips * HOURS_PER_MONTH * months * hourly
    own = seconds / 3600 * hourly
    fixed = _tuning(answers, size).central + (_annotation().central if answers.needs_rlhf else 0)
    fixed += _people(answers, "adapt")[1].central - _people(answers, "buy")[1].central
    tokens = max(fixed + holding, 0) / price
    if tokens * own > holding:  # more chips than those that hold it
        if own >= price:
            return None
        tokens = fixed / (price - own)
    return tokens / volume_over(1.0, months, answers.growth_per_month or 0)


def option_costs(answers: DecideConfig, *, small_model: bool = False) -> dict[str, OptionCost]:
    """Every option's cost over the horizon; ``small_model``: adapt means a small one.

    Raises:
        InputError: an unknown chip or API model.
    """
    months, volume = _months(answers), monthly_tokens(answers)
    size = model_params(answers)
    adapted = assumed("small_model_params") if small_model else size
    missing = () if volume is not None else ("tokens_per_month",)
    labels = (("human labels for RLHF", _annotation()),) if answers.needs_rlhf else ()
    bought = (("API", _api(answers, volume)),) if volume is not None else ()
    return {
        "buy": OptionCost(months, (*bought, _people(answers, "buy")), missing),
        "adapt": OptionCost(
            months,
            (
                ("tuning", _tuning(answers, adapted, small_model=small_model)),
                ("hosting", _hosting(answers, adapted, volume)),
                _people(answers, "adapt"),
                *labels,
            ),
            missing,
        ),
        "train": OptionCost(
            months,
            (
                ("training from scratch", scratch_plan(answers).usd),
                ("hosting", _hosting(answers, size, volume)),
                _people(answers, "train"),
                *labels,
            ),
            missing,
        ),
    }


@cache
def _scratch_plan(
    params: float,
    tokens: float | None,
    chip: str,
    discount: float,
    owned_hours: float,
    catalog: str | None,
) -> ScratchPlan:
    return scratch_cost(params, tokens, chip=chip, discount=discount, owned_hours=owned_hours)


def _chip(name: str) -> Chip:
    return _find_chip(name, os.environ.get(VARIABLE))


@cache
def _find_chip(name: str, catalog: str | None) -> Chip:
    return find_chip(name)


def _chip_price(chip: Chip, discount: float = 0.0) -> Band:
    """US dollars an hour: the lowest seen, the geometric mean, the list price.

    Raises:
        InputError: no price is known.
    """
    listed = chip.usd_per_hour or chip.low_usd_per_hour
    if not listed:
        raise InputError(
            f"no price of {chip.id} is known",
            where="chip",
            fix="name another chip, or add its price to a hardware.csv of yours",
        )
    low = min(chip.low_usd_per_hour or listed, listed)
    off = 1 - discount
    return Band(min(low, listed * off), math.sqrt(low * listed) * off, listed)


def _hours(hours: Band, chip: Chip, discount: float, owned_hours: float) -> Band:
    """The price of chip-hours: owned ones cost their electricity, the rest is rented."""
    rent = _chip_price(chip, discount)
    power = _electricity(chip)

    def price(needed: float, hourly: float) -> float:
        own = min(needed, owned_hours)
        return own * power + (needed - own) * hourly

    return Band(
        price(hours.low, rent.low),
        price(hours.central, rent.central),
        price(hours.high, rent.high),
    )


def _electricity(chip: Chip) -> float:
    """US dollars an hour for the power of one chip."""
    watts = (chip.watts or 0) * assumed("power_usage_effectiveness")
    return watts / 1000 * assumed("usd_per_kwh")


def _api(answers: DecideConfig, volume: float) -> Band:
    share = _output_share(answers)
    tokens = volume_over(volume, _months(answers), answers.growth_per_month or 0)
    bill = usage_cost(find_price(answers.api_model), tokens * (1 - share), tokens * share)
    listed, off = bill.total_usd, 1 - (answers.discount_pct or 0) / 100
    return Band(listed * off * BATCH_PRICE, listed * off, listed)


def _hosting(answers: DecideConfig, params: float, volume: float | None) -> Band:
    """The chips that hold the model, month by month, or more where the volume needs them."""
    chip, share, months = _chip(answers.chip), _output_share(answers), _months(answers)
    one, seconds = _serving(params, chip, share)
    tokens = volume_over(volume or 0, months, answers.growth_per_month or 0)
    least = one.n_chips * HOURS_PER_MONTH * months
    hours = max(least, tokens * seconds / 3600)
    owned = (answers.hardware_owned or 0) * HOURS_PER_MONTH * months
    return _hours(Band(hours, hours, hours), chip, (answers.discount_pct or 0) / 100, owned)


def _serving(params: float, chip: Chip, output_share: float) -> tuple[Serving, float]:
    """The model on the chip, and paid chip-seconds for one token of all."""
    batch, margin = int(assumed("serving_batch")), assumed("memory_margin")
    one = serving(params, chip, batch=batch, memory_margin=margin)
    seconds = (1 - output_share) * one.input_seconds + output_share * one.output_seconds
    return one, seconds / assumed("serving_utilisation")


def _tuning(answers: DecideConfig, params: float, *, small_model: bool = False) -> Band:
    """6·N FLOPs a token: the labelled examples by epochs, and once the text of the field.

    The text counts where the ladder says continued pre-training.
    """
    per_example = assumed("tokens_per_example") * assumed("tuning_epochs")
    tokens = (answers.labelled_examples or 0) * per_example
    if adapt_technique(answers, small_model=small_model) == "continued-pre-training":
        tokens += field_tokens(answers) or 0
    chip = _chip(answers.chip)
    rate = chip.peak(chip.training_precision) * assumed("mfu") * 3600
    hours = 6 * params * tokens / rate / assumed("goodput")
    return _hours(Band(hours, hours, hours), chip, (answers.discount_pct or 0) / 100, 0)


def _people(answers: DecideConfig, option: str) -> tuple[str, Band]:
    usd = assumed(f"people_{option}") * _people_rate(answers) * _months(answers)
    return "people", Band(usd, usd, usd)


def _people_rate(answers: DecideConfig) -> float:
    given = answers.people_usd_per_month
    return assumed("people_usd_per_month") if given is None else given


def _annotation() -> Band:
    usd = assumed("annotations") * assumed("usd_per_annotation")
    return Band(usd, usd, usd)


def _months(answers: DecideConfig) -> int:
    return answers.horizon_months or int(assumed("horizon_months"))


def _output_share(answers: DecideConfig) -> float:
    given = answers.output_share
    return assumed("output_share") if given is None else given
