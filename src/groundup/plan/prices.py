"""What a chip-hour cost on a day: archived offers of cloud vendors, and the catalog's own price.

The same chip is rented at prices four times apart, so a price is always a pair: the list price (the
highest in force, what the large clouds ask) and the low one (the lowest of anybody). Committing for
one or three years buys a discount; where no vendor printed one for a chip, the median over all
archived offers is taken (`median_discounts`: 36 % and 55 %). Rows: `catalog/chip_prices.csv`.
"""

from __future__ import annotations

import dataclasses
import difflib
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from groundup.errors import InputError
from groundup.plan.catalogs import SHIPPED, read_catalog, read_rows
from groundup.plan.hardware import Chip, find_chip

IN_FORCE_DAYS = (
    365  # an archived page is taken to hold for a year: vendors change prices less often
)


@dataclass(frozen=True)
class Offer:
    """One archived price per chip-hour, US dollars."""

    chip: str
    name: str  # as the archive calls the chip
    day: date
    vendor: str
    location: str
    on_demand_usd: float
    one_year_usd: float | None
    three_year_usd: float | None


@dataclass(frozen=True)
class Price:
    """List and low price of a chip-hour in US dollars, and what commitment makes of them."""

    chip: str
    list_usd: float
    low_usd: float
    one_year_share: float  # of the on-demand price
    three_year_share: float
    list_source: str
    low_source: str
    commitment_source: str
    day: date | None  # of the newest offer behind it
    notes: tuple[str, ...] = ()

    def share(self, scheme: str) -> float:
        """The part of the on-demand price that a scheme (on-demand, 1y, 3y) costs."""
        return {"on-demand": 1.0, "1y": self.one_year_share, "3y": self.three_year_share}[scheme]


@dataclass(frozen=True)
class Discounts:
    """Median discounts for committing, over the archived offers that print them."""

    one_year: float
    three_year: float
    n_offers: int


def offers(chip: str | None = None, vendor: str | None = None) -> list[Offer]:
    """The archived offers, oldest first; of one chip id, of vendors whose name holds ``vendor``.

    Raises:
        InputError: a row of the catalog that cannot be read.
    """
    found = []
    for row in read_catalog("chip_prices", "offer"):
        if chip is not None and row.text("chip") != chip:
            continue
        if vendor is not None and vendor.casefold() not in row.text("vendor").casefold():
            continue
        day = row.day("date")
        if day is None:
            raise InputError("date is empty", where=row.where)
        found.append(
            Offer(
                row.text("chip"),
                row.text("name"),
                day,
                row.text("vendor"),
                row.text("location"),
                row.needed("on_demand_usd_per_hour"),
                row.number("one_year_usd_per_hour"),
                row.number("three_year_usd_per_hour"),
            )
        )
    return sorted(found, key=lambda offer: offer.day)


def price_on(chip: str | Chip, day: date, vendor: str | None = None) -> Price:
    """List and low price in force on ``day``: each vendor's latest offer, at most a year old.

    Where no offer is in force, the nearest day that has any stands in, or else the price of the
    hardware catalog, and a note says so.

    Args:
        chip: a name, id or `Chip`.
        day: when.
        vendor: only vendors whose name holds this.

    Raises:
        InputError: an unknown chip or vendor, or one without any price; what there is is named.
    """
    name = priced_chip(chip)
    all_offers = offers(name)
    if not all_offers:
        stands_in = catalog_price(chip if isinstance(chip, Chip) else find_chip(name))
        if stands_in is None:
            raise InputError(
                f"no price of {name} is known, neither archived nor of today",
                where="price-on",
                fix="put usd_per_hour into hardware.csv in the folder of GROUNDUP_CATALOG, or "
                "choose one of " + ", ".join(priced_chips()),
            )
        note = f"no offer of {name} is archived: the price of the hardware catalog stands in"
        return dataclasses.replace(stands_in, notes=(*stands_in.notes, note))
    known = offers(name, vendor) if vendor else all_offers
    if not known:
        vendors = ", ".join(sorted({offer.vendor for offer in all_offers}))
        raise InputError(
            f"no archived price of {name} by {vendor!r} is known",
            where="vendor",
            fix=f"its vendors are {vendors}",
        )
    valid, notes = _in_force(known, day)
    top = max(valid, key=lambda offer: offer.on_demand_usd)
    low = min(valid, key=lambda offer: offer.on_demand_usd)
    one, three, source = _commitment([top, *reversed(valid)])
    return Price(
        chip=name,
        list_usd=top.on_demand_usd,
        low_usd=low.on_demand_usd,
        one_year_share=one,
        three_year_share=three,
        list_source=_cite(top),
        low_source=_cite(low),
        commitment_source=source,
        day=max(offer.day for offer in valid),
        notes=tuple(notes),
    )


