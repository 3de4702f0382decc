from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import groundup

BUDGET = ("plan", "estimate", "--gpu", "H100-SXM", "--n", "64", "--usd", "200k")


def test_a_budget_becomes_a_plan(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    done = groundup(capsys, *BUDGET, "--output", tmp_path, "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert record["predicted"]["cost_usd"] == pytest.approx(200e3)
    assert record == json.loads((tmp_path / "plan.json").read_text())
    page = (tmp_path / "plan.html").read_text()
    assert "too small a model" in page  # the sides of the IsoFLOP minimum
    assert "http://" not in page.replace("http://www.w3.org", "")[: page.index("<script")]


def test_people_get_tables(capsys: pytest.CaptureFixture[str]) -> None:
    done = groundup(capsys, "plan", "estimate", "--gpu", "a100-80gb", "--n", 8, "--model",
                    "gpt2-124m", "--tokens", "10B", "--date", "2025-06-01")  # fmt: skip
    assert done.code == 0, done.err
    assert "Plan: gpt2-124m (124M parameters) on 10B tokens, 8 x A100-SXM-80" in done.out
    assert "chip-hours cost" in done.out


def test_the_grid_and_the_data_centre_can_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    run = ("plan", "estimate", "--gpu", "h100", "--n", "8", "--model", "gpt2-124m", "--tokens",
           "10B", "--json")  # fmt: skip
    plain = json.loads(groundup(capsys, *run, "--kg-per-kwh", "0.5", "--pue", "1").out)
    twice = json.loads(groundup(capsys, *run, "--kg-per-kwh", "0.5", "--pue", "2").out)
    energy, carbon = plain["predicted"]["energy_kwh"], plain["predicted"]["co2e_kg"]
    assert carbon == pytest.approx(0.5 * energy)
    assert twice["predicted"]["energy_kwh"] == pytest.approx(2 * energy)
    assert isinstance(plain["n_chips"], int)


def test_a_folder_that_cannot_be_made_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("no /proc")
    done = groundup(capsys, "plan", "estimate", "--gpu", "h100", "--n", "8", "--model",
                    "gpt2-124m", "--tokens", "10B", "--output", "/proc/nope")  # fmt: skip
    assert done.code == 2
    assert "cannot write here" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--gpu", "H100-SXM", "--n", "8"), "nothing says how much"),
        (("--gpu", "H1000", "--n", "8", "--usd", "5k"), "H100"),
        (("--gpu", "H100-SXM", "--n", "0", "--usd", "5k"), "n is 0"),
        (("--gpu", "H100-SXM", "--n", "2.5", "--usd", "5k"), "n is 2.5"),
        (("--gpu", "H100-SXM", "--n", "8", "--usd", "0.01"), "the budget is too small"),
        (("--gpu", "H100-SXM", "--n", "8", "--usd", "5k", "--global-batch", "1M",
          "--global-batch-sequences", "9"), "both give the batch"),
        (("--gpu", "H100-SXM", "--n", "8", "--usd", "5k", "--pue", "0"), "pue"),
        (("--gpu", "H100-SXM", "--n", "8", "--usd", "-5k"), "-5k"),
        (("--gpu", "H100-SXM", "--n", "8", "--model", "llama-7", "--tokens", "1T"), "llama-7b"),
        (("--gpu", "H100-SXM", "--n", "8", "--usd", "5k", "--mfu", "much"), "46%"),
        (("--gpu", "H100-SXM", "--n", "8", "--usd", "5k", "--goodput", "0"), "goodput"),
        (("--gpu", "H100-SXM", "--n", "8", "--usd", "1", "--model", "llama-7b", "--tokens", "1T"),
         "it would buy"),
        (("--gpu", "L4", "--n", "1", "--model", "llama-65b", "--tokens", "1T"), "L4"),
    ],
)  # fmt: skip
def test_wrong_input_is_named(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], problem: str
) -> None:
    done = groundup(capsys, "plan", "estimate", *arguments)
    assert done.code == 2
    assert problem in done.err
    assert "Traceback" not in done.err
    assert done.out == ""
