"""Where a plan stands among known models: training compute and cost over time, and today's price.

`reprice` answers what a published run would cost on another chip or another day: its chip-hours
where it ran on that chip, else its FLOPs at its own model FLOPs utilisation (40 % where none was
published, and marked so), times the price in force on the day (`prices.price_on`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from groundup.errors import InputError
from groundup.plan.hardware import Chip, find_chip
from groundup.plan.limits import require_flops, require_parameters, require_positive, require_tokens
from groundup.plan.milestones import Milestone
from groundup.plan.prices import Price, price_on

ASSUMED_MFU = (
    0.40  # where a run's own is not known: the middle of what PaLM table 3 and later report
)


@dataclass(frozen=True)
class Repriced:
    """A run on a chip at the prices of a day."""

    chip: str
    day: date
    chip_hours: float
    mfu: float | None  # None: its own chip-hours
    mfu_assumed: bool
    list_usd: float
    low_usd: float
    how: str


@dataclass(frozen=True)
class Entry:
    """One model of the landscape, repriced where a chip is given; ``model`` None: your plan."""

    name: str
    day: date
    parameters: float | None
    tokens: float | None
    flops: float
    cost_usd: float | None
    cost_kind: str
    model: Milestone | None
    repriced: Repriced | None

    @property
    def ours(self) -> bool:
        """Whether this is the user's plan."""
        return self.model is None


def landscape(
    models: Sequence[Milestone],
    *,
    plan: Entry | None = None,
    price_on_chip: str | None = None,
    day: date | None = None,
    mfu: float | None = None,
) -> tuple[list[Entry], Price | None]:
    """The models and the plan among them, oldest first, and the price they were repriced at.

    Args:
        models: see `milestones.milestones`.
        plan: yours, from `own_plan`.
        price_on_chip: reprice every run on this chip.
        day: at the prices of this day; default: today.
        mfu: of runs on a chip that they did not run on; default: their own.

    Raises:
        InputError: an unknown chip or one without a price, or a utilisation out of range.
    """
    day = day or date.today()
    chip = price = None
    if price_on_chip is not None:
        chip = find_chip(price_on_chip)
        price = price_on(chip, day)
    entries = [
        Entry(
            model.name,
            model.day,
            model.parameters,
            model.tokens,
            model.flops,
            model.cost_usd,
            model.cost_kind,
            model,
            reprice(model, chip, price, day, mfu) if chip and price else None,
        )
        for model in models
    ]
    if plan is not None:
        if chip and price:
            hours = _hours(plan.flops, chip, mfu or ASSUMED_MFU)
            again = _repriced(chip, price, day, hours, mfu or ASSUMED_MFU, mfu is None)
            plan = dataclasses.replace(plan, repriced=again)
        entries.append(plan)
    return sorted(entries, key=lambda entry: (entry.day, entry.name)), price


def reprice(
    model: Milestone, chip: Chip, price: Price, day: date, mfu: float | None = None
) -> Repriced:
    """What the run would cost on ``chip`` at ``price``.

    Raises:
        InputError: a utilisation that is no share.
    """
    if mfu is not None and not 0 < mfu <= 1:
        raise InputError(
            f"mfu is {mfu:g}, but is a share above 0, at most 1",
            where="mfu",
            fix="write 40% or 0.4",
        )
    if model.chip == chip.id and model.chip_hours:
        return _repriced(chip, price, day, model.chip_hours, None, False)
    share = mfu or model.mfu or ASSUMED_MFU
    assumed = mfu is None and model.mfu is None
    return _repriced(chip, price, day, _hours(model.flops, chip, share), share, assumed)


def own_plan(
    name: str,
    day: date,
    *,
    parameters: float | None = None,
    tokens: float | None = None,
    flops: float | None = None,
    cost_usd: float | None = None,
) -> Entry:
    """Your plan as an entry: parameters and tokens, or FLOPs.

    Raises:
        InputError: neither is given, or a number is out of range.
    """
    for value, check, called in (
        (parameters, require_parameters, "params"),
        (tokens, require_tokens, "tokens"),
        (flops, require_flops, "flops"),
        (cost_usd, require_positive, "usd"),
    ):
        if value is not None:
            check(value, called)
    if flops is None:
        if parameters is None or tokens is None:
            raise InputError(
                "your plan needs its compute",
                where="plan",
                fix="give --params and --tokens, or --flops",
            )
        flops = 6 * parameters * tokens
    return Entry(
        name, day, parameters, tokens, flops, cost_usd, "plan" if cost_usd else "", None, None
    )


def _hours(flops: float, chip: Chip, mfu: float) -> float:
    return flops / (chip.peak(chip.training_precision) * mfu) / 3600


def _repriced(
    chip: Chip, price: Price, day: date, hours: float, mfu: float | None, assumed: bool
) -> Repriced:
    if mfu is None:
        how = "its own chip-hours"
    else:
        how = f"at {mfu:.1%} MFU" + (", assumed" if assumed else "")
    return Repriced(
        chip.id, day, hours, mfu, assumed, hours * price.list_usd, hours * price.low_usd, how
    )
