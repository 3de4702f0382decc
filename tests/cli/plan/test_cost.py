import json

import pytest

from tests.cli.command import groundup


def as_json(capsys, *arguments):
    done = groundup(capsys, "plan", *arguments, "--json")
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out, parse_constant=pytest.fail)


def test_all_schemes_side_by_side(capsys):
    found = as_json(capsys, "cost", "--gpu", "tpu-v4", "--chip-hours", "8404992")
    totals = {one["scheme"]: one["total_usd"] for one in found["schemes"]}
    assert totals == pytest.approx({"on-demand": 27.06e6, "1y": 17.06e6, "3y": 12.19e6}, rel=1e-3)
    first = found["schemes"][0]
    assert {"usd_low", "usd_high", "usd_per_chip_hour", "lines", "notes"} <= first.keys()
    assert first["lines"][0].keys() == {"name", "usd", "usd_low", "usd_high", "note"}
    assert "years ago" in found["warnings"][0]
    assert found["chip_hours"] == 8404992
    assert any("--buy-usd" in note for note in found["notes"])


def test_the_table_for_people(capsys):
    done = groundup(
        capsys, "plan", "cost", "--gpu", "h100", "--n", "64", "--days", "10", "--storage-tb", "5",
        "--months", "6", "--people-months", "3", "--salary", "$200k", "--egress-tb", "1",
    )  # fmt: skip
    assert done.code == 0
    assert "15,360 chip-hours of H100-SXM" in done.out
    for word in ("on-demand", "1y", "3y", "owned", "$50,000", "storage", "egress", "warning:"):
        assert word in done.out
    assert done.out.count("person-months") == 1  # what is the same in every scheme stands once


def test_a_scheme_a_discount_and_a_price_of_your_own(capsys):
    found = as_json(
        capsys, "cost", "--gpu", "a100-40gb", "--chip-hours", "1e6", "--scheme", "on-demand",
        "--usd-per-hour", "2", "--discount", "30%",
    )  # fmt: skip
    (bill,) = found["schemes"]
    assert bill["total_usd"] == pytest.approx(1.4e6)
    assert found["warnings"] == []  # the catalog's price was not used


def test_a_price_in_force_needs_no_warning(capsys):
    found = as_json(
        capsys, "cost", "--gpu", "tpu-v4", "--chip-hours", "1000", "--date", "2022-10-01"
    )
    assert found["warnings"] == []
    assert found["price"]["date"] == "2022-09-11"


def test_the_prices_of_a_vendor_and_a_place(capsys):
    found = as_json(
        capsys, "cost", "--gpu", "TPU-v3", "--chip-hours", "1000", "--date", "2019-07-01",
        "--vendor", "Google",
    )  # fmt: skip
    hourly = [one["usd_per_chip_hour"] for one in found["schemes"]]
    assert hourly == pytest.approx([2.00, 1.26, 0.90])
    (offer,) = found["price"]["offers"]
    assert (offer["date"], offer["location"]) == ("2019-07-01", "Iowa (us-central1)")
    found = as_json(
        capsys, "cost", "--gpu", "tpu-v5e", "--chip-hours", "1000", "--location", "Belgium"
    )
    assert found["price"]["usd_list"] == 1.32


@pytest.mark.parametrize(
    ("name", "usd"),
    [
        ("A100-PCIe", 1.64),
        ("NVIDIA A100 PCIe", 1.64),
        ("Google TPU v6e Trillium", 3.24),
        ("NVIDIA Tesla V100 DGXS 16 GB", 3.06),
        ("NVIDIA Tesla V100 DGXS 32 GB", 3.90),
    ],
)
def test_names_of_the_archive(capsys, name, usd):
    found = as_json(capsys, "cost", "--gpu", name, "--chip-hours", "1000")
    assert found["price"]["usd_list"] == usd


def test_the_same_chip_has_the_same_prices_in_every_command(capsys):
    for chip in ("h100", "rtx-4090", "l4", "v100", "a100-80gb", "a100-40gb", "tpu-v4"):
        cost = as_json(capsys, "cost", "--gpu", chip, "--chip-hours", "1000")["price"]
        repriced = as_json(capsys, "landscape", "--model", "palm", "--price-on", chip)["price"]
        time = as_json(
            capsys, "time", "--params", "7B", "--tokens", "140B", "--gpu", chip, "--n", "8",
            "--mfu", "0.4",
        )  # fmt: skip
        assert repriced == cost
        assert (time["usd_per_chip_hour"], time["usd_low_per_chip_hour"], time["price_date"]) == (
            cost["usd_list"], cost["usd_low"], cost["date"],
        )  # fmt: skip


def test_what_a_budget_buys(capsys):
    found = as_json(
        capsys, "cost", "--gpu", "tpu-v4", "--chip-hours", "8404992", "--budget", "$23.1M"
    )
    assert found["budget"]["usd_per_chip_hour"] == pytest.approx(2.75, rel=1e-3)  # S5-14
    assert found["budget"]["chip_hours"]["1y"] == pytest.approx(23.1e6 / 2.03)


