"""What a chip-hour cost on a day: archived offers of cloud vendors, and the catalog's own price.

The same chip is rented at prices four times apart, so a price is always a pair: the list price
(what the large clouds ask, the highest of them) and the low one (the lowest of anybody), both on
demand. Committing for one or three years buys a discount; where no vendor printed one for a chip,
the median over all archived offers is taken (`median_discounts`: 36 % and 55 %). Rows:
`catalog/chip_prices.csv`; the price columns of `hardware.csv` repeat their newest prices.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from groundup.errors import InputError
from groundup.plan.catalogs import SHIPPED, read_catalog, read_rows
from groundup.plan.hardware import Chip, Match, find_chip, match_chip, shipped_chips

IN_FORCE_DAYS = (
    365  # an archived page is taken to hold for a year: vendors change prices less often
)
LARGE_CLOUDS = ("Amazon Web Services", "Google Cloud", "Microsoft Azure", "Oracle Cloud")


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
    usd_list: float
    usd_low: float
    one_year_share: float  # of the on-demand price
    three_year_share: float
    list_source: str
    low_source: str
    commitment_source: str
    day: date | None  # when the list price was seen
    notes: tuple[str, ...] = ()
    offers: tuple[Offer, ...] = ()  # in force on the day, oldest first

    def share(self, scheme: str) -> float:
        """The part of the on-demand price that a scheme (on-demand, 1y, 3y) costs."""
        return {"on-demand": 1.0, "1y": self.one_year_share, "3y": self.three_year_share}[scheme]


@dataclass(frozen=True)
class Discounts:
    """Median discounts for committing, over the archived offers that print them."""

    one_year: float
    three_year: float
    n_offers: int


def offers(
    chip: str | None = None, vendor: str | None = None, location: str | None = None
) -> list[Offer]:
    """The archived offers, oldest first.

    Args:
        chip: only of this chip: its id, or its name in the archive.
        vendor: only of vendors whose name holds this.
        location: only of places whose name holds this.

    Raises:
        InputError: a row of the catalog that cannot be read.
    """
    found = []
    for row in read_catalog("chip_prices", "offer"):
        if chip is not None and chip.casefold() not in (
            row.text("chip").casefold(),
            row.text("name").casefold(),
        ):
            continue
        if vendor is not None and vendor.casefold() not in row.text("vendor").casefold():
            continue
        if location is not None and location.casefold() not in row.text("location").casefold():
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


def price_on(
    chip: str | Chip,
    day: date | None = None,
    vendor: str | None = None,
    location: str | None = None,
) -> Price:
    """List and low price in force on ``day``.

    A vendor's newest page, at most a year old, replaces its older ones. The list price is the
    highest of the large clouds; where none of them is in force, their nearest offer within a year,
    or else the highest of the others. Where no offer is in force, the newest before the day stands
    in. A note says each of these.

    Args:
        chip: an id, name or `Chip`, or its name in the archive.
        day: when; None: the newest price known, as `catalog_price`.
        vendor: only vendors whose name holds this; list is then their highest.
        location: only places whose name holds this.

    Raises:
        InputError: an unknown chip, vendor or location, a chip without any price, or a day over a
            year before the first one; what there is is named.
    """
    key = _archive_key(chip)
    all_offers = offers(key)
    if not all_offers or (day is None and vendor is None and location is None):
        known = catalog_price(chip)
        if known is None:
            raise InputError(
                f"no price of {key} is known, neither archived nor of today",
                where="price-on",
                fix="put usd_per_hour into hardware.csv in the folder of GROUNDUP_CATALOG, or "
                "choose one of " + ", ".join(priced_chips()),
            )
        if day is None:
            return known
        note = f"no offer of {key} is archived: the price of the hardware catalog stands in"
        return dataclasses.replace(known, notes=(*known.notes, note))
    chosen = offers(key, vendor, location)
    if not chosen:
        of_vendor = offers(key, vendor)
        if of_vendor:
            places = sorted({offer.location or "(not said)" for offer in of_vendor})
            raise InputError(
                f"no archived price of {key} in {location!r} is known",
                where="location",
                fix=f"its locations are {'; '.join(places)}",
            )
        vendors = sorted({offer.vendor for offer in all_offers})
        raise InputError(
            f"no archived price of {key} by {vendor!r} is known",
            where="vendor",
            fix=f"its vendors are {', '.join(vendors)}",
        )
    return _price(chosen, day or chosen[-1].day, any_vendor=vendor is None)


def catalog_price(chip: str | Chip) -> Price | None:
    """The newest price known: the user's own in hardware.csv, else the newest archived offers.

    The columns of the hardware catalog are taken where no offer is archived. None: not known.

    Raises:
        InputError: an unknown chip.
    """
    own = find_chip(priced_chip(chip)) if isinstance(chip, str) else chip
    known = offers(_archive_key(chip))
    if known and not _users_own(own):
        return _price(known, known[-1].day)
    if not own.usd_per_hour:
        return None
    one, three, source = _commitment(reversed(known))
    low = own.low_usd_per_hour
    notes = () if low else (f"no lower price of {own.id} is known: the low end is the list price",)
    return Price(
        chip=own.id,
        usd_list=own.usd_per_hour,
        usd_low=min(low or own.usd_per_hour, own.usd_per_hour),
        one_year_share=one,
        three_year_share=three,
        list_source=own.price_source,
        low_source="the low price of the hardware catalog" if low else own.price_source,
        commitment_source=source,
        day=own.price_date,
        notes=notes,
    )


def age_warning(price: Price, today: date) -> str | None:
    """A warning where the list price was seen over a year before ``today``."""
    if price.day is None:
        return f"the price of {price.chip} has no date: look it up before you rely on it"
    age = (today - price.day).days
    if age <= IN_FORCE_DAYS:
        return None
    return (
        f"the price of {price.chip}, ${price.usd_list:g} an hour ({price.list_source}), was last "
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
    """The id under which the archive keeps a chip's offers; its names there are taken too.

    Raises:
        InputError: no such chip; the nearest are named.
    """
    if not isinstance(chip, str):
        return chip.id
    return _archived_names().get(chip.casefold()) or find_chip(chip).id


def match_priced(name: str) -> Match:
    """As `hardware.match_chip`, for the archive's names too (``NVIDIA Tesla V100 DGXS 16 GB``).

    Raises:
        InputError: no such chip; the nearest are named.
    """
    id_ = _archived_names().get(name.casefold())
    if id_ is None or id_.casefold() == name.casefold():
        return match_chip(name)
    note = f"prices are those archived of {name}; everything else is that of {id_}"
    several = len({offer.name for offer in offers(id_)}) > 1
    return Match(find_chip(id_), note if several else None)


def priced_chips() -> list[str]:
    """The chips that have archived offers."""
    return sorted({offer.chip for offer in offers()})


def _archived_names() -> dict[str, str]:
    """What the archive calls its chips, and their ids, in lower case → id."""
    return {name.casefold(): one.chip for one in offers() for name in (one.name, one.chip) if name}


def _archive_key(chip: str | Chip) -> str:
    """What to ask the archive for: its own name where that was given, else the chip's id."""
    if isinstance(chip, str) and chip.casefold() in _archived_names():
        return chip
    return priced_chip(chip)


