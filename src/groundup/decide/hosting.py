"""Hours of the chips that hold a model, month by month.

    hours of a month = max(chips that hold it × hours of a month,  tokens × chip-seconds a token)

The chips are paid even when nobody asks, and more of them in every month whose volume needs it: a
volume that grows is summed month by month, not at its mean. What a token takes is the roofline of
`ownership.serving`, on chips that work a part of the hours they are paid for.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate

from groundup.decide.catalogs import assumed
from groundup.decide.ownership import DAYS_PER_MONTH, serving
from groundup.plan.hardware import Chip

HOURS_PER_MONTH = DAYS_PER_MONTH * 24


@dataclass(frozen=True)
class Hosting:
    """A model that is served over some months."""

    least_hours: float  # chip-hours a month that hold it
    token_hours: float  # paid chip-hours for one token of all
    factors: tuple[float, ...]  # each month's volume over that of the first, ascending
    sums: tuple[float, ...]  # of the factors from each place on

    def hours(self, tokens_per_month: float) -> float:
        """Chip-hours over all months; the volume is that of the first."""
        if tokens_per_month <= 0:
            return self.least_hours * len(self.factors)
        held = self.least_hours / (tokens_per_month * self.token_hours)
        quiet = bisect_left(self.factors, held)  # months in which holding it is enough
        return self.least_hours * quiet + tokens_per_month * self.token_hours * self.sums[quiet]

    def corners(self) -> list[float]:
        """Volumes of the first month at which another month needs more chips, ascending."""
        volumes = {self.least_hours / (factor * self.token_hours) for factor in self.factors}
        return sorted(volumes)


def hosting(
    params: float, chip: Chip, *, output_share: float, months: int, growth_per_month: float
) -> Hosting:
    """What hosting takes.

    Args:
        params: of the model.
        chip: that holds it.
        output_share: of all tokens, those the model writes.
        months: over which hours are added up.
        growth_per_month: of the volume, 0.05 is 5 %.

    Raises:
        InputError: an absurd size, or a chip whose memory is not known.
    """
    batch, margin = int(assumed("serving_batch")), assumed("memory_margin")
    one = serving(params, chip, batch=batch, memory_margin=margin)
    seconds = (1 - output_share) * one.input_seconds + output_share * one.output_seconds
    factors = sorted((1 + growth_per_month) ** month for month in range(months))
    sums = [*accumulate(reversed(factors), initial=0.0)]
    return Hosting(
        least_hours=one.n_chips * HOURS_PER_MONTH,
        token_hours=seconds / assumed("serving_utilisation") / 3600,
        factors=tuple(factors),
        sums=tuple(reversed(sums)),
    )
