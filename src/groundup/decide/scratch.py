"""What a training run from scratch takes and costs: 6·N·D FLOPs at a usual efficiency.

    chip-hours = 6·N·D ÷ (peak × MFU × goodput)

The band is that of goodput and of prices: low is the most a published run kept at the lowest price
seen of the chip, high the least at its list price, which is an upper bound; central is the usual
goodput at the geometric mean of both prices. A discount lowers the low and the central price.
Owned chips cost their electricity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from groundup.decide.catalogs import assumed
from groundup.errors import InputError
from groundup.plan.catalogs import cached
from groundup.plan.hardware import Chip, find_chip
from groundup.plan.limits import require_parameters, require_tokens

LAWS = ("chinchilla-1", "besiroglu")  # the default law of sizes, and the one of losses


@dataclass(frozen=True)
class Band:
    """Low, central and high: US dollars, or hours."""

    low: float
    central: float
    high: float

    def __add__(self, other: Band) -> Band:
        return Band(self.low + other.low, self.central + other.central, self.high + other.high)


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


@cached
def needed_tokens(params: float) -> tuple[float, float, float]:
    """Tokens for a compute-optimal model of that size: (default law, lowest, highest law).

    Raises:
        InputError: an absurd size.
    """
    from groundup.plan.laws import frontier

    found = [frontier(params=require_parameters(params), law=law)[0].tokens for law in LAWS]
    return found[0], min(found), max(found)


@cached
def affordable(
    usd: float, chip: str, discount: float = 0.0, owned_hours: float = 0.0
) -> tuple[float, float]:
    """The compute-optimal model that this much money trains: (parameters, tokens)."""
    from groundup.plan.laws import frontier

    kind = known_chip(chip)
    power, rent = electricity(kind), chip_price(kind, discount).central
    own = min(usd / power, owned_hours) if power else owned_hours
    hours = own + max(usd - own * power, 0) / rent
    rate = training_rate(kind) * assumed("goodput")
    point = frontier(flops=max(hours * rate, 1e7), law=LAWS[0])[0]
    return point.params, point.tokens


@cached
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
    kind = known_chip(chip)
    flops = 6 * params * tokens
    hours = training_hours(flops, kind)
    usd, _ = hours_usd(hours, kind, discount, Band(owned_hours, owned_hours, owned_hours))
    return ScratchPlan(params, tokens, low, high, flops, kind.id, hours, usd)


def training_hours(flops: float, chip: Chip) -> Band:
    """Chip-hours for so many FLOPs of training."""
    ideal = flops / training_rate(chip)
    return Band(
        ideal / assumed("goodput", "high"),
        ideal / assumed("goodput"),
        ideal / assumed("goodput", "low"),
    )


def training_rate(chip: Chip) -> float:
    """FLOPs an hour of one chip that trains without interruption."""
    return chip.peak(chip.training_precision) * assumed("mfu") * 3600


@cached
def known_chip(name: str) -> Chip:
    """`find_chip`, read once.

    Raises:
        InputError: there is none of that name.
    """
    return find_chip(name)


def chip_price(chip: Chip, discount: float = 0.0) -> Band:
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
    return Band(low * off, math.sqrt(low * listed) * off, listed)


def hours_usd(hours: Band, chip: Chip, discount: float, owned: Band) -> tuple[Band, Band]:
    """The price of chip-hours, and the owned hours that are left.

    Owned hours are spent first and cost their electricity; the rest is rented.
    """
    rent, power = chip_price(chip, discount), electricity(chip)

    def price(needed: float, own: float, hourly: float) -> float:
        spent = min(needed, own)
        return spent * power + (needed - spent) * hourly

    usd = Band(
        price(hours.low, owned.low, rent.low),
        price(hours.central, owned.central, rent.central),
        price(hours.high, owned.high, rent.high),
    )
    left = Band(
        max(owned.low - hours.low, 0),
        max(owned.central - hours.central, 0),
        max(owned.high - hours.high, 0),
    )
    return usd, left


def electricity(chip: Chip) -> float:
    """US dollars an hour for the power of one chip."""
    watts = (chip.watts or 0) * assumed("power_usage_effectiveness")
    return watts / 1000 * assumed("usd_per_kwh")
