from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.errors import BudgetError, ConfigError, InputError
from groundup.plan.config import PlanConfig
from groundup.plan.local.candidates import (
    LADDER,
    Candidate,
    Corpus,
    Job,
    consider,
    most_epochs,
    sizes_to_measure,
)
from groundup.plan.local.choose import NEAR_TIE, Plan, choose, make_plan
from groundup.plan.local.fit import fit_law
from groundup.plan.local.law import Law
from groundup.plan.local.machine import read_machine
from groundup.plan.local.report import plan_tables
from tests.plan.local.machines import JOB, MEASURED, STDLIB, TRUTH, machine, runs, step_seconds

LAW = Law(TRUTH, (TRUTH,) * 8, 0.01, 8, (4e5, 1.1e7), (1e5, 1e7), ("synthetic",))
WRITTEN = replace(
    JOB,
    n_layers=4,
    d_model=256,
    steps=200,
    evaluate_every=50,
    checkpoint_every=100,
    sample_every=100,
)


@lru_cache
def synthetic_law() -> Law:
    return fit_law(runs())


@pytest.fixture(autouse=True)
def _fit_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groundup.plan.local.fit.fit_law", lambda runs: synthetic_law())


def plan(budget: float | None, job: Job = JOB, corpus: Corpus = STDLIB, **changes: object) -> Plan:
    config = PlanConfig(budget=budget)
    return make_plan(config, job, machine(**changes), corpus, runs())


def predicted_of(made: Plan, name: str) -> float:
    value = made.predicted[name]
    assert value is not None
    return value


def chosen(budget: float, corpus: Corpus = STDLIB) -> tuple[list[Candidate], Candidate]:
    candidates = consider(JOB, machine(), corpus, LAW, budget)
    return candidates, choose(candidates, budget, JOB, machine())


def test_the_least_bits_per_byte_are_chosen_or_what_is_level_and_smaller() -> None:
    candidates, best = chosen(240)
    usable = [candidate for candidate in candidates if not candidate.obstacle]
    least = min(candidate.bits_per_byte for candidate in usable)
    assert best.bits_per_byte <= least * (1 + NEAR_TIE)
    for other in usable:
        if other.parameters < best.parameters:
            assert other.bits_per_byte > least * (1 + NEAR_TIE)


@settings(max_examples=15, deadline=None)
@given(st.floats(20, 3000), st.floats(1, 4))
def test_a_bigger_budget_never_means_fewer_tokens_for_a_size_or_a_worse_prediction(
    budget: float, factor: float
) -> None:
    text = Corpus(n_tokens=10**9, n_bytes=3 * 10**9)
    small, best_small = chosen(budget, text)
    large, best_large = chosen(budget * factor, text)
    for before, after in zip(small, large, strict=True):
        assert after.tokens >= before.tokens
        assert after.bits_per_byte <= before.bits_per_byte
        assert before.duration_seconds <= budget
    assert best_large.bits_per_byte <= best_small.bits_per_byte * (1 + NEAR_TIE)


