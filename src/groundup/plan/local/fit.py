"""Fit the law of `law.py` to a dozen finished runs of our own; `plan.fit` is for hundreds.

Huber loss on log error as in Hoffmann et al. (2022, appendix D.3) and its replication by Besiroglu
et al. (2024, arXiv:2404.10102): the sum, not the mean, whose early end was the original's mistake.

A dozen runs cannot hold five free numbers. `fit_small_scale` therefore has

- one exponent for both terms, as Muennighoff et al. (2023) fit theirs;
- a wide prior on that exponent and on the optimal tokens per parameter, centred on the published
  laws, so that a direction about which the runs say nothing stays sane;
- D0 ≥ 0 with a half-normal prior.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from groundup.errors import InputError
from groundup.plan.local.law import Coefficients, Law, Run
from groundup.plan.solve import Vector, minimise

HUBER_DELTA = 1e-3  # Hoffmann et al. 2022, appendix D.3
RUN_NOISE = 0.01  # spread of log loss between seeds; sets how much the runs outweigh the priors
EXPONENT_PRIOR = (0.35, 0.1)  # mean, sd; Besiroglu .348/.366, Muennighoff .353
TOKENS_PER_PARAMETER_PRIOR = (20.0, 1.5)  # Hoffmann et al. 2022, table 3; sd of its logarithm
OFFSET_PRIOR = 2e5  # scale of D0 in tokens: some tens of warm-up steps
LEAST_RUNS = 6


def fit_law(runs: Sequence[Run]) -> Law:
    """Fit the small-scale law to ``runs``, and once more without each of them for its band.

    Runs of one size and length (other seeds) are left out together.

    Raises:
        InputError: fewer than six different runs, or a number that is not positive.
    """
    groups = sorted({(run.parameters, run.tokens) for run in runs})
    if len(groups) < LEAST_RUNS:
        raise InputError(
            f"a law needs {LEAST_RUNS} runs of different size or length, there are {len(groups)}",
            fix="add runs: several sizes, and for each several numbers of tokens",
        )
    coefficients = fit_small_scale(runs)
    refits = tuple(
        fit_small_scale(
            [run for run in runs if (run.parameters, run.tokens) != group], start=coefficients
        )
        for group in groups
    )
    squares = sum(
        math.log(coefficients.loss(run.parameters, run.effective_tokens) / run.loss) ** 2
        for run in runs
    )
    # The priors hold about one of the five unknowns; the runs pay for four.
    freedom = len(runs) - 4
    return Law(
        coefficients,
        refits,
        math.sqrt(squares / freedom),
        freedom,
        (min(run.parameters for run in runs), max(run.parameters for run in runs)),
        (min(run.tokens for run in runs), max(run.tokens for run in runs)),
        tuple(sorted({run.corpus for run in runs if run.corpus})),
    )


def fit_small_scale(runs: Sequence[Run], start: Coefficients | None = None) -> Coefficients:
    """The regularised fit of few runs: tied exponents, priors, an offset (see the file's head)."""
    log_loss = _log_loss_of(runs)
    log_ratio, ratio_spread = math.log(TOKENS_PER_PARAMETER_PRIOR[0]), TOKENS_PER_PARAMETER_PRIOR[1]

    def read(point: Vector) -> Coefficients:
        log_e, log_b, exponent, log_tokens_per_parameter, offset = map(float, point)
        # L's optimum at fixed N·D has D/N = (B/A)^(1/exponent): the ratio stands for A.
        log_a = log_b - exponent * log_tokens_per_parameter
        offset_tokens = abs(offset) * OFFSET_PRIOR
        return Coefficients(
            _exp(log_e), _exp(log_a), exponent, _exp(log_b), exponent, offset_tokens
        )

    def objective(point: Vector) -> float:
        exponent, ratio, offset = float(point[2]), float(point[3]), float(point[4])
        if exponent <= 0.01:
            return math.inf
        prior = ((exponent - EXPONENT_PRIOR[0]) / EXPONENT_PRIOR[1]) ** 2
        prior += ((ratio - log_ratio) / ratio_spread) ** 2 + offset**2
        # Huber over delta is |log error| beyond delta, so this is a Laplace likelihood of scale
        # RUN_NOISE with the Gaussian priors beside it.
        error = log_loss(read(point))
        return float(np.sum(_huber(error)) / (HUBER_DELTA * RUN_NOISE)) + 0.5 * prior

    if start is not None:
        ratio = math.log(start.b / start.a) / start.alpha
        offset = start.offset_tokens / OFFSET_PRIOR
        starts = [[math.log(start.irreducible), math.log(start.b), start.alpha, ratio, offset]]
    else:
        least = min(run.loss for run in runs)
        middle = math.exp(float(np.mean([math.log(run.effective_tokens) for run in runs])))
        starts = [
            # E a share of the least loss, B such that a middling run has about the least loss
            [math.log(share * least), math.log(least * middle**exponent), exponent, log_ratio, 0.5]
            for share in (0.2, 0.5, 0.8)
            for exponent in (0.2, 0.4)
        ]
    return read(minimise(objective, starts))


def _log_loss_of(runs: Sequence[Run]) -> Callable[[Coefficients], Vector]:
    """A function from coefficients to the log errors of all ``runs`` at once."""
    for run in runs:
        if not (0 < run.parameters < math.inf and 0 < run.tokens < math.inf and 0 < run.loss < 1e9):
            raise InputError(f"a run with a number that is not positive: {run}")
    log_n = np.log([run.parameters for run in runs])
    tokens = np.array([run.effective_tokens for run in runs])
    log_measured = np.log([run.loss for run in runs])

    def log_error(c: Coefficients) -> Vector:
        size = c.a * np.exp(-c.alpha * log_n)
        data = c.b * (tokens + c.offset_tokens) ** -c.beta
        errors: Vector = np.log(c.irreducible + size + data) - log_measured
        return errors

    return log_error


def _huber(error: Vector) -> Vector:
    """Quadratic within `HUBER_DELTA`, linear beyond."""
    size = np.abs(error)
    loss: Vector = np.where(
        size <= HUBER_DELTA, 0.5 * size**2, HUBER_DELTA * (size - 0.5 * HUBER_DELTA)
    )
    return loss


def _exp(logarithm: float) -> float:
    """``exp`` that a wandering simplex cannot overflow."""
    return math.exp(min(max(logarithm, -50.0), 50.0))
