"""How far the planner's predictions are from published runs, and how long its layout search takes.

Efficiency: every row is predicted by a fit that has not seen it: ten folds, one chip left out
wholly, one model size left out wholly. Rows of llm-foundry's table (sharded data parallel) and runs
of papers (tensor and pipeline parallelism) are counted apart. Nothing is downloaded.

    python benchmarks/planner.py
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np

from groundup.architecture.presets import find_model
from groundup.plan.efficiency import (
    Array,
    efficiency_of,
    fitted,
    k_fold_errors,
    leave_out_errors,
)
from groundup.plan.efficiency_terms import TERMS
from groundup.plan.hardware import find_chip
from groundup.plan.layout import search
from groundup.plan.published import Published, published_runs
from groundup.tables import Table, print_tables

SEEDS = range(5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.parse_args()
    runs = published_runs()
    print_tables([errors_table(runs), chips_table(runs), runs_table(runs), coefficients_table()])
    print(f"the fit, its folds and bands: {fit_seconds() * 1000:.0f} ms")
    print(f"layout search, 175B on 1,024 chips: {layout_seconds():.2f} s of process time")


def errors_table(runs: Sequence[Published]) -> Table:
    """Median and 90th percentile of |predicted / true MFU - 1|, in percent."""
    in_table = np.array([run.table == "throughput" for run in runs])
    sharded = [run for run in runs if run.table == "throughput"]
    chips = [run.job.chip.id + " " + run.job.precision for run in runs]
    folds = np.concatenate([k_fold_errors(runs, seed) for seed in SEEDS])
    sizes = leave_out_errors(runs, [run.model for run in runs])
    unseen = leave_out_errors(runs, chips)
    alone = np.concatenate([k_fold_errors(sharded, seed) for seed in SEEDS])
    constant = constant_errors(sharded)
    table = np.tile(in_table, len(SEEDS))
    rows = [
        ("llm-foundry", "10 folds", *quantiles(folds[table])),
        ("llm-foundry", "10 folds, fitted to this table only", *quantiles(alone)),
        ("llm-foundry", "one model size left out", *quantiles(sizes[in_table])),
        ("llm-foundry", "one chip and precision left out", *quantiles(unseen[in_table])),
        ("llm-foundry", "a constant MFU per chip, in sample", *quantiles(constant)),
        ("papers' runs", "10 folds", *quantiles(folds[~table])),
        ("papers' runs", "one model left out", *quantiles(sizes[~in_table])),
        ("papers' runs", "one chip and precision left out", *quantiles(unseen[~in_table])),
    ]
    title = f"error of the MFU in percent ({in_table.sum()} and {(~in_table).sum()} rows)"
    return Table(title, ["rows", "predicted without", "median", "90th percentile"], rows)


def chips_table(runs: Sequence[Published]) -> Table:
    """The error on each chip when no row of it was in the fit."""
    chips = [run.job.chip.id + " " + run.job.precision for run in runs]
    errors = leave_out_errors(runs, chips)
    rows = []
    for chip in dict.fromkeys(chips):
        out = np.array([mine == chip for mine in chips])
        rows.append(
            (chip, int(out.sum()), *quantiles(errors[out]), percent(np.median(errors[out])))
        )
    columns = ["chip left out", "rows", "median", "90th percentile", "bias"]
    return Table("a chip that the fit has not seen, errors in percent", columns, rows)


def runs_table(runs: Sequence[Published]) -> Table:
    """Each run of a paper: its MFU, the prediction of the full fit, and of a fit without it."""
    papers = [index for index, run in enumerate(runs) if run.table != "throughput"]
    without = leave_out_errors(runs, [run.id for run in runs]) if papers else np.zeros(0)
    rows = []
    for index in papers:
        run = runs[index]
        fit = efficiency_of(run.job, run.layout).mfu / run.mfu - 1
        rows.append((run.id, percent(run.mfu), percent(fit), percent(without[index])))
    columns = ["run", "MFU %", "error in the fit %", "error left out %"]
    return Table("papers' runs", columns, rows)


def coefficients_table() -> Table:
    """The fit itself."""
    rows = [
        (name, round(float(c), 3)) for name, c in zip(TERMS, fitted().coefficients, strict=True)
    ]
    return Table("1 / MFU = Σ coefficient · term", ["term", "coefficient"], rows)


def constant_errors(runs: Sequence[Published]) -> Array:
    """What one number per chip would give."""
    chips = [run.job.chip.id + run.job.precision for run in runs]
    mfu = np.array([run.mfu for run in runs])
    means = {
        chip: np.median(mfu[np.array([mine == chip for mine in chips])]) for chip in set(chips)
    }
    return np.array([means[chip] for chip in chips]) / mfu - 1


def fit_seconds() -> float:
    """Time of one fit with its bands, as a first prediction pays it."""
    fitted.cache_clear()
    began = time.perf_counter()
    fitted()
    return time.perf_counter() - began


def layout_seconds() -> float:
    """Time of a layout search of 175B on 1,024 A100s, the best of three."""
    config, chip = find_model("gpt3-175b"), find_chip("A100-SXM-80")
    taken = []
    for _ in range(3):
        began = time.process_time()
        search(config, chip, 1024, global_batch_size=1536)
        taken.append(time.process_time() - began)
    return min(taken)


def quantiles(errors: Array) -> tuple[float, float]:
    sizes = np.abs(errors)
    return percent(np.median(sizes)), percent(np.quantile(sizes, 0.9))


def percent(share: float | np.floating) -> float:
    return round(float(share) * 100, 1)


if __name__ == "__main__":
    main()
