"""Fit a scaling law to a table of runs, and say how far to trust it.

    L(N, D) = E + A / N^alpha + B / D^beta         optimum N ~ C^a, D ~ C^b, a = beta/(alpha+beta)

The fit itself is `huber.fit_points` (Hoffmann et al. 2022, approach 3). Around it:

- **Standard errors and intervals** by the bootstrap (Efron 1979): the runs are drawn anew with
  replacement and refitted, as Besiroglu et al. (2024, arXiv:2404.10102) do.
- **Outliers.** The formula knows no warm-up, so runs of very few tokens per parameter lie above any
  law and bend it: on the 245 digitised points of Hoffmann et al. five runs move B sixfold. As many
  runs of smallest D/N are left out as can be while the law of the others misses each of their
  losses by more than `OUTLIER_ERROR` and by `OUTLIER_SPREADS` times the spread of the others, up to
  `MOST_OUTLIERS` of all (or a few of a small table). The search goes from the most downward: from
  none upward one outlier would hide behind the next. The rule leaves out the five that Besiroglu et
  al. left out. The law with and without them is always shown. Outliers elsewhere are only named:
  Huber's loss bears them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from groundup.errors import InputError
from groundup.plan.huber import (
    DRAW,
    EXPONENT_BOUNDS,
    FAST,
    Point,
    Points,
    descend,
    fit_points,
    points_of,
)
from groundup.plan.limits import GUESSING_LOSS
from groundup.plan.loss_surface import LossSurface
from groundup.plan.run_table import Run, require_runs
from groundup.plan.solve import Vector
from groundup.progress import progress

N_COEFFICIENTS = 5
LEAST_RUNS = 6  # of different size or length: one more than there are coefficients
LEAST_SIZES = LEAST_LENGTHS = 3  # two cannot tell an exponent from E
FEW_RUNS = 20
OUTLIER_ERROR = 0.05  # of the loss: some ten times what seeds differ by
OUTLIER_SPREADS = 5.0  # robust standard deviations of the other runs' errors
MOST_OUTLIERS = 0.1  # of all runs,
FEW_OUTLIERS = 5  # or so many, if they are
FEW_SHARE = 0.2  # at most this share of a small table
OUTLIER_STEPS = 50  # numbers of outliers tried on a large table, before the exact one is looked for
SHOWN_WITHOUT = 0.02  # of the runs, where the rule leaves out none: 5 of 245
NAMED = 5  # largest errors in the report
INTERVAL = (2.5, 97.5)  # percentiles: 95 %
UNSETTLED = 0.1  # of the samples cut off: above it the runs do not hold the coefficients
REDRAWS = 20  # bootstrap samples tried for each that can be fitted
NOTHING = 1e-3  # of the least loss: a term below it is not seen
SAME_RATIO = 0.02  # spread of log D/N below which N and D say the same


@dataclass(frozen=True)
class Outlier:
    """A run that the report names."""

    params: float
    tokens: float
    loss: float
    tokens_per_param: float
    predicted: float  # by the law that is the headline
    error: float  # log(loss / predicted): above zero the run is worse than the law
    dropped: bool
    where: str


@dataclass(frozen=True)
class Refit:
    """A law, and how many runs it was fitted to."""

    law: LossSurface
    n_points: int
    n_dropped: int  # of the smallest tokens per parameter

    @property
    def a(self) -> float:
        """Exponent of the optimal parameters: N ~ C^a."""
        return self.law.beta / (self.law.alpha + self.law.beta)

    @property
    def b(self) -> float:
        """Exponent of the optimal tokens: D ~ C^b."""
        return 1 - self.a

    def coefficients(self) -> dict[str, float]:
        """E, A, B, alpha, beta, a and b by name."""
        law = self.law
        names = ("E", "A", "B", "alpha", "beta", "a", "b")
        values = (law.irreducible, law.a, law.b, law.alpha, law.beta, self.a, self.b)
        return dict(zip(names, values, strict=True))


@dataclass(frozen=True)
class Fit:
    """The law of some runs, and what is known of its error."""

    headline: Refit
    why: str  # why this one is the headline
    with_all: Refit
    without_outliers: Refit
    standard_errors: dict[str, float | None]  # by the names of `Refit.coefficients`
    intervals: dict[str, tuple[float, float] | None]  # 95 %
    n_bootstrap: int  # samples behind both
    spread: float  # robust standard deviation of the runs' log error
    smallest_tokens_per_param: tuple[Outlier, ...]
    largest_errors: tuple[Outlier, ...]  # of the runs that were kept
    notes: tuple[str, ...]

    @property
    def law(self) -> LossSurface:
        """The headline's coefficients."""
        return self.headline.law


