from __future__ import annotations

import csv

import pytest

from groundup.plan.config import PlanConfig
from groundup.plan.local.rate import CATALOG, Rate, machine_rate
from tests.plan.local.machines import machine


def gpu(name: str) -> Rate:
    return machine_rate(machine(device="cuda", device_name=name), PlanConfig())


def test_energy_of_gpt3_as_published() -> None:
    """Patterson et al. 2021, table 4: 3.552 M V100-hours at 330 W and PUE 1.1 are 1,287 MWh."""
    rate = Rate(None, None, 330, "")
    energy = rate.energy_kwh(3_552_000 * 3600, 1.1)
    assert energy == pytest.approx(1_287_000, rel=2e-3)


def test_a_cpu_costs_by_the_thread() -> None:
    two = machine_rate(machine(n_threads=2), PlanConfig())
    # AWS lists 8 vCPU of c5.2xlarge at $0.34 an hour
    assert two.cost_usd(3600) == pytest.approx(0.34 / 4)
    assert two.energy_kwh(3600, 1.0) == pytest.approx(0.007)


@pytest.mark.parametrize(
    ("name", "usd"),
    [
        ("NVIDIA H200", 10.60),
        ("NVIDIA H100 80GB HBM3", 12.29),
        ("NVIDIA H100 PCIe", 2.49),
        ("NVIDIA A100-SXM4-80GB", 5.12),
        ("NVIDIA A100-SXM4-40GB", 4.10),
        ("NVIDIA L40S", 1.19),
        ("NVIDIA L4", 0.43),
        ("NVIDIA GeForce RTX 4090", 0.69),
        ("Tesla V100-SXM2-32GB", 3.06),
    ],
)
def test_a_gpu_is_found_by_the_name_its_driver_gives(name: str, usd: float) -> None:
    assert gpu(name).usd_per_hour == usd


@pytest.mark.parametrize("name", ["NVIDIA GB300", "NVIDIA A100-SXM4-40GB MIG 1g.5gb"])
def test_an_unknown_gpu_has_no_price_and_says_how_to_give_one(name: str) -> None:
    rate = gpu(name)
    assert rate.cost_usd(3600) is None
    assert rate.energy_kwh(3600, 1.1) is None
    assert "set plan.price_per_hour" in rate.source


def test_the_project_file_wins_over_the_catalog() -> None:
    config = PlanConfig.model_validate({"price_per_hour": "$2", "watts": 100})
    rate = machine_rate(machine(), config)
    assert rate.cost_usd(1800) == 1
    assert rate.energy_kwh(3600, 1.5) == pytest.approx(0.15)


def test_every_price_has_a_source_and_a_date() -> None:
    with CATALOG.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        assert all(row[key] for key in row if key != "low_usd_per_hour"), row
        assert not row["low_usd_per_hour"] or float(row["low_usd_per_hour"]) <= float(
            row["usd_per_hour"]
        )
