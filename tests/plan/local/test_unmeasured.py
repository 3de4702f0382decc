from __future__ import annotations

from dataclasses import replace

import pytest

from groundup.architecture.counts import training_flops_per_token
from groundup.errors import InputError
from groundup.plan.local.peak import uncalibrated
from groundup.plan.local.unmeasured import Check, check_size
from tests.plan.local.machines import JOB, machine, measured, step_seconds

SIZE = (4, 256)
CONFIG = JOB.build(*SIZE)
HERE = machine(steps=(measured(*SIZE),), memory_bytes_per_second=2e10)


def checks(*arguments: object, **more: object) -> dict[str, Check]:
    found = check_size(JOB, CONFIG, *arguments, **more)  # type: ignore[arg-type]
    return {check.quantity: check for check in found}


def test_the_step_is_predicted_from_the_other_sizes_and_not_from_itself() -> None:
    others = tuple(
        replace(step, seconds_per_step=99.0) if (step.n_layers, step.d_model) == SIZE else step
        for step in machine().steps
    )
    step = checks(HERE, others)["seconds_per_step"]
    # the machine's formula: fixed work, work per layer, arithmetic
    assert step.predicted == pytest.approx(step_seconds(*SIZE), rel=1e-6)
    assert step.measured == step_seconds(*SIZE)
    assert step.error == pytest.approx(0, abs=1e-6)
    assert "2 × 128, 3 × 192" in step.basis
    assert "4 × 256" not in step.basis


def test_sizes_of_another_machine_count_by_their_efficiency() -> None:
    step = checks(HERE, machine().steps, 5e11)["seconds_per_step"]
    # there products ran at half the rate of here: the same efficiency is half the time
    assert step.predicted == pytest.approx(step_seconds(*SIZE) / 2, rel=1e-6)


def test_without_other_sizes_it_is_arithmetic_and_memory_one_after_the_other() -> None:
    step = checks(HERE, HERE.steps)["seconds_per_step"]
    flops = training_flops_per_token(CONFIG, 256) * 4096
    parts = uncalibrated(
        CONFIG, precision="bf16", attention="bmm", base_memory_bytes=0, tokens=4096,
        context_length=256, optimizer="muon",
    )  # fmt: skip
    assert step.predicted == pytest.approx(flops / 1e12 + 2 * parts.total / 2e10, rel=1e-6)
    assert "least it can take" in step.basis
    # an older machine.json has no bandwidth
    old = replace(HERE, memory_bytes_per_second=None)
    assert checks(old)["seconds_per_step"].predicted == pytest.approx(flops / 1e12)


def test_memory_is_predicted_from_the_architecture_alone() -> None:
    planned = {"seconds_per_step": 1.0, "peak_memory_bytes": 5e8}
    memory = checks(HERE, planned=planned)["peak_memory_bytes"]
    parts = uncalibrated(
        CONFIG, precision="bf16", attention="bmm", base_memory_bytes=300_000_000, tokens=4096,
        context_length=256, optimizer="muon",
    )  # fmt: skip
    assert memory.predicted == parts.total
    assert memory.measured == measured(*SIZE).peak_memory_bytes
    assert memory.planned == 5e8
    assert memory.error == pytest.approx(parts.total / memory.measured - 1)


def test_a_size_that_was_not_measured_is_refused() -> None:
    with pytest.raises(InputError, match="4 × 256 was not measured"):
        check_size(JOB, CONFIG, machine(steps=(measured(2, 128),)))
