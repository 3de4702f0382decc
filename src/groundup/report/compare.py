"""Prediction beside measurement: the same keys, one row each, and how far off.

The error is relative to what was measured, (predicted − measured) / measured: a plan that said four
minutes for a run of five was 20 % too low. It is judged by the plan's own band
for losses, else by the tolerance the quantity can be held to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from groundup.plan.local.ranks import said_of
from groundup.plan.local.report import QUANTITIES
from groundup.tables import Table

UNITS = {
    "duration_seconds": "s",
    "tokens_per_second": "tokens/s",
    "peak_memory_bytes": "bytes",
    "loss": "nats/token",
    "bits_per_byte": "bits/byte",
    "cost_usd": "US$",
    "energy_kwh": "kWh",
}
# Percent that count as good; twice as much is fair. Of a time measured on a shared machine 15, of
# memory 10, of a loss 5 (two seeds differ by one or two).
TOLERANCE = {
    "duration_seconds": 15,
    "tokens_per_second": 15,
    "peak_memory_bytes": 10,
    "loss": 5,
    "bits_per_byte": 5,
    "cost_usd": 15,
    "energy_kwh": 15,
}
# Nobody sent a bill or read a meter: these are computed from the measured duration.
FROM_DURATION = ("cost_usd", "energy_kwh")


@dataclass(frozen=True)
class Comparison:
    """One quantity; ``predicted``, ``band`` and ``measured`` in ``unit``, each None if unknown."""

    quantity: str
    unit: str
    predicted: float | None
    band: tuple[float, float] | None
    measured: float | None
    error_percent: float | None

    @property
    def name(self) -> str:
        """For people; energy is said to be an estimate, and what is the duration in other units."""
        name = QUANTITIES[self.quantity][0]
        return f"{name}, from the duration" if self.quantity in FROM_DURATION else name

    @property
    def in_band(self) -> bool | None:
        """Whether the measurement lies in the predicted band; None where that says nothing.

        The band of money spans offers, cheapest to list price: no statement about the error.
        """
        if self.band is None or self.measured is None or self.quantity == "cost_usd":
            return None
        return self.band[0] <= self.measured <= self.band[1]

    @property
    def grade(self) -> Literal["good", "fair", "poor", "none"]:
        """How well it was predicted, for the colour of the row."""
        if self.error_percent is None:
            return "none"
        tolerance = TOLERANCE[self.quantity]
        if self.in_band or (self.in_band is None and abs(self.error_percent) <= tolerance):
            return "good"
        return "fair" if abs(self.error_percent) <= 2 * tolerance else "poor"

    @property
    def words(self) -> str:
        """The error in words: ``4.2 % too low, inside the band``."""
        if self.measured is None:
            return "not measured"
        if self.predicted is None:
            return "not predicted"
        if self.error_percent is None:
            return "measured as zero"
        size = f"{abs(self.error_percent):.1f} %"
        side = "too high" if self.error_percent > 0 else "too low"
        error = "exact" if size == "0.0 %" else f"{size} {side}"
        if self.in_band is None:
            return error
        return f"{error}, {'inside' if self.in_band else 'outside'} the band"

    def show(self, value: float | None) -> str:
        """A value of this quantity, for people."""
        return "–" if value is None else QUANTITIES[self.quantity][1](value)

    def show_band(self) -> str:
        """The band, for people; empty where there is none."""
        return f"{self.show(self.band[0])} – {self.show(self.band[1])}" if self.band else ""


def compare(
    predicted: Mapping[str, float | None],
    measured: Mapping[str, float | None],
    band: Mapping[str, Sequence[float]],
) -> list[Comparison]:
    """One row for every quantity that was predicted or measured, in the order of `UNITS`.

    Args:
        predicted: by the keys of `UNITS`; other keys are left alone.
        measured: by the same keys.
        band: the low and the high end of some predictions.
    """
    rows = []
    for quantity, unit in UNITS.items():
        said, found = predicted.get(quantity), measured.get(quantity)
        if said is None and found is None:
            continue
        ends = band.get(quantity)
        rows.append(
            Comparison(
                quantity,
                unit,
                said,
                (float(ends[0]), float(ends[1])) if ends else None,
                found,
                100 * (said - found) / found if said is not None and found else None,
            )
        )
    return rows


def said_of_run(predicted: Mapping[str, Any], run: Path) -> str | None:
    """What to know of a run's prediction and measurement before they are compared."""
    said = [said_of(predicted)]
    if (run / "profile" / "summary.txt").is_file():
        said.append("Steps were profiled: time, cost, energy and memory contain the profiler's.")
    return " ".join(filter(None, said)) or None


def compare_tables(rows: Sequence[Comparison]) -> list[Table]:
    """The comparison for the terminal."""
    cells = [
        [row.name, row.show(row.predicted), row.show_band(), row.show(row.measured), row.words]
        for row in rows
    ]
    columns = ["quantity", "predicted", "band", "measured", "the prediction was"]
    return [Table("Prediction and measurement", columns, cells)]


def as_json(rows: Sequence[Comparison]) -> list[dict[str, Any]]:
    """The rows as plain values, with the verdict."""
    return [{**asdict(row), "grade": row.grade, "words": row.words} for row in rows]