def fit_runs(
    runs: Sequence[Run], *, drop: int | None = None, n_bootstrap: int = 200, seed: int = 0
) -> Fit:
    """Fit the law to ``runs``.

    Args:
        runs: of one recipe and corpus, several sizes and lengths.
        drop: how many runs of the smallest D/N to leave out; None: by the rule above.
        n_bootstrap: samples for standard errors and intervals; 0: none.
        seed: of the bootstrap.

    Raises:
        InputError: a number that is not positive, too few runs, sizes or lengths, or a ``drop``
            that leaves too few.
    """
    require_runs(runs)
    notes: list[str] = []
    unique = list(dict.fromkeys((run.params, run.tokens, run.loss) for run in runs))
    if len(unique) < len(runs):
        n = len(runs) - len(unique)
        notes.append(f"{n} rows repeat another in every number; each is counted once")
    first = {(run.params, run.tokens, run.loss): run for run in reversed(runs)}
    ordered = sorted((first[key] for key in unique), key=lambda run: run.tokens_per_param)
    _require_enough(ordered)
    if drop is not None and (drop < 0 or not _enough(ordered[drop:])):
        raise InputError(
            f"drop is {drop}, which leaves {max(len(ordered) - max(drop, 0), 0)} of "
            f"{len(ordered)} runs",
            where="drop",
            fix=f"leave at least {LEAST_RUNS} runs, of {LEAST_SIZES} sizes and lengths",
        )

    whole = points_of(ordered)
    point_of_all = fit_points(whole)
    with_all = Refit(whole.surface(point_of_all), len(ordered), 0)
    n_outliers = count_outliers(ordered) if drop is None else drop
    n_without = n_outliers or max(1, round(SHOWN_WITHOUT * len(ordered)))
    without = with_all
    if _enough(ordered[n_without:]):
        left = points_of(ordered[n_without:])
        without = Refit(left.surface(fit_points(left)), len(ordered) - n_without, n_without)
    headline = without if n_outliers else with_all

    kept = points_of(ordered[n_outliers:])
    best = _point(headline.law, kept)
    unidentified = _same_ratio(ordered[n_outliers:])
    samples, n_cut = bootstrap(kept, best, 0 if unidentified else n_bootstrap, seed)
    vague = n_cut > UNSETTLED * n_bootstrap
    if vague:
        notes.append(
            f"{n_cut} of {len(samples)} bootstrap samples found no end: the runs do not hold the "
            "coefficients, and no standard errors are given; do not extrapolate"
        )
    elif len(samples) < n_bootstrap and not unidentified:
        notes.append(
            f"only {len(samples)} of {n_bootstrap} bootstrap samples had enough sizes and lengths"
        )
    samples = [] if vague else samples
    errors_of_kept = kept.errors(best)
    spread = _spread(errors_of_kept)
    named = [_outlier(run, headline.law, place < n_outliers) for place, run in enumerate(ordered)]
    worst = sorted(named[n_outliers:], key=lambda run: -abs(run.error))
    n_small = max(n_outliers, NAMED)
    return Fit(
        headline,
        _why(drop, n_outliers),
        with_all,
        without,
        _standard_errors(samples, headline),
        _intervals(samples, headline),
        len(samples),
        spread,
        tuple(named[:n_small]),
        tuple(worst[:NAMED]),
        (*notes, *_notes(ordered[n_outliers:], samples, headline)),
    )