def catalog_price(chip: Chip) -> Price | None:
    """The price of the hardware catalog, which users may replace; None where it has none."""
    if not chip.usd_per_hour:
        return None
    known = offers(chip.id)
    same = [offer for offer in known if offer.on_demand_usd == chip.usd_per_hour]
    day = chip.price_date or date.max
    same.sort(key=lambda offer: abs((offer.day - day).days))
    one, three, source = _commitment([*same, *reversed(known)])
    low = chip.low_usd_per_hour
    notes = () if low else (f"no lower price of {chip.id} is known: the low end is the list price",)
    return Price(
        chip=chip.id,
        list_usd=chip.usd_per_hour,
        low_usd=min(low or chip.usd_per_hour, chip.usd_per_hour),
        one_year_share=one,
        three_year_share=three,
        list_source=chip.price_source,
        low_source="the low price of the hardware catalog" if low else chip.price_source,
        commitment_source=source,
        day=chip.price_date,
        notes=notes,
    )


def age_warning(price: Price, today: date) -> str | None:
    """A warning where the newest offer behind a price was seen over a year before ``today``."""
    if price.day is None:
        return f"the price of {price.chip} has no date: look it up before you rely on it"
    age = (today - price.day).days
    if age <= IN_FORCE_DAYS:
        return None
    return (
        f"the price of {price.chip}, ${price.list_usd:g} an hour ({price.list_source}), was last "
        f"seen {price.day:%Y-%m}, {age / 365.25:.1f} years ago: look it up before you rely on it"
    )


@lru_cache(maxsize=1)
def median_discounts() -> Discounts:
    """The median commitment discounts of the archive as shipped: 36 % and 55 % of 70 offers."""
    one: list[float] = []
    three: list[float] = []
    for row in read_rows(SHIPPED / "chip_prices.csv"):
        on_demand = row.needed("on_demand_usd_per_hour")
        for column, found in (("one_year", one), ("three_year", three)):
            committed = row.number(f"{column}_usd_per_hour")
            if committed is not None:
                found.append(1 - committed / on_demand)
    return Discounts(statistics.median(one), statistics.median(three), len(one))


def priced_chip(chip: str | Chip) -> str:
    """The id under which the archive keeps a chip's offers.

    Raises:
        InputError: no such chip; the nearest are named.
    """
    if isinstance(chip, Chip):
        return chip.id
    known = {name.casefold(): name for name in priced_chips()}
    if chip.casefold() in known:
        return known[chip.casefold()]
    try:
        return find_chip(chip).id
    except InputError as error:
        near = difflib.get_close_matches(chip.casefold(), known, n=3, cutoff=0.5)
        more = f"; prices are archived of {', '.join(known[name] for name in near)}" if near else ""
        raise InputError(error.message, where=error.where, fix=f"{error.fix}{more}") from None


def priced_chips() -> list[str]:
    """The chips that have archived offers."""
    return sorted({offer.chip for offer in offers()})


def _in_force(known: Sequence[Offer], day: date) -> tuple[list[Offer], list[str]]:
    """The offers that hold on ``day``, or on the nearest day that has any."""
    before = [offer.day for offer in known if offer.day <= day]
    nearest = max(before) if before else min(offer.day for offer in known)
    notes = []
    if not before:
        notes.append(
            f"no offer of {known[0].chip} is archived before {nearest}: its first price stands in"
        )
    elif (day - nearest).days > IN_FORCE_DAYS:
        notes.append(
            f"the newest archived offer of {known[0].chip} before {day} is of {nearest}: it "
            "stands in"
        )
    else:
        nearest = day
    latest: dict[tuple[str, str, str], date] = {}
    for offer in known:
        if 0 <= (nearest - offer.day).days <= IN_FORCE_DAYS:
            latest[offer.vendor, offer.location, offer.name] = offer.day
    valid = [
        offer
        for offer in known
        if latest.get((offer.vendor, offer.location, offer.name)) == offer.day
    ]
    return valid, notes


def _commitment(candidates: Iterable[Offer]) -> tuple[float, float, str]:
    """One- and three-year shares of the on-demand price, by the first offer that prints both."""
    for offer in candidates:
        if offer.one_year_usd and offer.three_year_usd:
            one = offer.one_year_usd / offer.on_demand_usd
            three = offer.three_year_usd / offer.on_demand_usd
            return one, three, _cite(offer)
    median = median_discounts()
    return (
        1 - median.one_year,
        1 - median.three_year,
        f"median discount of {median.n_offers} archived offers of other chips",
    )


def _cite(offer: Offer) -> str:
    place = f" {offer.location}" if offer.location else ""
    return f"{offer.vendor}{place}, {offer.day}"
