"""The whole plan at once: from what is fixed (a model, a budget, a date) to everything else.

Size and tokens by the default law, or given; the layout that the search ranks first; days with the
efficiency that published runs had and the time lost to failures; money from low offer to list
price; energy and carbon. What a run will measure stands in ``predicted``, under the run's names.

A budget buys chip-hours, and these FLOPs, at an efficiency that depends on the size they pay for:
the circle is closed by repetition (three rounds; the efficiency varies little with the size).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

from groundup.architecture.config import ModelConfig
from groundup.architecture.counts import active_parameters, parameters
from groundup.errors import BudgetError, InputError
from groundup.plan.carbon import Footprint, find_region, footprint
from groundup.plan.cost import Cost, compare
from groundup.plan.laws import (
    LOSS_LAW,
    Point,
    effective_tokens,
    frontier,
    loss_by_law,
)
from groundup.plan.layout import LayoutSearch
from groundup.plan.predicted import Chosen, choose
from groundup.plan.prices import age_warning, catalog_price
from groundup.plan.shape import shape_for
from groundup.plan.sizing import DEFAULT_EPOCHS, data_constrained_optimum
from groundup.plan.time import TrainingTime, training_time
from groundup.plan.wish import Wish, check_wish
from groundup.units import format_count, format_duration, format_money

FIRST_MFU = 0.4  # before a size is known: what well-run jobs reach
ROUNDS = 3
LEAST_MODEL = 1e7  # parameters: below it the vocabulary is most of the model
MANY_EPOCHS = 16  # R*_D of Muennighoff et al. 2023, where repeats have lost most of their worth
REGION = "published/us-average"  # where none is named
HOURS_PER_DAY, SECONDS_PER_HOUR = 24, 3600


@dataclass(frozen=True)
class Estimate:
    """A plan in numbers; `whole_report.as_record` has every one of them."""

    wish: Wish
    config: ModelConfig
    params: int
    active_params: int
    tokens: float
    epochs: float | None
    flops: float  # 6 · (active) parameters · tokens
    frontier: tuple[Point, ...]  # of every law, for these FLOPs
    losses: Mapping[str, float]  # by law, for this size and text
    layouts: LayoutSearch
    global_batch_size: int  # sequences
    time: TrainingTime
    cost: Cost | None
    schemes: tuple[Cost, ...]
    footprint: Footprint | None
    region: str
    predicted: Mapping[str, float | None]  # under the names of a run's measurements
    band: Mapping[str, tuple[float, float]]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def estimate(wish: Wish) -> Estimate:
    """Everything that follows from ``wish``.

    Raises:
        ConfigError: too little or too much is fixed.
        InputError: a number out of range, an unknown law or region.
        BudgetError: the budget does not pay for what is asked (it says what it would buy), or no
            layout fits the chips.
    """
    check_wish(wish)
    price = None if wish.usd_per_hour else catalog_price(wish.chip)
    usd_per_hour = _usd_per_hour(wish)
    config, tokens, notes, chosen = _size(wish, usd_per_hour)
    params = float(active_parameters(config))
    chosen = chosen or _choose(wish, config, tokens)
    took = _time(wish, config, tokens, chosen)
    best = chosen.layouts.ranked[0]
    bill, schemes = _bill(wish, took.wall_chip_hours)
    warnings = [*chosen.warnings, *took.warnings]
    if price is not None:
        warning = age_warning(price, wish.today or date.today())
        warnings += [warning] if warning else []
    _require_within_budget(wish, took, bill, params, tokens)
    green, region = _footprint(wish, took.wall_chip_hours)
    unique = wish.unique_tokens or tokens
    losses = loss_by_law(params, effective_tokens(tokens, unique))
    if config.stack not in ("decoder", "prefix"):
        losses = {}
    notes += [*_beyond_laws(config), *_repetition(tokens, unique), *chosen.notes, *took.notes]
    if wish.mfu is not None:
        notes.append(
            "days and money are by the MFU given; seconds and MFU of the layouts are predicted"
        )
    predicted, band = _predictions(took, best.memory_bytes, losses, bill, green)
    return Estimate(
        wish=wish,
        config=config,
        params=parameters(config).total,
        active_params=active_parameters(config),
        tokens=tokens,
        epochs=tokens / wish.unique_tokens if wish.unique_tokens else None,
        flops=6 * active_parameters(config) * tokens,
        frontier=tuple(frontier(flops=6 * active_parameters(config) * tokens)),
        losses=losses,
        layouts=chosen.layouts,
        global_batch_size=chosen.global_batch_size,
        time=took,
        cost=bill,
        schemes=schemes,
        footprint=green,
        region=region,
        predicted=predicted,
        band=band,
        notes=tuple(dict.fromkeys(notes)),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _size(
    wish: Wish, usd_per_hour: float | None
) -> tuple[ModelConfig, float, list[str], Chosen | None]:
    """Model and tokens, what was decided on the way, and the layouts if they had to be known."""
    params: float | None = wish.params
    if wish.model is not None:
        params = float(active_parameters(wish.model))
    if params is not None and wish.tokens is not None:
        return _shaped(wish, params), wish.tokens, [], None
    if wish.flops is not None:
        params, tokens, notes = _split(wish, wish.flops, params)
        config = _shaped(wish, params)  # its parameters are round: the text takes up the rest
        return config, wish.tokens or wish.flops / 6 / active_parameters(config), notes, None
    if wish.money_usd is None and wish.days is None:
        point = frontier(params=params, tokens=wish.tokens, law=wish.law)[0]
        config = _shaped(wish, params or point.params)
        return config, wish.tokens or point.tokens, [_by_law(wish)], None
    chip_hours = _chip_hours(wish, usd_per_hour)
    rate = FIRST_MFU * wish.chip.peak(wish.chip.training_precision) * wish.goodput  # 6ND a second
    for _ in range(ROUNDS):
        flops = chip_hours * SECONDS_PER_HOUR * rate
        _require_plannable(wish, flops, rate, usd_per_hour)
        size, tokens, notes = _split(wish, flops, params)
        config = _shaped(wish, size)
        chosen = _choose(wish, config, tokens)
        took = _time(wish, config, tokens, chosen)
        done = 6 * active_parameters(config) * tokens
        rate = done / took.wall_chip_hours / SECONDS_PER_HOUR
    if wish.tokens is None:
        tokens *= (
            chip_hours / took.wall_chip_hours
        )  # what is left of the circle: the bill is the budget
    bought = (
        f"the budget buys {format_count(chip_hours)} chip-hours of {wish.chip.id}: "
        f"{6 * active_parameters(config) * tokens:.3g} FLOPs at an MFU of {took.mfu:.0%} and a "
        f"goodput of {wish.goodput:.0%}"
    )
    return config, tokens, [bought, *notes], chosen


def _require_plannable(
    wish: Wish, flops: float, flops_per_second: float, usd_per_hour: float | None
) -> None:
    """Refuse a budget below that of the smallest model, where the model is open.

    Raises:
        BudgetError: with what the smallest would need.
    """
    if wish.model is not None or wish.params is not None or wish.tokens is not None:
        return
    least = frontier(params=LEAST_MODEL, law=wish.law)[0]
    if flops >= least.flops:
        return
    chip_hours = least.flops / flops_per_second / SECONDS_PER_HOUR
    needs = format_duration(chip_hours / wish.n_chips * SECONDS_PER_HOUR)
    if usd_per_hour:
        needs += f" or {format_money(chip_hours * usd_per_hour)}"
    raise BudgetError(
        f"the budget is too small: it buys {flops:.3g} FLOPs",
        where="the budget",
        fix=f"a model of {format_count(LEAST_MODEL)} parameters, the least that is planned, needs "
        f"{least.flops:.3g} by {wish.law}: {needs}",
    )


def _choose(wish: Wish, config: ModelConfig, tokens: float) -> Chosen:
    """Batch and layouts of one model on one text."""
    return choose(
        config,
        tokens,
        wish.chip,
        wish.n_chips,
        context_length=wish.context_length or config.context_length,
        global_batch_tokens=wish.global_batch_tokens,
        optimizer=wish.optimizer,
    )


def _time(wish: Wish, config: ModelConfig, tokens: float, chosen: Chosen) -> TrainingTime:
    context_length = wish.context_length or config.context_length
    return training_time(
        config,
        tokens,
        wish.chip,
        wish.n_chips,
        mfu=wish.mfu,
        context_length=context_length,
        global_batch_tokens=chosen.global_batch_size * context_length,
        layout=chosen.layouts.ranked[0].layout,
        goodput=wish.goodput,
    )


def _split(wish: Wish, flops: float, params: float | None) -> tuple[float, float, list[str]]:
    """FLOPs into parameters and tokens."""
    if params is not None:
        return params, flops / 6 / params, [f"the budget gives {format_count(flops / 6 / params)} "
                                            "tokens to this model"]  # fmt: skip
    if wish.tokens is not None:
        return flops / 6 / wish.tokens, wish.tokens, ["the tokens are given: the budget gives the "
                                                      "size"]  # fmt: skip
    point = frontier(flops=flops, law=wish.law)[0]
    unique = wish.unique_tokens
    if unique is None or point.tokens <= DEFAULT_EPOCHS * unique:
        return point.params, flops / 6 / point.params, [_by_law(wish)]
    limited = data_constrained_optimum(flops, unique)
    return limited.params, limited.tokens, [
        f"{format_count(unique)} unique tokens are fewer than a quarter of the "
        f"{format_count(point.tokens)} that {wish.law} wants: size and epochs by the law of "
        "Muennighoff et al. for repeated text"
    ]  # fmt: skip


def _by_law(wish: Wish) -> str:
    return f"size and tokens by the law {wish.law}; `groundup plan frontier` shows the others"


def _shaped(wish: Wish, params: float) -> ModelConfig:
    """The model named, or one of so many parameters."""
    return wish.model or shape_for(
        params, vocab_size=wish.vocab_size, context_length=wish.context_length or 4096
    )


def _beyond_laws(config: ModelConfig) -> list[str]:
    """A word on models that the laws were not fitted to: dense ones that predict the next token."""
    if config.stack not in ("decoder", "prefix"):
        return [f"no loss is predicted: the laws are of decoders, and this is an {config.stack}"]
    if config.feed_forward.n_experts:
        return [
            "the laws are of dense models: of this mixture of experts they are asked with the "
            "parameters that a token uses, which leaves out what the others are worth"
        ]
    return []


def _repetition(tokens: float, unique: float) -> list[str]:
    """A word on text that is read more often than it is worth."""
    if tokens <= unique:
        return []
    worth, epochs = effective_tokens(tokens, unique), tokens / unique
    said = (
        f"the text is read {epochs:.1f} times: {format_count(tokens)} tokens are worth "
        f"{format_count(worth)} fresh ones, by which the losses are predicted"
    )
    if epochs > MANY_EPOCHS:
        said += "; spend on more text, or on less training: repeats beyond some 16 add little"
    return [said]


def _usd_per_hour(wish: Wish) -> float | None:
    """Of one chip by the scheme; None where no price is known.

    Raises:
        InputError: there is none, and the budget is money.
    """
    bill, _ = _bill(wish, 1.0)
    if bill is None and wish.money_usd is not None:
        raise InputError(
            f"no {wish.scheme} price of {wish.chip.id} is known, so money buys nothing yet",
            where="gpu",
            fix="give --usd-per-hour",
        )
    return bill.total_usd if bill else None


def _chip_hours(wish: Wish, usd_per_hour: float | None) -> float:
    """What the money and the days both allow."""
    allowed = math.inf
    if wish.money_usd is not None and usd_per_hour:
        allowed = wish.money_usd / usd_per_hour
    if wish.days is not None:
        allowed = min(allowed, wish.n_chips * wish.days * HOURS_PER_DAY)
    return allowed


def _bill(wish: Wish, chip_hours: float) -> tuple[Cost | None, tuple[Cost, ...]]:
    try:
        schemes, _ = compare(
            wish.chip, chip_hours, usd_per_hour=wish.usd_per_hour, discount=wish.discount
        )
    except InputError:  # no price is known: the rest of the plan stands without it
        return None, ()
    return next((one for one in schemes if one.scheme == wish.scheme), None), tuple(schemes)


def _require_within_budget(
    wish: Wish, took: TrainingTime, bill: Cost | None, params: float, tokens: float
) -> None:
    """Refuse where model and tokens are given and cost more than there is.

    Raises:
        BudgetError: with what the budget would buy.
    """
    if wish.tokens is None or (wish.model is None and wish.params is None):
        return
    too_dear = bill is not None and wish.money_usd is not None and bill.usd_low > wish.money_usd
    too_long = wish.days is not None and took.wall_days > wish.days
    if not too_dear and not too_long:
        return
    smaller = replace(wish, model=None, params=None, tokens=None)
    chip_hours = _chip_hours(smaller, _usd_per_hour(smaller))
    config, text, *_ = _size(smaller, _usd_per_hour(smaller))
    share = chip_hours / took.wall_chip_hours
    asked = f"{format_count(params)} parameters on {format_count(tokens)} tokens"
    needs = f"take {format_duration(took.wall_days * 86400)} on {wish.n_chips} x {wish.chip.id}"
    if too_dear and bill is not None:
        needs = f"cost {format_money(bill.usd_low)} (low offers) to {format_money(bill.usd_high)}"
    raise BudgetError(
        f"{asked} {needs}",
        where="the budget",
        fix=f"it would buy {format_count(parameters(config).total)} parameters on "
        f"{format_count(text)} tokens (by {wish.law}), or {format_count(tokens * share)} tokens "
        "for the model asked for",
    )


def _footprint(wish: Wish, chip_hours: float) -> tuple[Footprint | None, str]:
    if wish.chip.watts is None:
        return None, ""
    if wish.kg_per_kwh is not None:
        grid, name = wish.kg_per_kwh, f"{wish.kg_per_kwh:g} kg/kWh, as given"
    else:
        region = find_region(wish.region or REGION)
        grid, name = region.kg_per_kwh, region.id
    return footprint(chip_hours, wish.chip.watts, wish.pue, grid), name


def _predictions(
    took: TrainingTime,
    memory: Mapping[str, int],
    losses: Mapping[str, float],
    bill: Cost | None,
    green: Footprint | None,
) -> tuple[dict[str, float | None], dict[str, tuple[float, float]]]:
    """What the run will measure, under its names, and how far it may be off."""
    predicted: dict[str, float | None] = {
        "duration_seconds": took.wall_days * 86400,
        "tokens_per_second": took.tokens_per_second,
        "peak_memory_bytes": sum(memory.values()) - memory["fragmentation"],  # a margin, not a use
        "loss": losses.get(LOSS_LAW),
        "bits_per_byte": None,  # depends on the tokenizer and the text
        "cost_usd": bill.total_usd if bill else None,
        "energy_kwh": green.energy_kwh if green else None,
        "co2e_kg": green.co2e_kg if green else None,
        "mfu": took.mfu,
    }
    low, high = took.wall_days_range
    band = {"duration_seconds": (low * 86400, high * 86400)}
    if losses:
        band["loss"] = (min(losses.values()), max(losses.values()))
    if bill:
        band["cost_usd"] = (
            bill.usd_low * low / took.wall_days,
            bill.usd_high * high / took.wall_days,
        )
    return predicted, band
