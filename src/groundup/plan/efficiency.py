"""The efficiency of training: a small model of MFU, fitted to published runs when it is needed.

    1 / MFU = Σ coefficient · term          terms: `efficiency_terms`, rows: `published`

The coefficients (12, none below zero) minimise the relative error of the step time, absolute rather
than squared, so that one odd row does not bend the rest. They are fitted from the catalog at first
use (a sixth of a second) and kept; none is typed in. The band of a prediction comes from rows that
the fit had not seen: rows of the same family for a kind of run and a chip that the tables hold, and
rows of chips left out wholly for others. MFU counts what the model needs, HFU what the hardware
does, recomputation included; neither counts lost time (that is goodput, see `time`). One layout or
numpy columns of them: `time` and the search for layouts read the same numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundup.architecture.config import ModelConfig
from groundup.architecture.counts import active_parameters, parameters
from groundup.plan.communication import Numbers
from groundup.plan.efficiency_terms import TERMS, Job, Values, recomputed_flops, terms
from groundup.plan.hardware import Chip
from groundup.plan.limits import require_chips, require_context, require_positive
from groundup.plan.parallelism import Layout
from groundup.plan.published import Published, published_runs

BAND = (0.10, 0.90)  # of the errors of rows not used in the fit: 8 of 10 runs lie inside
FOLDS = 10
FEW = 5  # published runs of a kind, below which a prediction is said to extrapolate

Array = NDArray[np.float64]
Kind = tuple[str, str, bool]  # family, chip and flash attention


@dataclass(frozen=True)
class Efficiency:
    """Predicted shares of the dense peak; ``low`` and ``high`` are a band for the MFU."""

    mfu: float
    low: float
    high: float
    hfu: float
    source: str
    parts: dict[str, float]  # share of the step's time by cause, those above half a percent
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shares:
    """Of one layout or of columns of them: shares of the peak, and where the step's time goes."""

    mfu: Numbers
    hfu: Numbers
    parts: Values  # share of the step's time, by cause and term

    def of(self, cause: str) -> Numbers:
        """Share of one of `efficiency_terms.CAUSES`."""
        return sum(self.parts[cause].values())


def predict_efficiency(
    config: ModelConfig,
    chip: Chip,
    layout: Layout,
    *,
    context_length: int,
    global_batch_size: float,
    precision: str | None = None,
    flash_attention: bool = True,
) -> Efficiency:
    """The MFU and HFU that published runs let one expect.

    Args:
        config: the model.
        chip: what it trains on.
        layout: how the job is spread; it says how many chips.
        context_length: tokens per sequence.
        global_batch_size: sequences of a step; a replica does at least one micro-batch.
        precision: of the products; None: what the chip trains in.
        flash_attention: without it scores go through memory, and the software is that of 2021-22.

    Raises:
        InputError: a size that is not positive or absurd, or a precision the chip has no peak for.
    """
    require_chips(layout.n_chips)
    require_context(context_length)
    require_positive(global_batch_size, "global_batch_size")
    precision = precision or chip.training_precision
    job = Job(config, chip, context_length, global_batch_size, precision, flash_attention)
    return efficiency_of(job, layout)


def efficiency_of(job: Job, layout: Layout) -> Efficiency:
    """As `predict_efficiency`, of a job that is there already.

    Raises:
        InputError: the chip has no peak in the job's precision.
    """
    found = shares_of(job, layout)
    expected = expected_of(job, layout, float(found.mfu))
    parts: Counter[str] = Counter()
    for cause, share in found.parts.items():
        split = share if cause in ("kernels", "data") else {cause: found.of(cause)}
        parts.update({name: float(value) for name, value in split.items()})
    kind = "known chip" if _kind(job, layout) in fitted().kinds else "new chip"
    return Efficiency(
        mfu=expected.mfu,
        low=expected.low,
        high=expected.high,
        hfu=float(found.hfu) * expected.mfu / float(found.mfu),
        source=f"fitted to {fitted().n_rows} published runs; band: {_family(layout)}, {kind}",
        parts={name: share for name, share in parts.items() if share >= 0.005},
        notes=(*job.chip.assumed, *expected.notes),
    )


