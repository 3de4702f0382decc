"""``groundup plan cost``: chip-hours in money, rented, committed or owned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from groundup.cli.options import MONEY, SHARE, json_option
from groundup.cli.plan.quantities import (
    DAY,
    chip_hours_options,
    notes_table,
    price_json,
    read_chip_hours,
)

if TYPE_CHECKING:
    from groundup.plan.cost import Cost, Line
    from groundup.tables import Table


@click.command()
@chip_hours_options
@click.option(
    "--scheme",
    type=click.Choice(["on-demand", "1y", "3y", "owned"]),
    help="One scheme only (default: all, side by side).",
)
@click.option("--usd-per-hour", type=MONEY, help="Your own price of a chip-hour.")
@click.option("--discount", type=SHARE, default=0.0, help="Negotiated, for example 30%.")
@click.option("--date", "day", type=DAY, help="At the archived prices of this day.")
@click.option("--vendor", help="Archived prices of this vendor only.")
@click.option("--location", help="Archived prices of this place only, for example Iowa.")
@click.option("--budget", type=MONEY, help="Say what this much would buy.")
@click.option("--storage-tb", type=float, help="Corpus and checkpoints kept, TB …")
@click.option("--months", type=float, help="… for so many months.")
@click.option("--egress-tb", type=float, help="Carried out of the cloud, TB.")
@click.option("--people-months", type=float, help="Person-months …")
@click.option("--salary", type=MONEY, help="… at so much a year, with everything.")
@click.option("--buy-usd", type=MONEY, help="Owned: price of one chip.")
@click.option("--years", type=float, help="Owned: life of the machine (default: 5).")
@click.option("--residual", type=SHARE, help="Owned: share that selling brings back (default: 0).")
@click.option("--utilisation", type=SHARE, help="Owned: share of hours at work (default: 70%).")
@click.option("--usd-per-kwh", type=MONEY, help="Owned: price of power (default: 0.0806).")
@click.option("--pue", type=float, help="Owned: overhead of the building (default: 1.25).")
@json_option
def cost(
    chip_name: str,
    chip_hours: float | None,
    n: float | None,
    days: float | None,
    scheme: str | None,
    usd_per_hour: float | None,
    discount: float,
    day: Any,
    vendor: str | None,
    location: str | None,
    budget: float | None,
    as_json: bool,
    **more: Any,
) -> None:
    """Money of chip-hours: by the hour, committed for one or three years, or owned.

    Without --scheme all four stand side by side. Each total has a low end (the lowest price known,
    or machines that are always busy) and a high end.
    """
    from dataclasses import asdict
    from datetime import date

    from groundup.errors import InputError
    from groundup.plan import cost as money
    from groundup.plan.prices import age_warning, catalog_price, match_priced, price_on
    from groundup.tables import print_json, print_tables

    hours = read_chip_hours(chip_hours, n, days)
    match = match_priced(chip_name)
    chip = match.chip
    archived = any(one is not None for one in (day, vendor, location))
    price = price_on(chip_name, day, vendor, location) if archived else catalog_price(chip_name)
    extras = _extras(more)
    given = {
        "buy_usd": more["buy_usd"],
        "years": more["years"],
        "residual": more["residual"],
        "utilisation": more["utilisation"],
        "usd_per_kwh": more["usd_per_kwh"],
        "pue": more["pue"],
    }
    owning = {name: value for name, value in given.items() if value is not None}
    if owning and scheme not in (None, "owned"):
        raise InputError(
            f"--{next(iter(owning)).replace('_', '-')} is of owned machines, not of {scheme}",
            where="scheme",
            fix="leave it out, or --scheme owned",
        )
    how = money.Ownership(**owning) if owning else None
    missing: list[str] = []
    if scheme is None:
        costs, missing = money.compare(
            chip,
            hours,
            price=price,
            usd_per_hour=usd_per_hour,
            discount=discount,
            ownership=how,
            extras=extras,
        )
    elif scheme == "owned":
        if usd_per_hour is not None or discount:
            raise InputError(
                "what is owned has no hourly price and no discount on it",
                where="scheme",
                fix="give --buy-usd, or choose another scheme",
            )
        costs = [money.owned(chip, hours, ownership=how, extras=extras)]
    else:
        costs = [
            money.rental(
                chip,
                hours,
                scheme=scheme,
                price=price,
                usd_per_hour=usd_per_hour,
                discount=discount,
                extras=extras,
            )
        ]
    notes = [match.note] if match.note else []
    notes += [*dict.fromkeys(note for one in costs for note in one.notes), *missing]
    warnings = []
    if price is not None and usd_per_hour is None and scheme != "owned":
        warning = age_warning(price, day or date.today())
        warnings = [warning] if warning else []
    bought = None
    if budget is not None:
        rate = money.rate_for_budget(budget, hours)
        buys = {one.scheme: one.chip_hours_for(budget) for one in costs}
        bought = {"usd": budget, "usd_per_chip_hour": rate, "chip_hours": buys}
        notes.append(
            f"${budget:,.0f} pays for {hours:,.0f} chip-hours at ${rate:.4g} an hour; it buys "
            + ", ".join(f"{buys[scheme]:,.0f} {scheme}" for scheme in buys)
        )
    if as_json:
        print_json(
            {
                "chip": chip.id,
                "chip_hours": hours,
                "schemes": [
                    {
                        **asdict(one),
                        "total_usd": one.total_usd,
                        "usd_low": one.usd_low,
                        "usd_high": one.usd_high,
                    }
                    for one in costs
                ],
                "price": price_json(price),
                "budget": bought,
                "notes": notes,
                "warnings": warnings,
            }
        )
        return
    print_tables([*_cost_tables(costs, chip.id, hours), notes_table(notes, warnings)])


def _extras(more: dict[str, Any]) -> tuple[Line, ...]:
    """Storage, egress and people, as far as they were given."""
    from groundup.errors import InputError
    from groundup.plan.cost import egress, people, storage

    lines = []
    for first, second, make in (
        ("storage_tb", "months", storage),
        ("people_months", "salary", people),
    ):
        one, other = more[first], more[second]
        if (one is None) != (other is None):
            missing, there = (second, first) if other is None else (first, second)
            raise InputError(
                f"--{there.replace('_', '-')} needs --{missing.replace('_', '-')}",
                where=there.replace("_", "-"),
            )
        if one is not None:
            lines.append(make(one, other))
    if more["egress_tb"] is not None:
        lines.append(egress(more["egress_tb"]))
    return tuple(lines)


def _cost_tables(costs: Sequence[Cost], chip: str, hours: float) -> list[Table]:
    from groundup.tables import Table
    from groundup.units import format_money

    total = Table(
        f"{hours:,.0f} chip-hours of {chip}",
        ["scheme", "a chip-hour", "total", "low", "high"],
        [
            [
                one.scheme,
                f"${one.usd_per_chip_hour:.4g}",
                format_money(one.total_usd),
                format_money(one.usd_low),
                format_money(one.usd_high),
            ]
            for one in costs
        ],
    )
    shared = [line for line in costs[0].lines if all(line in one.lines for one in costs[1:])]
    shared = shared if len(costs) > 1 else []
    lines = Table(
        "What it is made of",
        ["scheme", "item", "US dollars", "how"],
        [
            [one.scheme, line.name, format_money(line.usd), line.note]
            for one in costs
            for line in one.lines
            if line not in shared
        ]
        + [["each", line.name, format_money(line.usd), line.note] for line in shared],
    )
    return [total, lines]