def count_outliers(runs: Sequence[Run]) -> int:
    """How many runs of the smallest D/N the rule at the head of this file leaves out.

    Args:
        runs: in order of tokens per parameter.
    """
    few = min(FEW_OUTLIERS, int(FEW_SHARE * len(runs)))
    most = max(int(MOST_OUTLIERS * len(runs)), few)
    while most and not _enough(runs[most:]):
        most -= 1
    if not most:
        return 0
    rest = points_of(runs[most:])
    law = rest.surface(fit_points(rest))

    def are_outliers(n: int) -> bool:
        """Whether the law of ``runs[n:]`` misses each of those before."""
        rest = points_of(runs[n:])
        point = descend(rest, _point(law, rest), options=FAST).point
        # Of few runs the law passes through as many as it has coefficients: they show no spread.
        errors = np.sort(np.abs(rest.errors(point)))[N_COEFFICIENTS:]
        limit = max(OUTLIER_ERROR, OUTLIER_SPREADS * _spread(errors))
        of_rest = rest.surface(point)
        return all(abs(_outlier(run, of_rest, True).error) > limit for run in runs[:n])

    step = max(1, most // OUTLIER_STEPS)
    found = next((n for n in range(most, 0, -step) if are_outliers(n)), 0)
    between = range(min(found + step - 1, most), found, -1)
    return next((n for n in between if are_outliers(n)), found)


def bootstrap(points: Points, best: Point, n_samples: int, seed: int) -> tuple[list[Refit], int]:
    """Refits to draws of the points with replacement, and how many of them were cut off.

    Each begins at ``best``. Draws with too few sizes or lengths for a fit are drawn again. Where
    too many are cut off there are no more.
    """
    n = len(points.log_n)
    random = np.random.default_rng(seed)
    found: list[Refit] = []
    n_cut = 0
    with progress("bootstrap", n_samples, "samples") as job:
        for _ in range(REDRAWS * n_samples):
            if len(found) == n_samples or n_cut > UNSETTLED * n_samples:
                break
            weights = random.multinomial(n, np.full(n, 1 / n)).astype(float)
            drawn = weights > 0
            sizes, lengths = points.log_n[drawn], points.log_d[drawn]
            if _few(sizes, lengths):
                continue
            end = descend(points, best, weights, DRAW)
            found.append(Refit(points.surface(end.point), n, 0))
            n_cut += not end.settled
            job.advance(1)
    return found, n_cut


def _require_enough(runs: Sequence[Run]) -> None:
    """Refuse runs that cannot hold five coefficients."""
    sizes, lengths = {run.params for run in runs}, {run.tokens for run in runs}
    pairs = {(run.params, run.tokens) for run in runs}
    for found, least, what in (
        (len(pairs), LEAST_RUNS, "runs of different size or length"),
        (len(sizes), LEAST_SIZES, "different numbers of parameters"),
        (len(lengths), LEAST_LENGTHS, "different numbers of tokens"),
    ):
        if found < least:
            raise InputError(
                f"a law of five coefficients needs {least} {what}, there are {found}",
                where="the table of runs",
                fix="add runs: several sizes, and for each several numbers of tokens",
            )


def _enough(runs: Sequence[Run]) -> bool:
    if not runs:
        return False
    points = points_of(runs)
    return not _few(points.log_n, points.log_d)


def _few(sizes: Vector, lengths: Vector) -> bool:
    """Whether these logarithms are those of too few runs."""
    pairs = np.unique(np.stack([sizes, lengths]), axis=1).shape[1]
    return (
        pairs < LEAST_RUNS
        or len(np.unique(sizes)) < LEAST_SIZES
        or len(np.unique(lengths)) < LEAST_LENGTHS
    )


def _point(law: LossSurface, points: Points) -> Point:
    """Where ``law`` stands in the search over ``points``."""
    a = np.log(law.a) - law.alpha * points.mean_n
    b = np.log(law.b) - law.beta * points.mean_d
    return np.array([np.log(law.irreducible), a, law.alpha, b, law.beta])


def _spread(errors: Vector) -> float:
    """Robust standard deviation: 1.4826 times the median of the absolute values."""
    return 1.4826 * float(np.median(np.abs(errors)))


def _outlier(run: Run, law: LossSurface, dropped: bool) -> Outlier:
    predicted = law.loss(run.params, run.tokens)
    error = float(np.log(run.loss / predicted))
    ratio = run.tokens_per_param
    return Outlier(run.params, run.tokens, run.loss, ratio, predicted, error, dropped, run.where)


def _columns(samples: Sequence[Refit]) -> dict[str, Vector]:
    """Coefficient → its values over the samples."""
    rows = [sample.coefficients() for sample in samples]
    return {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}


def _standard_errors(samples: Sequence[Refit], of: Refit) -> dict[str, float | None]:
    columns = _columns(samples)
    return {
        name: float(columns[name].std(ddof=1)) if len(samples) > 1 else None
        for name in of.coefficients()
    }


def _intervals(samples: Sequence[Refit], of: Refit) -> dict[str, tuple[float, float] | None]:
    columns = _columns(samples)
    ends = {name: np.percentile(values, INTERVAL) for name, values in columns.items()}
    return {
        name: (float(ends[name][0]), float(ends[name][1])) if len(samples) > 1 else None
        for name in of.coefficients()
    }


def _why(drop: int | None, n: int) -> str:
    """Why the headline is the headline, in a sentence."""
    if drop is not None:
        return f"the {n} runs of fewest tokens per parameter are left out, as asked"
    if not n:
        return "every run is in the fit: none of fewest tokens per parameter is an outlier"
    return (
        f"the {n} runs of fewest tokens per parameter are left out: the law of the others misses "
        f"each by more than {OUTLIER_ERROR:.0%} and {OUTLIER_SPREADS:g} times their own spread"
    )


def _same_ratio(runs: Sequence[Run]) -> bool:
    """Whether all have nearly the same tokens per parameter."""
    return float(np.log([run.tokens_per_param for run in runs]).std()) < SAME_RATIO


def _notes(runs: Sequence[Run], samples: Sequence[Refit], headline: Refit) -> list[str]:
    """What a reader must know to judge the coefficients."""
    notes = []
    if len(runs) < FEW_RUNS:
        notes.append(f"{len(runs)} runs are few for five coefficients: look at the intervals")
    if _same_ratio(runs):
        notes.append(
            "all runs have nearly the same tokens per parameter: they cannot tell what parameters "
            "do from what tokens do, and no standard errors are given"
        )
    if max(run.loss for run in runs) > GUESSING_LOSS:
        notes.append(
            f"losses above {GUESSING_LOSS:.0f} are worse than guessing: if these are perplexities, "
            "give their natural logarithm"
        )
    law = headline.law
    if law.irreducible < NOTHING * min(run.loss for run in runs):
        notes.append("E is nothing beside the losses: the runs show no floor yet")
    for what, count, exponent, values in (
        ("parameters", law.a, law.alpha, [run.params for run in runs]),
        ("tokens", law.b, law.beta, [run.tokens for run in runs]),
    ):
        gain = count * (min(values) ** -exponent - max(values) ** -exponent)
        if gain < NOTHING * min(run.loss for run in runs):
            notes.append(
                f"more {what} do not lower the loss of these runs: the coefficients of that term, "
                "and with them the optimum, mean nothing"
            )
        elif not 1.01 * EXPONENT_BOUNDS[0] < exponent < 0.99 * EXPONENT_BOUNDS[1]:
            notes.append(
                f"the exponent of {what} ran into its bound of {exponent:.3g}: the runs do not "
                "have this form"
            )
    errors = _standard_errors(samples, headline)
    vague = [
        name
        for name in ("E", "alpha", "beta")
        if (errors[name] or 0.0) > 0.5 * headline.coefficients()[name]
    ]
    if vague:
        notes.append(
            f"the standard error of {', '.join(vague)} is more than half of the value: the runs do "
            "not hold it; do not extrapolate"
        )
    given = [run.flops / (6 * run.params * run.tokens) for run in runs if run.given_flops]
    if given and abs(float(np.log(np.median(given)))) > np.log(1.2):
        notes.append(
            f"the FLOPs of the table are {np.median(given):.2g} times 6·N·D: are the parameters "
            "without embeddings, or the tokens of another count?"
        )
    return notes