def shares_of(job: Job, layout: Any) -> Shares:
    """MFU, HFU and where the time goes, of a `Layout` or of an object with columns as its fields.

    Raises:
        InputError: the chip has no peak in the job's precision.
    """
    coefficients = dict(zip(TERMS, fitted().coefficients.tolist(), strict=True))
    times = {
        cause: {name: coefficients[name] * value for name, value in part.items()}
        for cause, part in terms(job, layout).items()
    }
    total = sum(value for part in times.values() for value in part.values())
    again = (
        recomputed_flops(job.model_flops, job.attention_flops, layout.recompute) / job.model_flops
    )
    mfu = np.minimum(1 / total, job.chip.attainable_share / again)
    parts = {
        cause: {name: value / total for name, value in part.items()}
        for cause, part in times.items()
    }
    return Shares(mfu, mfu * again, parts)


@dataclass(frozen=True)
class Expected:
    """An MFU to plan with, its band and what is unlike the published runs."""

    mfu: float
    low: float
    high: float
    notes: tuple[str, ...]


def expected_of(job: Job, layout: Layout, mfu: float) -> Expected:
    """The model's ``mfu`` with its band; where it extrapolates, no more than was ever published.

    The sum of fitted terms can leave all its rows behind where it has few or none of a kind
    (70 % for GPT-NeoX on the chips where it reached 37 %), so there the central value is at most
    the best published MFU of the chip; the band then holds the model's own value too.
    """
    low, high = band_of(job, layout)
    notes = extrapolations(job, layout)
    best, whose = best_published(job.chip)
    central = min(mfu, best) if notes else mfu
    if central < mfu:
        notes.append(
            f"{best:.1%} is the best published MFU {whose}: it is taken instead of the "
            f"{mfu:.1%} that the model says without rows of this kind"
        )
    return Expected(
        central, central * low, min(mfu * high, job.chip.attainable_share), tuple(notes)
    )


def best_published(chip: Chip) -> tuple[float, str]:
    """The highest MFU of the rows of a chip, and whose it is.

    Of a chip without rows: the highest share of what matmuls reach, of any chip, of what they reach
    on this one.
    """
    best = fitted().best
    if chip.id in best:
        return best[chip.id], f"on {chip.id}"
    share = fitted().best_of_attainable * chip.attainable_share
    return share, f"of any chip, scaled to what matmuls reach on {chip.id}"


def band_of(job: Job, layout: Layout) -> tuple[float, float]:
    """True MFU over predicted, low and high, of 8 in 10 runs like this that no fit had seen."""
    known = "known chip" if _kind(job, layout) in fitted().kinds else "new chip"
    return fitted().bands[_family(layout) == "sharded", known]


def extrapolations(job: Job, layout: Layout) -> list[str]:
    """In what a job is unlike the published runs."""
    kinds, (family, chip, flash) = fitted().kinds, _kind(job, layout)
    how = f"{family}, {'with' if flash else 'without'} flash attention"
    alike = {kind[1]: n for kind, n in kinds.items() if kind[::2] == (family, flash)}
    notes = []
    if sum(alike.values()) < FEW:
        few = f"only {sum(alike.values())} (on {', '.join(alike)})" if alike else "none"
        notes.append(
            f"of the published runs {few} are of this kind ({how}): the prediction extrapolates, "
            "plan with the low end of its band"
        )
    if alike and chip not in alike:
        notes.append(
            f"no published run of this kind ({how}) is on {chip}: the band is that of chips left "
            "out of the fit"
        )
    if layout.cp > 1:
        notes.append("no run of the fit has context parallelism: its sends are taken like tensor's")
    if parameters(job.config).total != active_parameters(job.config):
        notes.append("the fit has dense models only; traffic of experts is not in it")
    return notes


@dataclass(frozen=True)
class Fit:
    """The coefficients in the order of `TERMS`, and the bands of what was left out."""

    coefficients: Array  # [len(TERMS)]
    bands: dict[
        tuple[bool, str], tuple[float, float]
    ]  # sharded or not, and the chip; true MFU over predicted, low and high
    kinds: Mapping[Kind, int]  # rows of each
    n_rows: int
    best: Mapping[str, float]  # highest MFU, by chip
    best_of_attainable: float  # highest MFU over the chip's attainable share


