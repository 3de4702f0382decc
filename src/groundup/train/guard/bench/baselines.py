"""What others do about a loss spike, with the interface of `guard.guard.Guard`.

`SkipStep` is OLMo-core's rule (``optim/skip_step_optimizer.py`` and ``adamw.py``, read at commits
067267c and 018518b): the update is multiplied by zero where the loss or the gradient norm is more
than 6 standard deviations from the mean of the last 128 steps, from the 64th step on. As there,
outliers enter that window; what is not finite leaves no mean until it has left it; and zero times a
gradient that is NaN is NaN. (A norm that overflows is another matter: clipping makes zeros of it.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from groundup.train.guard.guard import Verdict

WINDOW, SIGMAS, ARMED_AFTER = 128, 6.0, 64


class Judge(Protocol):
    """What the benchmark's training asks of a guard; see `guard.guard.Guard`."""

    def judge(
        self, step: int, cursor: int, batch_size: int, loss: float, grad_norm: float
    ) -> Verdict:
        """What to do with a batch."""

    def accepted(self, loss: float, grad_norm: float) -> None:
        """A step was taken."""

    def before_checkpoint(self, step: int) -> Verdict:
        """Whether to keep a state."""

    def learning_rate_factor(self, step: int) -> float:
        """What the learning rate is multiplied by."""


class Nothing:
    """Every step is taken."""

    def judge(
        self, step: int, cursor: int, batch_size: int, loss: float, grad_norm: float
    ) -> Verdict:
        """Taken."""
        return Verdict("apply")

    def accepted(self, loss: float, grad_norm: float) -> None:
        """Nothing is kept."""

    def before_checkpoint(self, step: int) -> Verdict:
        """Nothing is looked at."""
        return Verdict("apply")

    def learning_rate_factor(self, step: int) -> float:
        """As it is."""
        return 1.0


@dataclass
class SkipStep:
    """OLMo-core's rule."""

    losses: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)

    def judge(
        self, step: int, cursor: int, batch_size: int, loss: float, grad_norm: float
    ) -> Verdict:
        """Skip what is six standard deviations from the mean."""
        self.losses = [*self.losses, loss][-WINDOW - 1 :]
        self.grad_norms = [*self.grad_norms, grad_norm][-WINDOW - 1 :]
        if len(self.losses) < ARMED_AFTER or (
            is_within(self.losses) and is_within(self.grad_norms)
        ):
            return Verdict("apply")
        if math.isnan(grad_norm):
            return Verdict("apply", "6 sigma, but zero times NaN is NaN")
        return Verdict("skip", "6 sigma")

    def accepted(self, loss: float, grad_norm: float) -> None:
        """All values are in the window already."""

    def before_checkpoint(self, step: int) -> Verdict:
        """Nothing is looked at."""
        return Verdict("apply")

    def learning_rate_factor(self, step: int) -> float:
        """As it is."""
        return 1.0


def is_within(values: list[float]) -> bool:
    """Whether the last value is within 6 standard deviations of the others' mean; NaN is not."""
    before = np.array(values[:-1])
    with np.errstate(invalid="ignore", over="ignore"):
        distance = abs(values[-1] - before.mean())
        return bool(distance <= SIGMAS * before.std(ddof=1))
