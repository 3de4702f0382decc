"""``groundup plan carbon``: energy and CO2e of chip-hours by region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from groundup.cli.options import json_option
from groundup.cli.plan.quantities import chip_hours_options, notes_table, read_chip_hours

if TYPE_CHECKING:
    from groundup.plan.carbon import Footprint, Region
    from groundup.tables import Table


@click.command()
@chip_hours_options
@click.option("--watts", type=float, help="Power of one chip (default: its rating).")
@click.option("--pue", type=float, help="Overhead of the building (default: 1.1).")
@click.option("--region", help="Where: gcp/us-central1, a city or a country.")
@click.option("--kg-per-kwh", type=float, help="CO2e of the grid, instead of a region.")
@click.option("--embodied", is_flag=True, help="Add the making of the machines.")
@json_option
def carbon(
    chip_name: str,
    chip_hours: float | None,
    n: float | None,
    days: float | None,
    watts: float | None,
    pue: float | None,
    region: str | None,
    kg_per_kwh: float | None,
    embodied: bool,
    as_json: bool,
) -> None:
    """Energy and CO2e of chip-hours, by region.

    chip-hours × watts × PUE × kg per kWh. Without a region it is given for the cleanest, the median
    and the dirtiest region: the grid decides.
    """
    from groundup.errors import InputError
    from groundup.plan import carbon as co2
    from groundup.plan.hardware import match_chip
    from groundup.tables import print_json, print_tables

    hours = read_chip_hours(chip_hours, n, days)
    match = match_chip(chip_name)
    chip = match.chip
    if watts is None and not chip.watts:
        raise InputError(f"the power of {chip.id} is not known", where="watts", fix="give --watts")
    if region is not None and kg_per_kwh is not None:
        raise InputError(
            "a region has an intensity of its own",
            where="region",
            fix="give --region or --kg-per-kwh",
        )
    power = watts if watts is not None else chip.watts or 0.0
    overhead = pue if pue is not None else co2.PUE
    making = co2.EMBODIED_KG_PER_CHIP_HOUR if embodied else 0.0
    known = co2.spread()
    places = {
        "cleanest region": known.best,
        "median region": known.median,
        "dirtiest region": known.worst,
    }
    rows: list[tuple[str, Region | None, float]] = []
    if region is not None:
        chosen = co2.find_region(region)
        rows.append(("chosen", chosen, chosen.kg_per_kwh))
    elif kg_per_kwh is not None:
        rows.append(("given", None, kg_per_kwh))
    rows += [(name, place, place.kg_per_kwh) for name, place in places.items()]
    found = [
        (name, place, kg, co2.footprint(hours, power, overhead, kg, making))
        for name, place, kg in rows
    ]
    notes = [match.note] if match.note else []
    notes += [
        f"{power:g} W a chip"
        + (" (its rating)" if watts is None else "")
        + f" × PUE {overhead:g}: an estimate, as published footprints are; no meter was read",
        "intensities are of the local grid in 2023, before what a vendor buys to offset it",
    ]
    if embodied:
        notes.append(
            f"making the machines: {making * 1000:.1f} g a chip-hour, BLOOM's share "
            "(Luccioni et al. arXiv:2211.02001, from memory)"
        )
    if as_json:
        print_json(_carbon_json(chip.id, hours, power, overhead, found, notes))
        return
    print_tables([_carbon_table(chip.id, hours, found, embodied), notes_table(notes)])


Found = Sequence[tuple[str, "Region | None", float, "Footprint"]]


def _carbon_table(chip: str, hours: float, found: Found, embodied: bool) -> Table:
    from groundup.tables import Table

    columns = ["", "region", "g CO2e a kWh", "MWh", "t CO2e"]
    columns += ["making the machines, t", "together, t"] if embodied else []
    rows = []
    for name, place, kg, one in found:
        where = "" if place is None else f"{place.id} ({place.place}, {place.country})"
        row = [name, where, f"{kg * 1000:,.0f}", f"{one.energy_kwh / 1000:,.4g}"]
        row.append(_tons(one.co2e_kg))
        if embodied:
            row += [_tons(one.embodied_kg), _tons(one.total_kg)]
        rows.append(row)
    return Table(f"{hours:,.0f} chip-hours of {chip}", columns, rows)


def _tons(kg: float) -> str:
    return f"{kg / 1000:,.4g}" if kg < 1e6 else f"{kg / 1000:,.0f}"


def _carbon_json(
    chip: str, hours: float, watts: float, pue: float, found: Found, notes: Sequence[str]
) -> dict[str, Any]:
    def one(name: str, place: Region | None, kg: float, print_: Footprint) -> dict[str, Any]:
        return {
            "which": name,
            "region": None if place is None else place.id,
            "country": None if place is None else place.country,
            "kg_per_kwh": kg,
            "energy_kwh": print_.energy_kwh,
            "co2e_kg": print_.co2e_kg,
            "embodied_kg": print_.embodied_kg,
            "source": None if place is None else place.source,
        }

    rows = [one(*row) for row in found]
    asked = next((row for row in rows if row["which"] in ("chosen", "given")), None)
    return {
        "chip": chip,
        "chip_hours": hours,
        "watts": watts,
        "pue": pue,
        "energy_kwh": rows[0]["energy_kwh"],
        "co2e_kg": asked["co2e_kg"] if asked else None,
        "embodied_kg": rows[0]["embodied_kg"],
        "regions": rows,
        "notes": list(notes),
    }
