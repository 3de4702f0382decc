"""`plan --measure` with a stand-in for the measurements: what is measured, kept and printed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from groundup.plan.local.candidates import Job
from groundup.train import measure
from tests.plan.local.machines import machine, measured
from tests.projects import PROJECT_FILE, here, small_project

BASE_SECONDS = 0.010


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that are measured; each measurement takes twice as long as the one before."""
    seen: list[Job] = []

    def stand_in(settings: Mapping[str, Any], job: Job, *_: object) -> dict[str, Any]:
        seen.append(job)
        step = replace(
            measured(*job.sizes()[0]),
            tokens_per_step=job.tokens_per_step,
            seconds_per_step=BASE_SECONDS * 2 ** len(seen),
        )
        found = {"memory_bytes_per_second": 2e10, "precision": "fp32", "attention": "bmm"}
        return asdict(machine(steps=(step,), **found, n_threads=settings["n_threads"]))

    monkeypatch.setattr(measure, "measure_machine", stand_in)
    return seen


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return small_project(tmp_path / "p", text=PROJECT_FILE)


def machines(project: Path) -> set[str]:
    return {path.name for path in (project / "artifacts" / "machine").iterdir()}


def test_a_new_plan_is_compared_with_its_own_measurement(jobs: list[Job], project: Path) -> None:
    ended = here("plan", "--measure", "--project", project, "--json")
    assert ended.code == 0, ended.err
    found = ended.json["measured"]
    assert len(jobs) == 1
    assert machines(project) == {found["machine"]}
    step = found["comparison"]["seconds_per_step"]
    assert step["measured"] == step["planned"] == 2 * BASE_SECONDS
    assert step["error"] == pytest.approx(step["predicted"] / step["measured"] - 1)
    assert found["comparison"]["peak_memory_bytes"]["predicted"] > 0
    assert found["memory_bytes_per_second"] == 2e10
    assert found["notes"] == []


def test_a_plan_that_was_there_is_measured_anew_and_stays_as_it_is(
    jobs: list[Job], project: Path
) -> None:
    first = here("plan", "--project", project, "--json").json
    assert "measured" not in first
    before = (Path(first["path"]) / "plan.json").read_bytes()
    ended = here("plan", "--measure", "--project", project, "--json")
    again, found = ended.json, ended.json["measured"]
    assert again["built"] == []
    assert (Path(again["path"]) / "plan.json").read_bytes() == before
    assert [job.sizes() for job in jobs] == [((1, 32),), ((1, 32),)]
    step = found["comparison"]["seconds_per_step"]
    assert (step["planned"], step["measured"]) == (2 * BASE_SECONDS, 4 * BASE_SECONDS)
    # the new measurement is an artifact beside the one the plan was made with
    assert len(machines(project)) == 2
    assert json.loads(before)["machine"] != found["machine"]
    # and nothing that follows the plan sees it
    assert here("plan", "--project", project, "--json").json["result"] == first["result"]


def test_people_see_predicted_beside_measured(jobs: list[Job], project: Path) -> None:
    out = here("plan", "--measure", "--project", project).out
    assert "Predicted beside measured: 1 layers × 32 (37.9k parameters) on some CPU" in out
    assert "18.6 GiB/s of memory" in out
    step = next(line for line in out.splitlines() if line.startswith("one step "))
    assert step.count("20.0 ms") == 2  # in the plan, and measured
    assert "peak memory is predicted from the architecture alone" in out


def test_another_machine_and_other_choices_are_said(
    jobs: list[Job], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here("plan", "--project", project)
    stand_in = measure.measure_machine

    def elsewhere(*arguments: Any) -> dict[str, Any]:
        return {**stand_in(*arguments), "device_name": "other CPU", "precision": "bf16"}

    monkeypatch.setattr(measure, "measure_machine", elsewhere)
    notes = here("plan", "--measure", "--project", project, "--json").json["measured"]["notes"]
    assert notes == [
        "precision is bf16 here, where the plan has fp32",
        "the plan was made on another machine: some CPU",
    ]
