"""What counts as an alarm: a loss or gradient norm far above what the last steps had.

The robust z score of a value x over a window w of accepted steps is

    z = (x - median(w)) / max(1.4826 · MAD(w), floor)        MAD(w) = median(|w - median(w)|)

Median and MAD are not moved by what they are to find, which mean and standard deviation are. The
gradient norm is scored by its logarithm: it is spread over factors, not differences. Only what is
too *high* is an alarm; what is not finite always is. From three quarters of a limit on a step is
suspicious: no alarm, but enough to look at the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite, log
from typing import Any

from groundup.train.guard.config import GuardConfig

SIGMA_PER_MAD = 1.4826  # of a normal distribution: 1 / Φ⁻¹(3/4)
# Floors of the spread (docs/reliability.md): a window that happens to be calm raises no alarm.
LOSS_FLOOR = 0.02  # of the median loss
LOG_GRAD_NORM_FLOOR = 0.1
SUSPICIOUS = 0.75  # of the limits
GRAD_NORM_ALONE = 2.0  # times its limit, beyond which a batch with a usual loss is bad all the same
SMALLEST = 1e-30  # a gradient of zeros has no logarithm


@dataclass(frozen=True)
class Scores:
    """How unusual one step is.

    Attributes:
        loss, grad_norm: nats; before clipping.
        loss_z, grad_norm_z: robust z scores; None before the window is filled, and of what is not
            finite.
        reasons: why it is an alarm, in words; empty where it is none.
        suspicions: the same for what is suspicious, alarms among it.
    """

    loss: float
    grad_norm: float
    loss_z: float | None
    grad_norm_z: float | None
    reasons: tuple[str, ...]
    suspicions: tuple[str, ...]

    @property
    def is_finite(self) -> bool:
        """Whether both numbers are."""
        return isfinite(self.loss) and isfinite(self.grad_norm)

    def is_only_suspicious(self, config: GuardConfig) -> bool:
        """Whether the loss raises no alarm, and the gradient norm is not far beyond its limit.

        Good text does that too: of 30,576 batches of clean runs 32 were beyond it, to 12.9.
        """
        if self.loss_z is None or self.grad_norm_z is None:
            return False
        far = GRAD_NORM_ALONE * config.grad_norm_threshold
        return self.loss_z <= config.loss_threshold and self.grad_norm_z <= far

    def details(self) -> dict[str, Any]:
        """As JSON, which has no NaN."""
        numbers = {"loss": self.loss, "grad_norm": self.grad_norm,
                   "loss_z": self.loss_z, "grad_norm_z": self.grad_norm_z}  # fmt: skip
        return {name: plain(value) for name, value in numbers.items()}


def score(
    config: GuardConfig,
    losses: Sequence[float],
    grad_norms: Sequence[float],
    loss: float,
    grad_norm: float,
) -> Scores:
    """Compare a step with those accepted before it (``losses``, ``grad_norms``)."""
    names = {"loss": loss, "gradient norm": grad_norm}
    endless = tuple(
        f"the {name} is {value}" for name, value in names.items() if not isfinite(value)
    )
    if endless or config.policy == "off" or len(losses) < config.armed_after:
        return Scores(loss, grad_norm, None, None, endless, endless)
    usual, spread = usual_and_spread(losses)
    loss_z = (loss - usual) / max(spread, LOSS_FLOOR * abs(usual), SMALLEST)
    usual_log, spread = usual_and_spread([log(max(norm, SMALLEST)) for norm in grad_norms])
    log_norm = log(max(grad_norm, SMALLEST))
    grad_norm_z = (log_norm - usual_log) / max(spread, LOG_GRAD_NORM_FLOOR)
    said = (
        (
            loss_z / config.loss_threshold,
            f"the loss {loss:.4g} is {loss_z:.1f} robust standard deviations above the median "
            f"{usual:.4g} of the last {len(losses)} steps (limit {config.loss_threshold:g})",
        ),
        (
            grad_norm_z / config.grad_norm_threshold,
            f"the gradient norm {grad_norm:.4g} is {grad_norm_z:.1f} above the median "
            f"{exp(usual_log):.4g} (limit {config.grad_norm_threshold:g})",
        ),
    )
    return Scores(
        loss,
        grad_norm,
        loss_z,
        grad_norm_z,
        reasons=tuple(text for share, text in said if share > 1),
        suspicions=tuple(text for share, text in said if share > SUSPICIOUS),
    )


def usual_and_spread(window: Sequence[float]) -> tuple[float, float]:
    """The median, and the robust standard deviation."""
    middle = median(window)
    return middle, SIGMA_PER_MAD * median([abs(x - middle) for x in window])


def median(values: Sequence[float]) -> float:
    """The middle one, or the mean of the two; `statistics.median` without its checks."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else 0.5 * (ordered[half - 1] + ordered[half])


def plain(value: float | None) -> float | str | None:
    """A number as JSON may hold it: what is not finite as its name."""
    return value if value is None or isfinite(value) else str(value)