def test_a_bigger_budget_takes_a_bigger_model() -> None:
    text = Corpus(n_tokens=10**9, n_bytes=3 * 10**9)
    sizes = [chosen(budget, text)[1].parameters for budget in (30, 300, 3000, 30000)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_predictions_belong_together() -> None:
    made = plan(240)
    choice = made.choice
    predicted = {name: predicted_of(made, name) for name in made.predicted}
    assert choice["tokens"] == choice["steps"] * 4096
    assert predicted["duration_seconds"] == pytest.approx(240, rel=0.02)
    assert predicted["duration_seconds"] <= 240
    seconds = step_seconds(choice["n_layers"], choice["d_model"])
    assert predicted["tokens_per_second"] == pytest.approx(4096 / seconds)
    assert predicted["peak_memory_bytes"] == pytest.approx(sum(made.memory.values()), abs=1)
    # loss in nats per token = bits per byte × bytes per token × ln 2
    bits, nats = predicted["bits_per_byte"], predicted["loss"]
    assert nats == pytest.approx(bits * (9_720_000 / 3_330_000) * math.log(2))
    assert made.band["bits_per_byte"][0] < bits < made.band["bits_per_byte"][1]
    # c5.2xlarge's $0.34 for 8 vCPU; 3.5 W a vCPU; PUE 1.1
    duration = predicted["duration_seconds"]
    assert predicted["cost_usd"] == pytest.approx(0.34 / 4 * duration / 3600)
    assert predicted["energy_kwh"] == pytest.approx(7 * 1.1 * duration / 3.6e6)


def test_what_the_project_file_gives_is_not_chosen() -> None:
    made = plan(None, WRITTEN)
    choice = made.choice
    assert (choice["n_layers"], choice["d_model"], choice["steps"]) == (4, 256, 200)
    assert (choice["evaluate_every"], choice["checkpoint_every"]) == (50, 100)
    assert [row["chosen"] for row in made.candidates] == [True]


def test_steps_beyond_the_budget_are_kept_and_said() -> None:
    made = plan(5, WRITTEN)
    assert made.choice["steps"] == 200
    assert "more than the budget" in made.notes[0]


def test_a_given_size_takes_its_steps_from_the_budget() -> None:
    made = plan(100, replace(JOB, n_layers=5, d_model=320))
    assert made.choice["d_model"] == 320
    assert made.predicted["duration_seconds"] == pytest.approx(100, rel=0.03)
    assert any("interpolated" in note for note in made.notes)


def test_given_steps_choose_the_best_size_that_ends_in_time() -> None:
    made = plan(60, replace(JOB, steps=300))
    assert made.choice["steps"] == 300
    assert predicted_of(made, "duration_seconds") <= 60
    assert any("needs" in row["why"] for row in made.candidates)


def test_without_budget_and_size_the_file_is_wrong() -> None:
    with pytest.raises(ConfigError, match="without a budget"):
        plan(None)


def test_too_small_a_budget_names_one_that_would_do() -> None:
    with pytest.raises(BudgetError, match="too small for any model") as caught:
        plan(0.5)
    assert caught.value.fix is not None
    least = int(caught.value.fix.split()[3].removesuffix("s:"))
    assert plan(least).choice["steps"] >= 50
    with pytest.raises(BudgetError):
        plan(least - 1.001)
    assert least >= 50 * step_seconds(*MEASURED[0])


def test_a_machine_without_memory_says_how_much_is_needed() -> None:
    with pytest.raises(BudgetError, match="no model fits"):
        plan(240, memory_bytes=100_000_000)


def test_memory_limits_the_size() -> None:
    text = Corpus(n_tokens=10**9, n_bytes=3 * 10**9)
    free = predicted_of(plan(30_000, corpus=text), "peak_memory_bytes")
    limited = plan(30_000, corpus=text, memory_bytes=int(free))
    assert predicted_of(limited, "peak_memory_bytes") <= 0.9 * free


def test_hours_on_little_text_stop_when_it_has_been_read_enough() -> None:
    made = plan(20 * 3600)
    chosen_row = next(row for row in made.candidates if row["chosen"])
    assert chosen_row["epochs"] <= 16
    assert predicted_of(made, "duration_seconds") < 20 * 3600
    assert any("more text would help" in note for note in made.notes)


def test_a_model_that_could_memorise_the_text_sees_it_four_times() -> None:
    # 3.6 bits a parameter: 2.7 M parameters hold the 9.7 Mbit of 9.7 MB at one bit a byte
    assert most_epochs(3_000_000, 9_720_000) == 4
    assert most_epochs(2_500_000, 9_720_000) == 16


def test_an_empty_corpus_is_an_input_error() -> None:
    with pytest.raises(InputError, match="no text"):
        plan(240, corpus=Corpus(0, 0))


def test_only_a_part_of_the_ladder_is_worth_measuring() -> None:
    asked = sizes_to_measure(JOB, STDLIB, LAW, 240, 1e12)
    assert set(asked) < set(LADDER)
    assert chosen(240)[1].config.d_model in {d_model for _, d_model in asked}
    given_size = replace(JOB, n_layers=5, d_model=320)
    assert sizes_to_measure(given_size, STDLIB, LAW, 240, 1e12) == ((5, 320),)


def test_a_plan_is_json_and_its_tables_have_a_cell_for_every_column() -> None:
    made = json.loads(json.dumps(plan(240).to_dict(), allow_nan=False))
    tables = plan_tables(made)
    assert tables[0][0].startswith("Plan: ")
    for _, columns, rows in tables:
        assert rows
        assert all(len(row) == len(columns) for row in rows)
    sizes = tables[1][2]
    assert sum(row[0].startswith("→") for row in sizes) == 1


def test_an_unknown_price_is_shown_as_unknown() -> None:
    made = plan(240, device="cuda", device_name="NVIDIA GB300")
    assert made.predicted["cost_usd"] is None
    shown = {row[0]: row[1] for row in plan_tables(made.to_dict())[0][2]}
    assert shown["cost of an equal cloud machine"] == "unknown"


def test_a_machine_file_is_read_and_what_it_lacks_is_named() -> None:
    values = json.loads(json.dumps(asdict(machine())))
    assert read_machine({**values, "something_more": 1}) == machine()
    del values["steps"][0]["seconds_per_step"]
    with pytest.raises(InputError, match="seconds_per_step"):
        read_machine(values)
    with pytest.raises(InputError, match="no training step"):
        read_machine({**values, "steps": []})


def test_a_given_size_far_from_the_measured_ones_is_still_planned() -> None:
    made = plan(3600, replace(JOB, n_layers=12, d_model=768))
    assert made.choice["n_layers"] == 12
    assert any("extrapolation" in note for note in made.notes)


def test_the_section_reads_what_people_write() -> None:
    section = PlanConfig.model_validate({"budget": "4m", "price_per_hour": "$0.1", "watts": 65})
    assert (section.budget, section.price_per_hour) == (240, 0.1)
    with pytest.raises(ValueError, match="power_usage_effectiveness"):
        PlanConfig.model_validate({"power_usage_effectiveness": 0.5})
