"""Energy and CO2e of chip-hours: chip-hours × watts × PUE × kg per kWh.

The convention of every published footprint (Patterson et al. arXiv:2104.10350, the LLaMA papers,
Luccioni et al. arXiv:2211.02001): watts are the chip's rated or measured power, PUE (power usage
effectiveness) the building's overhead, and the intensity that of the local grid. The grid decides:
BLOOM's run is 25 t in France and 183 t at the US average. Regions: `catalog/grid_intensity.csv`.
What making the machines emitted is a share of its own, and optional.
"""

from __future__ import annotations

import difflib
import re
import statistics
from dataclasses import dataclass

from groundup.errors import InputError
from groundup.plan.catalogs import Row, read_catalog
from groundup.plan.limits import require_chip_hours, require_up_to

PUE = 1.1  # the large clouds: Patterson et al. table 4; the LLaMA papers assume it
# Making the machines, kg CO2e per chip-hour at work: BLOOM's 11.2 t over 1,082,990 A100-hours
# (Luccioni et al. arXiv:2211.02001; the tons from memory).
EMBODIED_KG_PER_CHIP_HOUR = 11_200 / 1_082_990
MOST_WATTS = 1e5  # of one chip; a wafer takes 23 kW
PUBLISHED = "published/"  # averages that papers used: no place to rent


@dataclass(frozen=True)
class Footprint:
    """Energy at the meter and the CO2e of making it."""

    energy_kwh: float
    co2e_kg: float
    embodied_kg: float = 0.0  # of making the machines

    @property
    def total_kg(self) -> float:
        """Operation and, where asked for, the machines."""
        return self.co2e_kg + self.embodied_kg


@dataclass(frozen=True)
class Region:
    """A place with the intensity of its grid, kg CO2e per kWh."""

    id: str
    country: str
    place: str
    kg_per_kwh: float
    year: str
    source: str


@dataclass(frozen=True)
class Run:
    """A published footprint and what it was computed from."""

    id: str
    name: str
    chip: str
    chip_hours: float
    watts: float
    pue: float
    kg_per_kwh: float
    published_mwh: float | None
    published_tons: float
    source: str
    note: str
    verification: str


@dataclass(frozen=True)
class Spread:
    """The same energy in the best, the median and the worst region."""

    best: Region
    median: Region
    worst: Region


def footprint(
    chip_hours: float,
    watts: float,
    pue: float,
    kg_per_kwh: float,
    embodied_kg_per_chip_hour: float = 0.0,
) -> Footprint:
    """Energy and CO2e.

    Args:
        chip_hours: chips × hours.
        watts: of one chip, at work.
        pue: of the building, at least 1.
        kg_per_kwh: of the grid; 0 is a grid without emissions.
        embodied_kg_per_chip_hour: of making the machines, for example
            `EMBODIED_KG_PER_CHIP_HOUR`.

    Raises:
        InputError: a number out of range.
    """
    require_chip_hours(chip_hours)
    require_up_to(watts, "watts", MOST_WATTS)
    if not 1 <= pue <= 5:
        raise InputError(
            f"PUE is {pue:g}, but a building takes at least what its machines take (1 to 5)",
            where="pue",
        )
    if not 0 <= kg_per_kwh <= 3:  # the dirtiest grids emit about 1 kg
        raise InputError(
            f"the intensity is {kg_per_kwh:g} kg per kWh, but grids emit between 0 and 1.2",
            where="kg-per-kwh",
            fix="give kilograms: 385 g are 0.385",
        )
    if not 0 <= embodied_kg_per_chip_hour < 10:
        raise InputError(
            f"{embodied_kg_per_chip_hour:g} kg for making a chip-hour is out of range (0 to 10)",
            where="embodied",
        )
    energy_kwh = chip_hours * watts / 1000 * pue
    return Footprint(energy_kwh, energy_kwh * kg_per_kwh, chip_hours * embodied_kg_per_chip_hour)


def regions() -> list[Region]:
    """Every region of the catalog, cleanest first.

    Raises:
        InputError: a row that cannot be read.
    """
    found = [_region(row) for row in read_catalog("grid_intensity", "region")]
    return sorted(found, key=lambda region: (region.kg_per_kwh, region.id))


def find_region(name: str) -> Region:
    """The region of that id, ``gcp/us-central1`` or ``us-central1``, or of that country or city.

    Raises:
        InputError: no such region, or several; the nearest are named.
    """
    known = regions()
    wanted = _plain(name)
    for match in (
        [one for one in known if wanted in (_plain(one.id), _plain(one.id.partition("/")[2]))],
        [one for one in known if wanted in map(_plain, (one.country, *one.place.split(",")))],
    ):
        places = [one for one in match if not one.id.startswith(PUBLISHED)] or match
        if len({one.kg_per_kwh for one in places}) == 1:
            return places[0]
        if places:
            raise InputError(
                f"{name!r} stands for {len(places)} regions",
                where="region",
                fix="choose one of " + ", ".join(one.id for one in places),
            )
    raise InputError(
        f"there is no region {name!r} in the catalog",
        where="region",
        fix=f"the nearest are {', '.join(_nearest(wanted, known))}; or give --kg-per-kwh",
    )


def spread(known: list[Region] | None = None) -> Spread:
    """The cleanest, the median and the dirtiest region where machines can be rented.

    Raises:
        InputError: there is none.
    """
    places = [one for one in known or regions() if not one.id.startswith(PUBLISHED)]
    if not places:
        raise InputError("the catalog of grid intensities has no region", where="grid_intensity")
    places.sort(key=lambda region: (region.kg_per_kwh, region.id))
    middle = statistics.median_low([region.kg_per_kwh for region in places])
    median = next(region for region in places if region.kg_per_kwh == middle)
    return Spread(places[0], median, places[-1])


def published_runs() -> list[Run]:
    """The published footprints of the catalog.

    Raises:
        InputError: a row that cannot be read.
    """
    return [
        Run(
            row.text("run"),
            row.text("name"),
            row.text("chip"),
            row.needed("chip_hours"),
            row.needed("watts"),
            row.needed("pue"),
            row.needed("kg_per_kwh"),
            row.number("published_mwh"),
            row.needed("published_tons"),
            row.text("source"),
            row.text("note"),
            row.text("verification"),
        )
        for row in read_catalog("carbon_runs", "run")
    ]


def _region(row: Row) -> Region:
    grams = row.needed("g_per_kwh")
    if grams < 0:
        raise InputError(f"g_per_kwh is {grams:g}, below zero", where=row.where)
    return Region(
        row.text("region"),
        row.text("country"),
        row.text("place"),
        grams / 1000,
        row.text("year"),
        row.text("source"),
    )


def _nearest(wanted: str, known: list[Region]) -> list[str]:
    """Ids whose id, country or place looks like the name."""
    names: dict[str, str] = {}
    for one in known:
        for name in (one.id, one.id.partition("/")[2], one.country, *one.place.split(",")):
            names.setdefault(_plain(name), one.id)
    close = difflib.get_close_matches(wanted, names, n=4, cutoff=0.4)
    return list(dict.fromkeys(names[name] for name in close)) or [one.id for one in known[:4]]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9/]", "", name.casefold())
