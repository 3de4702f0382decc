"""Where a plan stands among known models: training compute and cost over time, and today's price.

`reprice` answers what a published run would cost on another chip or another day: chip-hours times
the price in force on the day (`prices.price_on`). On every chip the hours hold what was lost to
failures and restarts: its own chip-hours where they are known, scaled by the peaks where the chip
is another (the same utilisation end to end: PaLM's 8.4M hours are 30 % of the peak, although it
computed at 46 %), else its FLOPs at an MFU times the goodput that plans assume.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from groundup.errors import InputError
from groundup.plan.hardware import Chip, chips
from groundup.plan.limits import require_flops, require_parameters, require_positive, require_tokens
from groundup.plan.milestones import Milestone
from groundup.plan.prices import Price, match_priced, price_on
from groundup.plan.time import GOODPUT

ASSUMED_MFU = (
    0.40  # where a run's own is not known: the middle of what PaLM table 3 and later report
)


@dataclass(frozen=True)
class Repriced:
    """A run on a chip at the prices of a day."""

    chip: str
    day: date
    chip_hours: float
    utilisation: float | None  # of the peak over all hours, lost ones included; None: own hours
    mfu: float | None  # where the hours follow from one, × goodput
    mfu_assumed: bool
    usd_list: float
    usd_low: float
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
        day: at the prices of this day; default: the newest known.
        mfu: of runs on a chip that they did not run on; default: what their hours say, else their
            own MFU, else `ASSUMED_MFU`.

    Raises:
        InputError: an unknown chip or one without a price, or a utilisation out of range.
    """
    chip = price = None
    if price_on_chip is not None:
        chip = match_priced(price_on_chip).chip
        price = price_on(price_on_chip, day)
        day = day or price.day
    on = day or date.today()
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
            reprice(model, chip, price, on, mfu) if chip and price else None,
        )
        for model in models
    ]
    if plan is not None:
        if chip and price:
            again = _at_mfu(plan.flops, chip, price, on, mfu or ASSUMED_MFU, mfu is None)
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
    if model.chip_hours and model.chip == chip.id:
        return _repriced(chip, price, day, model.chip_hours, None, "its own chip-hours")
    own = chips().get(model.chip)
    if model.chip_hours and own and mfu is None:
        peak = own.peak(own.training_precision)
        share = model.flops / (model.chip_hours * 3600 * peak)
        hours = model.flops / (share * chip.peak(chip.training_precision)) / 3600
        return _repriced(chip, price, day, hours, share, f"at its own {share:.1%} end to end")
    assumed = mfu is None and model.mfu is None
    return _at_mfu(model.flops, chip, price, day, mfu or model.mfu or ASSUMED_MFU, assumed)


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


def _at_mfu(
    flops: float, chip: Chip, price: Price, day: date, mfu: float, assumed: bool
) -> Repriced:
    share = mfu * GOODPUT
    hours = flops / (chip.peak(chip.training_precision) * share) / 3600
    how = f"at {mfu:.1%} MFU{', assumed' if assumed else ''}, goodput {GOODPUT:.0%}"
    again = _repriced(chip, price, day, hours, share, how)
    return dataclasses.replace(again, mfu=mfu, mfu_assumed=assumed)


def _repriced(
    chip: Chip, price: Price, day: date, hours: float, share: float | None, how: str
) -> Repriced:
    usd, usd_low = hours * price.usd_list, hours * price.usd_low
    return Repriced(chip.id, day, hours, share, None, False, usd, usd_low, how)
