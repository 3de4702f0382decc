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
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

from groundup.architecture.config import ModelConfig
from groundup.architecture.counts import active_parameters, parameters
from groundup.errors import BudgetError, ConfigError, InputError
from groundup.plan.carbon import Footprint, find_region, footprint
from groundup.plan.cost import Cost, compare
from groundup.plan.laws import (
    LOSS_LAW,
    Point,
    effective_tokens,
    frontier,
    loss_by_law,
)
from groundup.plan.layout import LayoutSearch, search
from groundup.plan.predicted import suggested_batch
from groundup.plan.prices import age_warning, catalog_price
from groundup.plan.shape import shape_for
from groundup.plan.sizing import DEFAULT_EPOCHS, data_constrained_optimum
from groundup.plan.time import TrainingTime, training_time
from groundup.plan.wish import Wish, check_wish
from groundup.units import format_count, format_duration, format_money

FIRST_MFU = 0.4  # before a size is known: what well-run jobs reach
ROUNDS = 3
MANY_EPOCHS = 16  # R*_D of Muennighoff et al. 2023, where repeats have lost most of their worth
REGION = "published/us-average"  # where none is named
HOURS_PER_DAY, SECONDS_PER_HOUR = 24, 3600


@dataclass(frozen=True)
class Estimate:
    """A plan in numbers; every one of them is in `as_record`."""

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
    config, tokens, notes = _size(wish, usd_per_hour)
    params = float(active_parameters(config))
    batch, layouts, took = _train(wish, config, tokens)
    best = layouts.ranked[0]
    bill, schemes = _bill(wish, took.chip_hours)
    if price is not None:
        warning = age_warning(price, wish.today or date.today())
        notes += [warning] if warning else []
    _require_within_budget(wish, took, bill, params, tokens)
    green, region = _footprint(wish, took.chip_hours)
    unique = wish.unique_tokens or tokens
    losses = loss_by_law(params, effective_tokens(tokens, unique))
    if config.stack not in ("decoder", "prefix"):
        losses = {}
    notes += [*_beyond_laws(config), *_repetition(tokens, unique), *took.warnings, *took.notes]
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
        layouts=layouts,
        global_batch_size=batch,
        time=took,
        cost=bill,
        schemes=schemes,
        footprint=green,
        region=region,
        predicted=predicted,
        band=band,
        notes=tuple(dict.fromkeys(notes)),
    )


def as_record(plan: Estimate) -> dict[str, Any]:
    """For JSON."""
    record: dict[str, Any] = {
        "model": {
            "name": plan.wish.model_name or None,
            "parameters": plan.params,
            "active_parameters": plan.active_params,
            **plan.config.to_dict(),
        },
        "tokens": plan.tokens,
        "epochs": plan.epochs,
        "flops": plan.flops,
        "law": plan.wish.law,
        "frontier": [asdict(point) for point in plan.frontier],
        "losses": dict(plan.losses),
        "chip": plan.wish.chip.id,
        "n_chips": plan.wish.n_chips,
        "global_batch_size": plan.global_batch_size,
        "layout": asdict(plan.layouts.ranked[0]),
        "layouts": [asdict(one) for one in plan.layouts.ranked[1:]],
        "layout_explanation": plan.layouts.explanation,
        "time": asdict(plan.time),
        "cost": _bill_record(plan.cost),
        "schemes": [_bill_record(one) for one in plan.schemes],
        "region": plan.region,
        "predicted": dict(plan.predicted),
        "band": {name: list(edges) for name, edges in plan.band.items()},
        "notes": list(plan.notes),
    }
    return record


def _bill_record(bill: Cost | None) -> dict[str, Any] | None:
    if bill is None:
        return None
    totals = {"usd": bill.total_usd, "low_usd": bill.low_usd, "high_usd": bill.high_usd}
    return {**asdict(bill), **totals}


