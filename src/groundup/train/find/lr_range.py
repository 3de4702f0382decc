"""The learning-rate range test: one short run in which the rate grows until training breaks.

Smith 2015 (arXiv:1506.01186, section 3.3), with a rate that grows by the same factor at each step.
Where the loss falls fastest is a safe rate; a tenth of the rate at which it blows up is the usual
rule of thumb, and the better one (`docs/finders.md`). All groups of parameters keep their
proportions: what grows is the share of every peak rate, as a schedule's does
(`optimizers.groups.set_learning_rate`).

Notable: the loss is smoothed by lines fitted around each step (Cleveland 1979), whose slope is the
derivative that is looked for, and which lag behind nothing as a running mean does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from groundup.progress import Progress
from groundup.train.batch import Batch, counts_of
from groundup.train.config import Settings
from groundup.train.objectives import Loss
from groundup.train.state import RunState
from groundup.train.step import apply_gradients, drop_gradients, gradients

Floats = npt.NDArray[np.float64]

WIDTH = 1 / 30  # of the smoothing, as a share of the whole sweep: standard deviation of its weights
RUNNING = 0.9  # of the running mean that sees a divergence while it happens
# It is one where the loss is above its best by all that was gained, at least by this share.
LEAST_RISE = 0.1
A_TENTH = 0.1
BEYOND_SCATTER = 2.0  # a smaller fall may be chance: smoothed noise alone ranges over one
FEWEST = 20  # steps, to say anything


@dataclass(frozen=True)
class Range:
    """What a sweep says; rates are shares of the usual peak rates.

    Attributes:
        steepest: where the smoothed loss falls fastest; None where it falls no further than it
            scatters.
        lowest: where the smoothed loss is lowest.
        diverged: where the loss blew up; None where it did not.
        suggested: a tenth of the diverged, or the lowest where that is less; where nothing diverged
            the steepest, which is on the safe side; None where the loss never falls.
        smoothed: the loss at each rate.
    """

    steepest: float | None
    lowest: float | None
    diverged: float | None
    suggested: float | None
    smoothed: tuple[float, ...]


@dataclass(frozen=True)
class Sweep:
    """Rates that were tried, as shares of the usual peaks, and the loss of the batch after each.

    Attributes:
        first: loss before any step.
        diverged: whether it ended by that.
    """

    ratios: tuple[float, ...]
    losses: tuple[float, ...]
    first: float
    diverged: bool


def exponential(low: float, high: float, steps: int) -> list[float]:
    """``steps`` numbers from ``low`` to ``high``, each the same factor above the last."""
    return [low * (high / low) ** (number / (steps - 1)) for number in range(steps)]


def sweep(
    state: RunState,
    settings: Settings,
    batch_of: Callable[[int], Batch],
    loss_of: Loss,
    ratios: Sequence[float],
    *,
    stop: Callable[[], bool],
    shown: Progress,
) -> Sweep:
    """Train ``state`` by one step at each of ``ratios``, until it diverges.

    Args:
        settings: of the run; its schedule is left out.
        batch_of: number of a step → its batch, on the CPU.
        stop: whether to end after this step with what there is.
    """
    flat = replace(settings, schedule="constant", warmup_steps=0, batch_size_ramp=None)
    losses: list[float] = []
    watch = Watch()
    state.model.train()
    for number in range(len(ratios) + 1):
        batch = batch_of(number).to(settings.device)
        found = gradients(state, flat, batch, counts_of(batch), loss_of)
        loss, norm = found.numbers()
        losses.append(loss)
        broken = watch.diverges(loss) or not math.isfinite(norm)
        if broken or number == len(ratios) or stop():
            drop_gradients(state)
            break
        apply_gradients(state, flat, found, factor=ratios[number])
        shown.advance(1, f"loss {loss:.3f}")
    return Sweep(tuple(ratios[: len(losses) - 1]), tuple(losses[1:]), losses[0], broken)


class Watch:
    """Sees a divergence while it happens: the running mean of the loss, and the best it was."""

    def __init__(self) -> None:
        self.sum = self.weight = 0.0
        self.first = self.best = math.nan

    def diverges(self, loss: float) -> bool:
        """Whether training is broken, now that a step has had this loss."""
        if not math.isfinite(loss):
            return True
        self.sum = RUNNING * self.sum + (1 - RUNNING) * loss
        self.weight = RUNNING * self.weight + (1 - RUNNING)
        mean = self.sum / self.weight
        if math.isnan(self.first):
            self.first = self.best = mean
        self.best = min(self.best, mean)
        return mean > self.best + max(self.first - self.best, LEAST_RISE * abs(self.first))


def read_range(found: Sweep, n_planned: int) -> Range:
    """What a sweep says.

    Args:
        n_planned: steps of the whole sweep, also where it ended before: the smoothing's measure.
    """
    losses = np.array(found.losses)
    finite = np.isfinite(losses)
    n = int(finite.argmin()) if not finite.all() else len(losses)
    diverged = found.ratios[-1] if found.diverged and found.ratios else None
    if n < FEWEST:
        return Range(None, None, diverged, None, tuple(losses.tolist()))
    # A level that is blown up would draw the lines beside it after it.
    held = np.minimum(losses[:n], max(found.first, losses[0]) * (1 + LEAST_RISE))
    smoothed, slopes = local_lines(held, WIDTH * n_planned)
    lowest = int(smoothed.argmin())
    falling = int(slopes[: lowest + 1].argmin())
    scatter = float((held - smoothed).std())
    falls = smoothed[: lowest + 1].max() - smoothed[lowest] > BEYOND_SCATTER * scatter
    steepest = found.ratios[falling] if falls and slopes[falling] < 0 else None
    suggested = steepest
    if steepest is not None and diverged is not None:
        suggested = min(found.ratios[lowest], A_TENTH * diverged)
    shown = (*smoothed.tolist(), *losses[n:].tolist())
    return Range(steepest, found.ratios[lowest], diverged, suggested, shown)


def local_lines(values: Floats, width: float) -> tuple[Floats, Floats]:
    """Level and slope a step of lines fitted around each value, by weighted least squares.

    Args:
        values: [n], at equal distances.
        width: standard deviation of the Gaussian weights, in steps.

    Returns:
        [n] and [n]; exact for values on a line.
    """
    places = np.arange(len(values), dtype=np.float64)
    apart = places[None, :] - places[:, None]  # [n, n]
    weights = np.exp(-0.5 * (apart / width) ** 2)
    s0, s1, s2 = (np.asarray((weights * apart**power).sum(1)) for power in (0, 1, 2))
    t0, t1 = weights @ values, (weights * apart) @ values
    determinant = s0 * s2 - s1 * s1
    return (s2 * t0 - s1 * t1) / determinant, (s0 * t1 - s1 * t0) / determinant
