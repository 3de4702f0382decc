"""`plan time` and `plan hardware`: what they print, as tables and as JSON, and what they refuse."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from groundup.plan.prices import catalog_price
from tests.cli.command import groundup

RUN = (
    "plan",
    "time",
    "--params",
    "175B",
    "--gpu",
    "A100-SXM-80",
    "--n",
    "1024",
    "--tokens",
    "300B",
)


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    result = groundup(capsys, *arguments, "--json")
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads(result.out)
    return found


def test_days_chip_hours_and_money(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (*RUN, "--tflops", "140", "--recompute", "full", "--date", "2022-06-01")
    found = printed(capsys, *arguments)
    assert found["days"] == pytest.approx(34, rel=0.03)  # PTD-P section 5.1
    assert found["n_chips"] == found["n_chips_used"] == 1024
    assert isinstance(found["n_chips"], int)
    assert found["chip_hours"] == pytest.approx(found["days"] * 24 * 1024)
    assert found["wall_chip_hours"] == pytest.approx(found["chip_hours"] / 0.75)
    price = catalog_price("A100-SXM-80")
    assert price is not None
    assert found["usd_per_chip_hour"] == price.usd_list
    assert found["usd"] == pytest.approx(found["chip_hours"] * price.usd_list)
    assert found["usd_low"] == pytest.approx(found["chip_hours"] * price.usd_low)
    assert found["wall_usd"] == pytest.approx(found["wall_chip_hours"] * price.usd_list)
    assert found["wall_usd_low"] == pytest.approx(found["wall_chip_hours"] * price.usd_low)
    assert found["hfu"] == pytest.approx(140 / 312)
    assert found["warnings"] == []
    text = groundup(capsys, *arguments).out
    assert "days of computing" in text
    assert "days by the clock, goodput 75%" in text
    assert "failures to expect" in text


def test_an_mfu_is_read_as_a_share_or_in_percent(capsys: pytest.CaptureFixture[str]) -> None:
    shares = [printed(capsys, *RUN, "--mfu", text)["days"] for text in ("0.46", "46%")]
    assert shares[0] == pytest.approx(shares[1])


def test_without_an_efficiency_it_is_predicted(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, *RUN, "--date", "2022-06-01")
    assert found["days_range"][0] < found["days"] < found["days_range"][1]
    assert 0.1 < found["mfu"] < 0.7
    assert "published runs" in found["efficiency_source"]
    assert math.prod(found["layout"][name] for name in ("dp", "tp", "pp", "cp")) == 1024
    assert "where the time of a step goes" in groundup(capsys, *RUN).out


def test_an_old_price_and_a_sparse_peak_are_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, *RUN, "--mfu", "0.3", "--date", "2026-11-21", "--peak", "624T")
    assert any("years ago" in text for text in found["warnings"])
    assert any("2:4 sparsity" in text for text in found["warnings"])
    mine = printed(capsys, *RUN, "--mfu", "0.3", "--usd-per-hour", "$2")
    assert mine["usd"] == mine["usd_low"] == pytest.approx(2 * mine["chip_hours"])
    assert mine["wall_usd"] == pytest.approx(2 * mine["wall_chip_hours"])
    assert mine["warnings"] == []


def test_a_chip_without_a_price_has_no_money(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("plan", "time", "--params", "7B", "--tokens", "140B", "--n", "64", "--gpu", "b200")
    found = printed(capsys, *arguments, "--mfu", "40%")
    assert found["usd"] is None
    assert any("--usd-per-hour" in note for note in found["notes"])
    assert groundup(capsys, *arguments).code == 0


@pytest.mark.parametrize("run", ["palm", "opt", "gpt-neox", "mt-nlg", "bloom"])
def test_the_work_of_a_published_run_on_todays_chips(
    run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("plan", "time", "--like", run, "--gpu", "H100-SXM", "--n", "1024")
    found = printed(capsys, *arguments)
    assert found["as_run"]["mfu"] > 0.25
    assert found["days"] > 0
    assert "as it was run" in groundup(capsys, *arguments).out


def test_a_preset_is_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(
        capsys,
        *("plan", "time", "--model", "palm-540b", "--gpu", "tpu v4", "--n", 6144),
        *("--tokens", "780B", "--mfu", "46.2%", "--goodput", "0.665"),
    )
    assert found["days"] == pytest.approx(37.9, rel=0.01)
    assert found["wall_chip_hours"] == pytest.approx(8_404_992, rel=0.01)


def test_a_measured_rate_gives_mfu_and_hfu(capsys: pytest.CaptureFixture[str]) -> None:
    run = ("plan", "time", "--model", "palm-540b", "--gpu", "tpu v4", "--n", 6144, "--tokens", 1e9)
    palm = printed(capsys, *run, "--tokens-per-second", "238.3k", "--recompute", "full")  # S3-01
    assert palm["mfu"] == pytest.approx(0.462, abs=1e-3)
    bloom = printed(
        capsys, "plan", "time", "--model", "bloom-176b", "--gpu", "a100-80gb", "--n", 384,
        *("--tokens", "366B", "--step-seconds", "105.2", "--global-batch-sequences", 2048),
        *("--recompute", "full"),
    )  # fmt: skip
    assert bloom["mfu"] == pytest.approx(0.36, abs=0.003)  # S3-10
    assert bloom["global_batch_tokens"] == 2048 * 2048
    assert bloom["step_seconds"] == pytest.approx(105.2)


def test_a_published_run_on_its_own_chips(capsys: pytest.CaptureFixture[str]) -> None:
    bloom = printed(capsys, "plan", "time", "--like", "bloom", "--gpu", "a100-80gb", "--n", 384)
    assert bloom["step_seconds"] == pytest.approx(105.2, rel=0.1)
    assert (bloom["layout"]["tp"], bloom["layout"]["pp"], bloom["layout"]["dp"]) == (4, 12, 8)
    assert any("70 layers over 12 unequal stages" in note for note in bloom["notes"])


def test_flash_attention_can_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    run = ("plan", "time", "--model", "gpt3-175b", "--gpu", "a100-80gb", "--n", 64, "--tokens",
           "300B")  # fmt: skip
    flash, plain = printed(capsys, *run), printed(capsys, *run, "--no-flash")
    assert plain["mfu"] < flash["mfu"]


def test_the_table_of_chips(capsys: pytest.CaptureFixture[str]) -> None:
    result = groundup(capsys, "plan", "hardware", "--json")
    records = json.loads(result.out)
    assert len(records) >= 20
    by_id = {record["id"]: record for record in records}
    assert by_id["H100-SXM"]["peak_flops"]["bf16"] == pytest.approx(989.4e12)
    assert by_id["MI300X"]["usd_per_chip_hour"] is None
    assert "H100-SXM" in groundup(capsys, "plan", "hardware").out


def test_one_chip(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "plan", "hardware", "NVIDIA H100 80GB HBM3", "--date", "2026-11-21")
    assert found["id"] == "H100-SXM"
    price = catalog_price("H100-SXM")
    assert price is not None
    assert price.day is not None
    assert found["price_date"] == price.day.isoformat()
    assert found["usd_per_chip_hour"] == price.usd_list
    assert any("2025-03" in text for text in found["warnings"])
    text = groundup(capsys, "plan", "hardware", "a100").out
    assert "a100 is taken as A100-SXM-80" in text
    assert "271.2 TFLOP/s" in text


GOOD = {"--params": "7B", "--gpu": "h100", "--n": "8", "--tokens": "140B", "--mfu": "0.4"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"--gpu": "h800"}, "H100-SXM"),
        ({"--n": "0"}, "n is 0"),
        ({"--n": "2.5"}, "n is 2.5"),
        ({"--n": "1e9"}, "n is 1B"),
        ({"--seq": "1e12"}, "seq is 1T"),
        ({"--params": "0"}, "params"),
        ({"--params": "many"}, "many"),
        ({"--tokens": "1e40"}, "tokens"),
        ({"--tokens": None}, "--tokens is missing"),
        ({"--params": None}, "one of --model, --params and --like"),
        ({"--model": "gpt2-124m"}, "one of --model, --params and --like"),
        ({"--params": None, "--model": "gpt9"}, "gpt9"),
        ({"--params": None, "--like": "gpt9"}, "gpt9"),
        ({"--mfu": "46"}, "0.46 or 46%"),
        ({"--mfu": "fast"}, "fast"),
        ({"--mfu": "110%"}, "above 1"),
        ({"--hfu": "0.5"}, "say the same thing"),
        ({"--goodput": "2"}, "goodput"),
        ({"--usd-per-hour": "0"}, "usd-per-hour"),
        ({"--date": "yesterday"}, "yesterday"),
        ({"--precision": "int4"}, "int4"),
        ({"--seq": "0"}, "seq"),
        ({"--global-batch": "0"}, "global-batch"),
        ({"--micro-batch": "0", "--mfu": None}, "micro-batch"),
        ({"--micro-batch": "2"}, "changes nothing"),
        ({"--micro-batch": "1e6", "--mfu": None}, "give the efficiency: --mfu"),
        ({"--gpu": "cs-2", "--mfu": None}, "give the efficiency: --mfu"),
        (
            {"--gpu": "laptop", "--mfu": None, "--model": "llama2-7b", "--params": None},
            "give the efficiency: --mfu",
        ),
        ({"--global-batch": "100"}, "no sequence"),
        ({"--global-batch": "1M", "--global-batch-sequences": "512"}, "both give the batch"),
        ({"--mfu": None, "--step-seconds": "2"}, "without its batch"),
        ({"--mfu": None, "--tflops": "0.14"}, "140"),
        ({"--convention": "palm"}, "no attention to count"),
    ],
)
def test_wrong_input_is_named(
    changes: dict[str, str | None], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {**GOOD, **changes}
    words = [word for key, value in options.items() if value is not None for word in (key, value)]
    result = groundup(capsys, "plan", "time", *words)
    assert result.code == 2, result.err
    assert named in result.err
    assert "Traceback" not in result.err


def test_a_chip_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    result = groundup(capsys, "plan", "hardware", "h900")
    assert result.code == 2
    assert "H100-SXM" in result.err
