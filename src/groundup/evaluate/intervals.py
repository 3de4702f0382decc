"""How sure a figure is: 95 % intervals, so that nobody reads noise as progress."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Z = 1.959964  # 97.5 % point of the normal distribution
RESAMPLES = 2000


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Interval of a share (Wilson 1927): honest also near 0 and 1, where the usual one is not."""
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def ratio_interval(
    above: npt.NDArray[np.float64], below: npt.NDArray[np.float64]
) -> tuple[float, float]:
    """Bootstrap interval of ``above.sum() / below.sum()`` over documents (Efron 1979).

    Documents, not tokens, are drawn anew: tokens of one document are much alike.
    """
    drawn = np.random.default_rng(0).integers(0, len(above), (RESAMPLES, len(above)))
    ratios = above[drawn].sum(axis=1) / below[drawn].sum(axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(low), float(high)
