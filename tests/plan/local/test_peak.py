from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from groundup.architecture.config import ModelConfig
from groundup.architecture.counts import parameters
from groundup.plan.local.machine import Machine
from groundup.plan.local.peak import MemoryParts, peak_memory, uncalibrated
from tests.plan.local.machines import JOB, MEASURED, machine

CONFIGS = [JOB.build(*size) for size in (*MEASURED, (8, 512))]


def peaks(optimizer: str = "muon", **changes: object) -> list[MemoryParts]:
    return peak_memory(
        machine(**changes),
        CONFIGS,
        tokens_per_step=4096,
        tokens_per_micro_batch=4096,
        context_length=256,
        optimizer=optimizer,
    )


def counted(config: ModelConfig, of: Machine, **asked: Any) -> MemoryParts:
    return uncalibrated(
        config,
        precision=of.precision,
        attention=of.attention,
        base_memory_bytes=of.base_memory_bytes,
        **asked,
    )


def test_a_measured_size_has_its_measured_peak() -> None:
    for step, parts in zip(machine().steps, peaks(), strict=False):
        assert parts.total == pytest.approx(step.peak_memory_bytes, abs=1)


def test_states_are_exact() -> None:
    config = JOB.build(4, 256)
    counts = parameters(config)
    assert counts.total == 4 * 12 * 256**2 + 2 * 4096 * 256
    matrices = 4 * 12 * 256**2
    for optimizer, state in (
        ("adamw", 8 * counts.total),
        ("muon", 4 * matrices + 8 * 2 * 4096 * 256),
        ("muon-bf16", 2 * matrices + 4 * 2 * 4096 * 256),
        ("adamw-bf16", 4 * counts.total),
        ("momentum", 4 * counts.total),
        ("sgd", 0),
    ):
        parts = counted(config, machine(), tokens=4096, context_length=256, optimizer=optimizer)
        assert parts.weights == parts.gradients == 4 * counts.total
        assert parts.optimizer == state


def test_a_size_not_measured_is_scaled_to_the_measured_ones() -> None:
    """A machine that takes 1.7 times the counted activations and 3 times the logits."""

    def true_peak(n_layers: int, d_model: int) -> int:
        parts = counted(
            JOB.build(n_layers, d_model),
            machine(),
            tokens=4096,
            context_length=256,
            optimizer="muon",
        )
        scaled = replace(parts, activations=1.7 * parts.activations, logits=3 * parts.logits)
        return scaled.total

    steps = tuple(
        replace(step, peak_memory_bytes=true_peak(step.n_layers, step.d_model))
        for step in machine().steps
    )
    assert peaks(steps=steps)[-1].total == pytest.approx(true_peak(8, 512), rel=1e-6)


def test_kept_probabilities_cost_a_row_per_head_and_token() -> None:
    config = JOB.build(4, 256)
    bytes_of = {
        kind: counted(
            config, machine(attention=kind), tokens=4096, context_length=256, optimizer="muon"
        ).activations
        for kind in ("bmm", "sdpa")
    }
    assert (
        bytes_of["bmm"] - bytes_of["sdpa"] == 4096 * 4 * 4 * 256 * 2
    )  # tokens·layers·heads·T·bf16
