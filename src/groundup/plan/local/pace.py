"""How long a run takes: training steps, and everything between them.

Durations are wall-clock seconds from the first batch to the last checkpoint. Tokens per second are
those of the training steps alone, batch × context / seconds_per_step: evaluations, checkpoints and
samples are not in them, and the run measures the same quantity.

A size that was measured has its measured step. Others lie on

    seconds = a + b · layers + FLOPs / rate          a, b, 1/rate ≥ 0

fitted to the measured ones: fixed work (optimizer, loss of time between kernels), work per layer
(kernel launches), and arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median

from groundup.plan.local.machine import Machine, MeasuredStep

EVALUATIONS = 10  # per run, where the project file says nothing
CHECKPOINT_SECONDS, SAMPLE_SECONDS = 30.0, 60.0  # between two, where the project file says nothing
NEAR = 2.0  # the fit is trusted up to this factor beyond the measured FLOPs


@dataclass(frozen=True)
class Work:
    """One model size, as the clock sees it."""

    n_layers: int
    d_model: int
    parameters: int
    flops_per_token: float  # training: forward and backward


@dataclass(frozen=True)
class Cadence:
    """Steps between evaluations, checkpoints and samples; each also comes at the last step."""

    evaluate_every: int
    checkpoint_every: int
    sample_every: int


@dataclass(frozen=True)
class StepTimes:
    """Seconds of each thing a run does with one model size."""

    step: float
    evaluation: float
    checkpoint: float
    sample: float
    measured: bool  # this very size, in this very shape

    def duration(self, steps: int, cadence: Cadence) -> float:
        """Seconds of a run of ``steps``."""
        return (
            steps * self.step
            + math.ceil(steps / cadence.evaluate_every) * self.evaluation
            + math.ceil(steps / cadence.checkpoint_every) * self.checkpoint
            + math.ceil(steps / cadence.sample_every) * self.sample
        )

    def steps_within(self, seconds: float, given: dict[str, int | None]) -> int:
        """The most steps that surely end within ``seconds``, by bisection; 0 if not one does."""

        def longest(steps: int) -> float:
            asked = cadence(steps, self.step, given)
            if given["evaluate_every"]:
                return self.duration(steps, asked)
            # Rounding may skip an evaluation; counting all ten keeps this growing with the steps.
            rest = self.duration(steps, replace(asked, evaluate_every=steps))
            return rest + (EVALUATIONS - 1) * self.evaluation

        low, high = 0, int(seconds / self.step) + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if longest(middle) <= seconds else (low, middle)
        return low


def cadence(steps: int, seconds_per_step: float, given: dict[str, int | None]) -> Cadence:
    """What the project file gives, and sensible intervals for the rest.

    Args:
        steps: of the whole run.
        seconds_per_step: predicted.
        given: the fields of `Cadence` as the project file has them; None where it says nothing.
    """

    def every(seconds: float) -> int:
        return max(1, round(seconds / seconds_per_step))

    return Cadence(
        evaluate_every=given["evaluate_every"] or max(1, math.ceil(steps / EVALUATIONS)),
        checkpoint_every=given["checkpoint_every"] or every(CHECKPOINT_SECONDS),
        sample_every=given["sample_every"] or every(SAMPLE_SECONDS),
    )


def step_times(
    machine: Machine,
    works: list[Work],
    *,
    tokens_per_step: int,
    evaluation_tokens: int,
) -> list[StepTimes]:
    """The times of each of ``works``.

    Args:
        machine: with the steps measured on it.
        works: the sizes asked about; the measured ones are recognised by layers and width.
        tokens_per_step: batch × context.
        evaluation_tokens: tokens of one evaluation (forward only).
    """
    from groundup.plan.solve import nonnegative_least_squares

    steps = machine.steps
    # Where few measurements leave a choice, the first column explains: arithmetic, then the rest.
    per_flop, a, b = nonnegative_least_squares(
        [(s.flops_per_token * s.tokens_per_step, 1.0, s.n_layers) for s in steps],
        [s.seconds_per_step for s in steps],
    )
    save_parameter, save = nonnegative_least_squares(
        [(s.parameters, 1.0) for s in steps], [max(s.seconds_per_checkpoint, 1e-6) for s in steps]
    )
    forward_share = median(s.seconds_per_forward / s.seconds_per_step for s in steps)
    times = []
    for work in works:
        same = measured_step(machine, work.n_layers, work.d_model, tokens_per_step)
        if same:
            step, forward = same.seconds_per_step, same.seconds_per_forward
            checkpoint, sample = same.seconds_per_checkpoint, same.seconds_per_sample
        else:
            flops = work.flops_per_token * tokens_per_step
            step = max(
                a + b * work.n_layers + per_flop * flops, flops / machine.matmul_flops_per_second
            )
            forward, checkpoint = forward_share * step, save + save_parameter * work.parameters
            sample = median(s.seconds_per_sample for s in steps)  # a small model's is all overhead
        evaluation = forward * evaluation_tokens / tokens_per_step
        times.append(StepTimes(step, evaluation, checkpoint, sample, same is not None))
    return times


def measured_step(
    machine: Machine, n_layers: int, d_model: int, tokens_per_step: int
) -> MeasuredStep | None:
    """The measurement of this very size and shape, if there is one."""
    for step in machine.steps:
        if (step.n_layers, step.d_model, step.tokens_per_step) == (
            n_layers,
            d_model,
            tokens_per_step,
        ):
            return step
    return None


def near_measured(machine: Machine, work: Work, tokens_per_step: int) -> bool:
    """Whether the fit may be asked about ``work``: within `NEAR` of the measured FLOPs a step."""
    flops = [step.flops_per_token * step.tokens_per_step for step in machine.steps]
    wanted = work.flops_per_token * tokens_per_step
    return min(flops) / NEAR <= wanted <= max(flops) * NEAR