def test_owned_machines(capsys):
    found = as_json(
        capsys, "cost", "--gpu", "tpu-v4", "--chip-hours", "1000", "--scheme", "owned",
        "--buy-usd", "5167", "--utilisation", "60%", "--years", "4",
    )  # fmt: skip
    (bill,) = found["schemes"]
    assert [line["name"] for line in bill["lines"]] == ["machines", "space", "power"]
    assert bill["total_usd"] == bill["usd_low"] == bill["usd_high"] > 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--gpu", "h900", "--chip-hours", "1"], "h900"),
        (["--gpu", "mi300x", "--chip-hours", "1"], "MI300X"),
        (["--gpu", "h100"], "chip-hours"),
        (["--gpu", "h100", "--n", "8"], "chip-hours"),
        (["--gpu", "h100", "--n", "8", "--days", "2", "--chip-hours", "9"], "said twice"),
        (["--gpu", "h100", "--chip-hours", "0"], "chip-hours"),
        (["--gpu", "h100", "--n", "1.5", "--days", "2"], "1.5"),
        (["--gpu", "h100", "--n", "8", "--days", "-2"], "days"),
        (["--gpu", "h100", "--n", "8", "--days", "nan"], "days"),
        (["--gpu", "h100", "--chip-hours", "9", "--discount", "120%"], "discount"),
        (["--gpu", "h100", "--chip-hours", "9", "--discount", "some"], "some"),
        (["--gpu", "h100", "--chip-hours", "9", "--usd-per-hour", "0"], "usd-per-hour"),
        (["--gpu", "h100", "--chip-hours", "9", "--scheme", "spot"], "spot"),
        (["--gpu", "h100", "--chip-hours", "9", "--scheme", "1y", "--buy-usd", "9"], "buy-usd"),
        (["--gpu", "h100", "--chip-hours", "9", "--scheme", "owned", "--discount", "9%"], "owned"),
        (["--gpu", "h100", "--chip-hours", "9", "--date", "yesterday"], "yesterday"),
        (["--gpu", "h100", "--chip-hours", "9", "--date", "2025-13-01"], "2025-13-01"),
        (["--gpu", "h100", "--chip-hours", "9", "--vendor", "nobody"], "Google Cloud"),
        (["--gpu", "h100", "--chip-hours", "9", "--location", "mars"], "Iowa"),
        (["--gpu", "h100", "--chip-hours", "9", "--date", "1990-01-01"], "2023-06-20"),
        (["--gpu", "h100", "--chip-hours", "1e30"], "chip-hours"),
        (["--gpu", "h100", "--n", "1e12", "--days", "9"], "n is 1T"),
        (["--gpu", "h100", "--n", "1e6", "--days", "1e9"], "chip-hours"),
        (["--gpu", "h100", "--chip-hours", "9", "--storage-tb", "5"], "months"),
        (["--gpu", "h100", "--chip-hours", "9", "--salary", "5"], "people-months"),
        (["--gpu", "h100", "--chip-hours", "9", "--budget", "0"], "budget"),
        (["--gpu", "tpu-v4", "--chip-hours", "9", "--utilisation", "50%"], "TPU-v4"),
    ],
)
def test_wrong_input_is_named(capsys, arguments, named):
    done = groundup(capsys, "plan", "cost", *arguments)
    assert done.code == 2
    assert named in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


def test_carbon_by_intensity(capsys):
    found = as_json(
        capsys, "carbon", "--gpu", "v100", "--n", "10000", "--days", "14.8", "--watts", "330",
        "--kg-per-kwh", "0.429",
    )  # fmt: skip
    assert found["energy_kwh"] == pytest.approx(1_289_000, rel=0.005)  # S6-01
    assert found["co2e_kg"] == pytest.approx(553_000, rel=0.005)


def test_carbon_by_region_with_the_others_beside_it(capsys):
    found = as_json(
        capsys, "carbon", "--gpu", "h100", "--chip-hours", "1000", "--region", "gcp/us-central1"
    )
    assert found["co2e_kg"] == pytest.approx(700 * 1.1 * 0.430)
    assert [row["which"] for row in found["regions"]] == [
        "chosen", "cleanest region", "median region", "dirtiest region",
    ]  # fmt: skip
    assert all(row["source"] for row in found["regions"])


def test_carbon_without_a_region_gives_the_spread(capsys):
    found = as_json(capsys, "carbon", "--gpu", "h100", "--chip-hours", "1000", "--embodied")
    assert found["co2e_kg"] is None
    assert len(found["regions"]) == 3
    assert found["embodied_kg"] > 0
    done = groundup(capsys, "plan", "carbon", "--gpu", "h100", "--chip-hours", "1000")
    assert "dirtiest region" in done.out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--gpu", "h900", "--chip-hours", "1"], "h900"),
        (["--gpu", "h100", "--n", "1e12", "--days", "1e9"], "n is 1T"),
        (["--gpu", "h100", "--chip-hours", "1", "--region", "us-central9"], "gcp/us-central1"),
        (["--gpu", "h100", "--chip-hours", "1", "--region", "usa"], "gcp/us-west1"),
        (["--gpu", "h100", "--chip-hours", "1", "--kg-per-kwh", "385"], "kg-per-kwh"),
        (["--gpu", "h100", "--chip-hours", "1", "--pue", "0.5"], "pue"),
        (["--gpu", "h100", "--chip-hours", "1", "--watts", "0"], "watts"),
        (["--gpu", "tpu-v5p", "--chip-hours", "1"], "watts"),
        (["--gpu", "h100", "--chip-hours", "1", "--region", "a", "--kg-per-kwh", "1"], "region"),
    ],
)
def test_wrong_carbon_input_is_named(capsys, arguments, named):
    done = groundup(capsys, "plan", "carbon", *arguments)
    assert done.code == 2
    assert named in done.err
    assert "Traceback" not in done.err