def _users_own(chip: Chip) -> bool:
    """Whether the price columns are not those that we ship."""
    shipped = shipped_chips().get(chip.id)
    if shipped is None:
        return bool(chip.usd_per_hour)
    columns = ("usd_per_hour", "low_usd_per_hour", "price_source", "price_date")
    return any(getattr(chip, name) != getattr(shipped, name) for name in columns)


def _price(known: Sequence[Offer], day: date, any_vendor: bool = True) -> Price:
    """The price that these offers, oldest first, make on a day."""
    valid, anchor, notes = _in_force(known, day)
    top = _highest(valid)
    if any_vendor:
        top, said = _of_large_clouds(valid, known, anchor)
        notes += said
    low = min([*valid, top], key=lambda offer: offer.on_demand_usd)
    one, three, source = _commitment([top, *reversed(valid)])
    return Price(
        chip=top.chip,
        usd_list=top.on_demand_usd,
        usd_low=low.on_demand_usd,
        one_year_share=one,
        three_year_share=three,
        list_source=_cite(top),
        low_source=_cite(low),
        commitment_source=source,
        day=top.day,
        notes=tuple(notes),
        offers=tuple(valid),
    )


def _in_force(known: Sequence[Offer], day: date) -> tuple[list[Offer], date, list[str]]:
    """The offers that hold on ``day``, or on the nearest day that has any, and that day.

    A page names all prices of its vendor, so a newer one replaces it even where it names other
    places: Google's A100 fell from 3.67 (place not said) to 2.93 (Iowa) between two pages.
    """
    chip, first = known[0].chip, known[0].day
    before = [offer.day for offer in known if offer.day <= day]
    anchor, notes = day, []
    if (first - day).days > IN_FORCE_DAYS:
        raise InputError(
            f"{day} is over a year before the first archived price of {chip} ({first})",
            where="date",
            fix=f"ask for {first} or later",
        )
    if not before:
        anchor = first
        notes.append(f"no offer of {chip} is archived before {first}: its first price stands in")
    elif (day - max(before)).days > IN_FORCE_DAYS:
        anchor = max(before)
        notes.append(
            f"the newest archived offer of {chip} before {day} is of {anchor}: it stands in"
        )
    recent = [offer for offer in known if 0 <= (anchor - offer.day).days <= IN_FORCE_DAYS]
    newest = {(offer.vendor, offer.name): offer.day for offer in recent}  # the last one stays
    return [one for one in recent if newest[one.vendor, one.name] == one.day], anchor, notes


def _of_large_clouds(
    valid: Sequence[Offer], known: Sequence[Offer], day: date
) -> tuple[Offer, list[str]]:
    """The offer that is the list price, and a note where it is not a large cloud's of the day."""
    large = [offer for offer in valid if offer.vendor in LARGE_CLOUDS]
    if large:
        return _highest(large), []
    chip = known[0].chip
    ever = [offer for offer in known if offer.vendor in LARGE_CLOUDS]
    if not ever:
        why = f"no large cloud is among the archived offers of {chip}"
        return _highest(valid), [f"{why}: the list price is the highest of the others"]
    distance = min(abs((offer.day - day).days) for offer in ever)
    near = _highest([one for one in ever if abs((one.day - day).days) == distance])
    why = f"no large cloud's offer of {chip} is in force on {day}"
    if distance <= IN_FORCE_DAYS:
        return near, [f"{why}: the list price is the nearest, {_cite(near)}"]
    seen = f"the nearest is ${near.on_demand_usd:g} ({_cite(near)})"
    return _highest(valid), [f"{why} ({seen}): the list price is the highest of the others"]


def _highest(some: Sequence[Offer]) -> Offer:
    """The dearest offer; of equal ones that which prints what committing costs."""
    return max(some, key=lambda offer: (offer.on_demand_usd, offer.one_year_usd is not None))


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