@lru_cache(maxsize=1)
def fitted() -> Fit:
    """The fit to every published run we ship."""
    runs = published_runs()
    matrix, mfu = _tables(runs)
    folded = 1 / (1 + _left_out(matrix, mfu, _folds(len(runs))))
    unseen = 1 / (1 + _left_out(matrix, mfu, [run.job.chip.id for run in runs]))
    sharded = np.array([_family(run.layout) == "sharded" for run in runs])
    bands = {}
    for is_sharded, rows in ((True, sharded), (False, ~sharded)):
        known, new = _band(folded[rows]), _band(unseen[rows])
        bands[is_sharded, "known chip"] = known
        bands[is_sharded, "new chip"] = (min(known[0], new[0]), max(known[1], new[1]))
    return Fit(
        coefficients=fit_coefficients(matrix, mfu),
        bands=bands,
        kinds=Counter(_kind(run.job, run.layout) for run in runs),
        n_rows=len(runs),
        best={
            chip: max(run.mfu for run in runs if run.job.chip.id == chip)
            for chip in {run.job.chip.id for run in runs}
        },
        best_of_attainable=max(run.mfu / run.job.chip.attainable_share for run in runs),
    )


def k_fold_errors(runs: Sequence[Published], seed: int = 0) -> Array:
    """Predicted / true MFU - 1 of every run, each predicted by a fit to the other nine tenths."""
    return leave_out_errors(runs, _folds(len(runs), seed))


def leave_out_errors(runs: Sequence[Published], groups: Sequence[object]) -> Array:
    """Predicted / true MFU - 1 of every run, predicted by a fit without the runs of its group."""
    return _left_out(*_tables(runs), groups)


def fit_coefficients(matrix: Array, mfu: Array) -> Array:
    """Coefficients of `TERMS` that minimise Σ |predicted time / time - 1|, none below zero.

    Non-negative least squares, each row weighted again by 1/√error until the sum of absolute errors
    is the least (5 rounds are enough here).

    Args:
        matrix: [runs, len(TERMS)].
        mfu: [runs].
    """
    from scipy.optimize import nnls

    relative = matrix * mfu[:, None]  # predicted time over time, by term
    weight = np.ones(len(mfu))
    for _ in range(5):
        coefficients, _ = nnls(relative * weight[:, None], weight)
        errors = np.abs(relative @ coefficients - 1)
        weight = 1 / np.sqrt(np.maximum(errors, 0.03))  # below 3 % a row is met
    return np.asarray(coefficients)


def _folds(n_runs: int, seed: int = 0) -> list[int]:
    shuffled: list[int] = (np.random.default_rng(seed).permutation(n_runs) % FOLDS).tolist()
    return shuffled


def _left_out(matrix: Array, mfu: Array, groups: Sequence[object]) -> Array:
    predicted = np.zeros(len(mfu))
    for group in dict.fromkeys(groups):
        out = np.array([mine == group for mine in groups])
        predicted[out] = 1 / (matrix[out] @ fit_coefficients(matrix[~out], mfu[~out]))
    return np.asarray(predicted / mfu - 1)


def _family(layout: Layout) -> str:
    if layout.n_chips == 1:
        return "one chip"
    if layout.tp * layout.pp > 1:
        return "model parallel"
    return "sharded" if layout.zero >= 2 else "data parallel"


def _kind(job: Job, layout: Layout) -> Kind:
    return _family(layout), job.chip.id, job.flash_attention


def _tables(runs: Sequence[Published]) -> tuple[Array, Array]:
    """[runs, len(TERMS)] and [runs]."""
    rows = [terms(run.job, run.layout).values() for run in runs]
    matrix = np.array([[sum(part.get(name, 0) for part in row) for name in TERMS] for row in rows])
    return matrix, np.array([run.mfu for run in runs])


def _band(ratios: Array) -> tuple[float, float]:
    low, high = np.quantile(ratios, BAND)
    return float(min(low, 1.0)), float(max(high, 1.0))
