"""The catalog of chips: peaks of data sheets, names, sparse figures, ages of prices."""

from __future__ import annotations

from pathlib import Path

import pytest

from groundup.errors import InputError
from groundup.plan.catalogs import SHIPPED, read_rows
from groundup.plan.hardware import (
    chips,
    find_chip,
    match_chip,
    peak_from_clock,
    peak_warnings,
    with_peak,
)

# S4-02: dense bf16 peaks of the vendors' data sheets, TFLOP/s
PEAKS = {
    "A100-SXM-80": 312,
    "H100-SXM": 989.4,
    "H200-SXM": 989.4,
    "B200-SXM": 2250,
    "MI300X": 1307.4,
    "TPU-v4": 275,
}


def test_every_chip_has_its_numbers_or_says_that_it_has_none() -> None:  # S4-01
    found = chips()
    assert len(found) >= 20
    for chip in found.values():
        assert chip.peak_flops
        assert all(peak > 0 for peak in chip.peak_flops.values())
        assert chip.peak(chip.training_precision) >= chip.attainable(chip.training_precision) > 0
        assert chip.source
        for value in (chip.memory_bytes, chip.memory_bandwidth, chip.watts):
            assert value is None or value > 0
        if chip.usd_per_hour:
            assert chip.price_source
            assert chip.price_date


def test_every_row_of_the_catalogs_has_a_source_and_a_day() -> None:
    days = {"hardware": "read", "throughput": "read", "training_runs": "date", "failures": "date"}
    for name, column in days.items():
        for row in read_rows(SHIPPED / f"{name}.csv"):
            assert row.text("source"), row.where
            assert row.day(column), row.where


@pytest.mark.parametrize(("name", "tflops"), PEAKS.items())
def test_peaks_are_those_of_the_data_sheets(name: str, tflops: float) -> None:
    assert find_chip(name).peak("bf16") == pytest.approx(tflops * 1e12, rel=1e-3)


def test_measured_matmul_rates_are_the_ceiling() -> None:
    assert find_chip("A100-SXM-80").attainable("bf16") == pytest.approx(271.2e12)
    assert find_chip("MI300X").attainable_share == pytest.approx(0.511, abs=1e-3)
    assert "matmuls reach 80% of the peak (not measured)" in find_chip("TPU-v4").assumed


def test_the_a100s_peak_follows_from_its_clock() -> None:  # S4-03
    assert peak_from_clock(1410e6, 256, 432) == pytest.approx(311.9e12, rel=1e-3)
    with pytest.raises(InputError, match="clock_hz"):
        peak_from_clock(-1, 256, 432)


@pytest.mark.parametrize(
    ("name", "chip"),
    [
        ("NVIDIA H100 80GB HBM3", "H100-SXM"),  # torch.cuda.get_device_name
        ("NVIDIA H100 PCIe", "H100-PCIe"),
        ("NVIDIA A100-SXM4-80GB", "A100-SXM-80"),
        ("NVIDIA A100-SXM4-40GB", "A100-SXM-40"),
        ("Tesla V100-SXM2-32GB", "V100-SXM2-32"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("AMD Instinct MI300X", "MI300X"),
        ("a100-80gb", "A100-SXM-80"),
        ("h100_80gb", "H100-SXM"),
        ("tpu v4", "TPU-v4"),
        ("TPU-V5E", "TPU-v5e"),
    ],
)
def test_a_chip_is_found_by_the_names_people_use(name: str, chip: str) -> None:
    assert find_chip(name).id == chip


def test_a_name_of_two_chips_says_which_was_taken() -> None:
    match = match_chip("A100")
    assert match.chip.id == "A100-SXM-80"
    assert match.note is not None
    assert "A100-SXM-40" in match.note
    assert match_chip("a100-40gb").note is None


@pytest.mark.parametrize(("name", "near"), [("H800", "H100-SXM"), ("A10", "A100-SXM-80")])
def test_an_unknown_chip_is_refused_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(InputError) as caught:
        find_chip(name)
    assert name in caught.value.message
    assert "no peak is assumed" in caught.value.message
    assert near in str(caught.value.fix)


@pytest.mark.parametrize("name", ["", "   ", "nvidia", "zz9"])
def test_a_name_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="no chip"):
        find_chip(name)


def test_a_precision_that_a_chip_lacks_is_refused() -> None:
    with pytest.raises(InputError, match="V100-SXM2-32 in 'bf16'"):
        find_chip("v100").peak("bf16")


@pytest.mark.parametrize(("chip", "tflops"), [("A100-SXM-80", 624), ("H100-SXM", 1979)])
def test_a_sparse_figure_is_warned_of(chip: str, tflops: float) -> None:  # S4-07
    warnings = peak_warnings(with_peak(find_chip(chip), tflops * 1e12, "bf16"))
    assert len(warnings) == 1
    assert "2:4 sparsity number" in warnings[0]


def test_no_shipped_peak_is_suspected() -> None:
    assert [text for chip in chips().values() for text in peak_warnings(chip)] == []


def test_users_rows_lie_over_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hardware.csv").write_text(
        "id,usd_per_hour,price_source,price_date,bf16_tflops\n"
        "H100-SXM,2.10,my contract,2026-10,\n"
        "MyChip,,,,624\n"
    )
    monkeypatch.setenv("GROUNDUP_CATALOG", str(tmp_path))
    assert find_chip("h100").usd_per_hour == 2.10
    assert find_chip("h100").peak("bf16") == pytest.approx(989.4e12)
    mine = find_chip("mychip")
    assert mine.usd_per_hour is None
    assert "2:4 sparsity number" in peak_warnings(mine)[0]

    (tmp_path / "hardware.csv").write_text("id,bf16_tflops\nH100-SXM,fast\n")
    with pytest.raises(InputError, match="bf16_tflops is 'fast'"):
        find_chip("h100")


def test_a_users_price_below_our_low_one_is_the_low_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hardware.csv").write_text("id,usd_per_hour\nH100-SXM,1.50\n")
    monkeypatch.setenv("GROUNDUP_CATALOG", str(tmp_path))
    chip = find_chip("h100")
    assert (chip.usd_per_hour, chip.low_usd_per_hour) == (1.5, 1.5)
