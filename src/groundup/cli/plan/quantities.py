"""What planning commands share: days, chip-hours, prices in JSON, and their notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from groundup.cli.options import COUNT

if TYPE_CHECKING:
    from groundup.plan.prices import Price
    from groundup.tables import Table


class Day(click.ParamType):  # type: ignore[type-arg]
    """A day: ``2025-03-17``, or a month for its first day."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it, or say how it is written."""
        from datetime import date

        if isinstance(value, date):
            return value
        parts = value.split("-")
        try:
            if len(parts) not in (2, 3) or len(parts[0]) != 4:
                raise ValueError
            return date(int(parts[0]), int(parts[1]), int(parts[2]) if len(parts) > 2 else 1)
        except ValueError:
            self.fail(f"{value!r} is no date; write it like 2025-03-17 or 2025-03", param, ctx)


DAY = Day()

hours_options = (
    click.option("--gpu", "chip_name", required=True, metavar="CHIP", help="The chip."),
    click.option("--chip-hours", type=COUNT, help="Chips × hours; or --n and --days."),
    click.option("--n", type=COUNT, help="Chips."),
    click.option("--days", type=float, help="Days that they work."),
)


def chip_hours_options(function: Any) -> Any:
    """``--gpu CHIP --chip-hours H | --n N --days D``."""
    for option in reversed(hours_options):
        function = option(function)
    return function


def read_chip_hours(chip_hours: float | None, n: float | None, days: float | None) -> float:
    """Chip-hours as given, or chips × days × 24.

    Raises:
        InputError: neither, both, or a number that is not positive, or absurd.
    """
    from groundup.errors import InputError
    from groundup.plan.limits import require_chip_hours, require_chips, require_positive

    if chip_hours is not None and n is None and days is None:
        return require_chip_hours(chip_hours)
    if chip_hours is None and n is not None and days is not None:
        chips = require_chips(n, "n")  # type: ignore[arg-type]
        return require_chip_hours(chips * require_positive(days, "days") * 24)
    said = "said twice" if chip_hours is not None else "not said"
    raise InputError(
        f"the chip-hours are {said}",
        where="chip-hours",
        fix="give --chip-hours, or --n and --days",
    )


def notes_table(notes: Sequence[str], warnings: Sequence[str] = ()) -> Table:
    """What to know before believing a result; warnings first."""
    from groundup.tables import Table

    rows = [[f"warning: {warning}"] for warning in warnings] + [[note] for note in notes]
    return Table("Notes", ["note"], rows)


def price_json(price: Price | None) -> dict[str, Any] | None:
    """A price with its date and the offers behind it; its notes stand with those of the command."""
    from dataclasses import asdict

    if price is None:
        return None
    said = asdict(price)
    said["date"] = price.day.isoformat() if price.day else None
    for offer in said["offers"]:
        offer["date"] = offer.pop("day").isoformat()
    del said["day"], said["notes"]
    return said
