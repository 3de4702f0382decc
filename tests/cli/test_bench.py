"""``groundup bench guard``: its options, its tables, and a small run of it."""

from __future__ import annotations

import json
import math

import pytest

from groundup.train.guard.bench import benchmark
from groundup.train.guard.bench.benchmark import CLEAN, Plan, Result
from tests.cli.command import groundup


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--event", "flood"], "--event 'flood' is not known"),
        (["--policy", "hope"], "use one of no clipping, clipping, 6 sigma, guard"),
        (["--clean-only", "--event", "poison1"], "--clean-only leaves out every --event"),
        (["--learning-rate", "0"], "--learning-rate 0 is not greater than zero"),
        (["--learning-rate", "nan"], "--learning-rate nan is not greater than zero"),
    ],
)
def test_what_cannot_be_run_is_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = groundup(capsys, "bench", "guard", *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """A benchmark whose runs are over at once."""
    plans = []

    def result(policy: str, event: str, seed: int, loss: float, latency: int | None) -> Result:
        return Result(policy, event, seed, loss, latency, 500, 0, 0, 0, 1, 0, "", "")

    def fake(plan: Plan, workers: int) -> list[Result]:
        plans.append(plan)
        return [
            result("clipping", CLEAN, 3, 2.0, None),
            result("clipping", "nan_weight", 3, math.nan, None),
            result("guard", CLEAN, 3, 2.0, None),
            result("guard", "nan_weight", 3, 2.0125, 0),
        ]

    monkeypatch.setattr(benchmark, "run", fake)
    return plans


CHOSEN = ("--seeds", 1, "--first-seed", 3, "--event", "nan_weight", "--policy", "guard",
          "--policy", "clipping")  # fmt: skip


def test_the_tables_say_who_came_back(ran: list[Plan], capsys: pytest.CaptureFixture[str]) -> None:
    result = groundup(capsys, "bench", "guard", *CHOSEN)
    assert result.code == 0
    [plan] = ran
    assert (list(plan.seeds), plan.policies, plan.events) == (
        [3], ("clipping", "guard"), ("nan_weight",),
    )  # fmt: skip
    lines = [line.split() for line in result.out.splitlines()]
    [row] = [line for line in lines if line[:2] == ["nan_weight", "guard"]]
    assert row[2:7] == ["1/1", "0", "1/1", "+0.0125", "+0.0125"]
    assert "no end" in next(
        line for line in result.out.splitlines() if line.startswith("nan_weight") and "0/1" in line
    )
    assert "100%" in next(line for line in result.out.splitlines() if line.startswith("guard "))


def test_json_is_one_object_without_nan(
    ran: list[Plan], capsys: pytest.CaptureFixture[str]
) -> None:
    result = groundup(capsys, "bench", "guard", *CHOSEN, "--json")
    record = json.loads(result.out, parse_constant=lambda name: pytest.fail(name))
    assert record["totals"]["guard"]["n_back"] == 1
    assert record["totals"]["guard"]["n_suspicions"] == 1
    assert [run["loss"] for run in record["runs"]] == [2.0, None, 2.0, 2.0125]


@pytest.mark.slow
def test_a_small_run_finds_what_is_injected_and_comes_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = groundup(
        capsys, "bench", "guard", "--seeds", 1, "--steps", 200, "--workers", 2, "--json",
        "--event", "nan_weight", "--event", "poison1", "--policy", "guard", "--policy", "clipping",
    )  # fmt: skip
    assert result.code == 0, result.err
    record = json.loads(result.out)
    runs = {(run["policy"], run["event"]): run for run in record["runs"]}
    clean = runs["clipping", CLEAN]["loss"]
    assert runs["guard", CLEAN]["loss"] == clean  # nothing was done, to the bit
    assert runs["clipping", "nan_weight"]["loss"] is None
    assert runs["guard", "nan_weight"]["loss"] == pytest.approx(clean, abs=0.05)
    assert runs["guard", "nan_weight"]["n_rewinds"] == 1
    assert runs["guard", "poison1"]["loss"] == pytest.approx(clean, abs=0.05)
    assert runs["guard", "poison1"]["n_skipped"] == 1
    assert runs["guard", "poison1"]["latency"] == 0