def _size(wish: Wish, usd_per_hour: float | None) -> tuple[ModelConfig, float, list[str]]:
    """Model and tokens; and what was decided on the way."""
    params: float | None = wish.params
    if wish.model is not None:
        params = float(active_parameters(wish.model))
    if params is not None and wish.tokens is not None:
        return _shaped(wish, params), wish.tokens, []
    if wish.flops is not None:
        params, tokens, notes = _split(wish, wish.flops, params)
        config = _shaped(wish, params)  # its parameters are round: the text takes up the rest
        return config, wish.tokens or wish.flops / 6 / active_parameters(config), notes
    if wish.money_usd is None and wish.days is None:
        point = frontier(params=params, tokens=wish.tokens, law=wish.law)[0]
        return _shaped(wish, params or point.params), wish.tokens or point.tokens, [_by_law(wish)]
    chip_hours = _chip_hours(wish, usd_per_hour)
    rate = FIRST_MFU * wish.chip.peak(wish.chip.training_precision) * wish.goodput  # 6ND a second
    for _ in range(ROUNDS):
        flops = chip_hours * SECONDS_PER_HOUR * rate
        size, tokens, notes = _split(wish, flops, params)
        config = _shaped(wish, size)
        _, _, took = _train(wish, config, tokens)
        done = 6 * active_parameters(config) * tokens
        rate = done / took.chip_hours / SECONDS_PER_HOUR
    if wish.tokens is None:
        tokens *= chip_hours / took.chip_hours  # what is left of the circle: the bill is the budget
    bought = (
        f"the budget buys {format_count(chip_hours)} chip-hours of {wish.chip.id}: "
        f"{6 * active_parameters(config) * tokens:.3g} FLOPs at an MFU of {took.mfu:.0%} and a "
        f"goodput of {wish.goodput:.0%}"
    )
    return config, tokens, [bought, *notes]


def _train(
    wish: Wish, config: ModelConfig, tokens: float
) -> tuple[int, LayoutSearch, TrainingTime]:
    """Batch (sequences), layouts and time of one model on one text."""
    context_length = wish.context_length or config.context_length
    batch = _batch_size(wish, config, tokens, context_length)
    layouts = search(
        config,
        wish.chip,
        wish.n_chips,
        global_batch_size=batch,
        context_length=context_length,
        optimizer=wish.optimizer,
        precision=wish.chip.training_precision,
    )
    took = training_time(
        config,
        tokens,
        wish.chip,
        wish.n_chips,
        mfu=wish.mfu,
        context_length=context_length,
        global_batch_tokens=batch * context_length,
        layout=layouts.ranked[0].layout,
        goodput=wish.goodput,
    )
    return batch, layouts, took


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


def _batch_size(wish: Wish, config: ModelConfig, tokens: float, context_length: int) -> int:
    """Sequences of a step: as given, else the suggested tokens, rounded to share out evenly."""
    given = wish.global_batch_tokens
    if given is not None:
        if given < context_length or given % context_length:
            raise ConfigError(
                f"a batch of {given:,.0f} tokens is no whole number of sequences of "
                f"{context_length:,}",
                where="global_batch_tokens",
            )
        return int(given // context_length)
    return suggested_batch(config, tokens, wish.n_chips, context_length)


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
    too_dear = bill is not None and wish.money_usd is not None and bill.low_usd > wish.money_usd
    too_long = wish.days is not None and took.wall_days > wish.days
    if not too_dear and not too_long:
        return
    smaller = replace(wish, model=None, params=None, tokens=None)
    chip_hours = _chip_hours(smaller, _usd_per_hour(smaller))
    config, text, _ = _size(smaller, _usd_per_hour(smaller))
    share = chip_hours / took.chip_hours
    asked = f"{format_count(params)} parameters on {format_count(tokens)} tokens"
    needs = f"take {format_duration(took.wall_days * 86400)} on {wish.n_chips} x {wish.chip.id}"
    if too_dear and bill is not None:
        needs = f"cost {format_money(bill.low_usd)} (low offers) to {format_money(bill.high_usd)}"
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
            bill.low_usd * low / took.wall_days,
            bill.high_usd * high / took.wall_days,
        )
    return predicted, band
