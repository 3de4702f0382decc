"""What a run costs: the price of an equal machine in the cloud, and an estimate of its energy.

Prices and watts come from `catalog/machines.csv`, each with its source and date; the project file
may replace both. List prices and low offers of one chip differ up to fourfold, so the band of the
cost is [low, list]. Energy is watts × PUE × hours with the power at full load (as Patterson et
al. 2021 and Touvron et al. 2023 count it): an estimate, not a meter.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from groundup.plan.config import PlanConfig
from groundup.plan.local.machine import Machine

CATALOG = Path(__file__).parents[1] / "catalog" / "machines.csv"


@dataclass(frozen=True)
class Rate:
    """What one hour of a machine costs and draws; None where nobody has said."""

    usd_per_hour: float | None
    low_usd_per_hour: float | None
    watts: float | None
    source: str

    def cost_usd(self, seconds: float) -> float | None:
        """US dollars at the list price."""
        return None if self.usd_per_hour is None else self.usd_per_hour * seconds / 3600

    def low_cost_usd(self, seconds: float) -> float | None:
        """US dollars at the lowest offer known."""
        return None if self.low_usd_per_hour is None else self.low_usd_per_hour * seconds / 3600

    def energy_kwh(self, seconds: float, power_usage_effectiveness: float) -> float | None:
        """Kilowatt-hours, the building's share included."""
        if self.watts is None:
            return None
        return self.watts * power_usage_effectiveness * seconds / 3600 / 1000


def machine_rate(machine: Machine, config: PlanConfig) -> Rate:
    """The rate of ``machine``: what the project file says, else an equal machine of the catalog.

    A CPU is priced by the thread (a cloud's vCPU), a GPU by its name. An unknown GPU has no price:
    we never guess one.
    """
    row = catalog_row(machine)
    units = machine.n_threads if machine.device == "cpu" else 1

    def scaled(column: str) -> float | None:
        return float(row[column]) * units if row.get(column) else None

    usd, low, watts = scaled("usd_per_hour"), scaled("low_usd_per_hour"), scaled("watts")
    sources = []
    if config.price_per_hour is not None:
        usd = low = config.price_per_hour
        sources.append("price: plan.price_per_hour")
    elif usd is None:
        sources.append(
            f"price: none known for {machine.device_name}; set plan.price_per_hour to have one"
        )
    else:
        per = f"{units} × {row['unit']} of {row['name']}"
        sources.append(f"price: {per}, {row['price_source']}, {row['price_date']}")
    if config.watts is not None:
        watts = config.watts
        sources.append("watts: plan.watts")
    elif watts is None:
        sources.append(f"watts: none known for {machine.device_name}; set plan.watts")
    else:
        sources.append(f"watts: {row['watts_source']}")
    return Rate(usd, low, watts, "; ".join(sources))


def catalog_row(machine: Machine) -> dict[str, str]:
    """The first row all of whose ``match`` words are in the device's name; {} if there is none.

    A slice of a GPU (MIG) is not that GPU and has no row.
    """
    name = machine.device_name.upper() if machine.device == "cuda" else "CPU"
    words = set(re.split(r"[^A-Z0-9]+", name))
    with CATALOG.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if "MIG" not in words and words.issuperset(row["match"].split()):
                return row
    return {}
