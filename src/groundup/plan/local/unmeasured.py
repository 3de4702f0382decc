"""What a plan says of a size that it has not measured, beside the measurement.

Every planner predicts; few look. Here the chosen size is predicted as if it had never been run, and
then compared:

- **memory** from the architecture alone (`peak.uncalibrated`);
- **step time** from its FLOPs over the measured matmul rate, at the efficiency that the other
  measured sizes reach (`pace`, this size left out). Where no other size was measured: a roofline
  (Williams et al. 2009) whose two parts follow each other, arithmetic at the matmul rate and every
  byte of memory written and read once at the measured bandwidth. That is the least it can take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from groundup.architecture.config import ModelConfig
from groundup.architecture.counts import parameters, training_flops_per_token
from groundup.errors import InputError
from groundup.plan.local.candidates import Job
from groundup.plan.local.machine import Machine, MeasuredStep
from groundup.plan.local.pace import Work, measured_step, step_times
from groundup.plan.local.peak import MemoryParts, uncalibrated


@dataclass(frozen=True)
class Check:
    """One quantity, predicted without a measurement of the size, and measured."""

    quantity: str  # seconds_per_step or peak_memory_bytes
    predicted: float
    planned: float | None  # what the stored plan says; None without one
    measured: float
    basis: str  # of the prediction, in words

    @property
    def error(self) -> float:
        """(predicted - measured) / measured."""
        return self.predicted / self.measured - 1


def check_size(
    job: Job,
    config: ModelConfig,
    now: Machine,
    others: Sequence[MeasuredStep] = (),
    rate_of_others: float | None = None,
    planned: dict[str, Any] | None = None,
) -> list[Check]:
    """Step time and peak memory of ``config``, predicted and measured.

    Args:
        job: with the batch and the context it runs in.
        config: the model; ``now`` holds a measurement of it.
        now: the machine as just measured.
        others: steps measured before; this size among them is left out.
        rate_of_others: matmul FLOP/s of the machine they were measured on; None: that of ``now``.
        planned: the plan's row of this size (``seconds_per_step``, ``peak_memory_bytes``).

    Raises:
        InputError: this size was not measured in this shape.
    """
    size = (config.n_layers, config.d_model)
    measured = measured_step(now, *size, job.tokens_per_step)
    if measured is None:
        raise InputError(f"the size {size[0]} × {size[1]} was not measured on this machine")
    parts = uncalibrated(
        config,
        precision=now.precision,
        attention=now.attention,
        base_memory_bytes=now.base_memory_bytes,
        tokens=(job.micro_batch_size or job.batch_size) * job.context_length,
        context_length=job.context_length,
        optimizer=job.kept,
        recompute=job.recompute,
        offload_optimizer=job.offload_optimizer,
    )
    left = [step for step in others if (step.n_layers, step.d_model) != size]
    if left:
        rate = rate_of_others or now.matmul_flops_per_second
        seconds = _from_others(job, config, replace(now, steps=tuple(left)), rate)
        sizes = ", ".join(f"{step.n_layers} × {step.d_model}" for step in left)
        basis = f"its FLOPs at the efficiency measured on {sizes}"
    else:
        seconds, basis = _roofline(job, config, now, parts)
    said = planned or {}
    return [
        Check(
            "seconds_per_step",
            seconds,
            said.get("seconds_per_step"),
            measured.seconds_per_step,
            basis,
        ),
        Check(
            "peak_memory_bytes",
            parts.total,
            said.get("peak_memory_bytes"),
            measured.peak_memory_bytes,
            "the architecture alone",
        ),
    ]


def _from_others(job: Job, config: ModelConfig, others: Machine, their_rate: float) -> float:
    """Seconds of a step by `pace`, at this machine's rate of matrix products."""
    work = Work(
        config.n_layers,
        config.d_model,
        parameters(config).total,
        training_flops_per_token(config, job.context_length),
    )
    (times,) = step_times(
        replace(others, matmul_flops_per_second=their_rate),
        [work],
        tokens_per_step=job.tokens_per_step,
        evaluation_tokens=job.tokens_per_step,
    )
    return times.step * their_rate / others.matmul_flops_per_second


def _roofline(
    job: Job, config: ModelConfig, machine: Machine, parts: MemoryParts
) -> tuple[float, str]:
    """The least seconds of a step, and what they are made of."""
    flops = training_flops_per_token(config, job.context_length) * job.tokens_per_step
    seconds = flops / machine.matmul_flops_per_second
    if machine.memory_bytes_per_second is None:
        return seconds, "its FLOPs at the measured matmul rate: the least it can take"
    passes = -(-job.batch_size // (job.micro_batch_size or job.batch_size))
    each_pass = parts.weights + parts.gradients + parts.activations + parts.logits
    moved = 2 * (passes * each_pass + parts.optimizer)  # written once and read once
    return seconds + moved / machine.memory_bytes_per_second, (
        "its FLOPs at the measured matmul rate and its memory once through the measured bandwidth: "
        "the least it can take"
    )
