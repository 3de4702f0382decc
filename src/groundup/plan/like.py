"""A published run as it was run, and the same work on other chips.

The model, its tokens, batch and context are those of a row of `catalog/training_runs.csv`. The
efficiency is what the paper printed; goodput is the computing that this implies over the
chip-hours that were spent; above 1 (OPT) where the printed rate is not what the run had on average.
"""

from __future__ import annotations

from dataclasses import dataclass

from groundup.architecture.config import ModelConfig
from groundup.errors import InputError
from groundup.plan.catalogs import Row
from groundup.plan.hardware import find_chip
from groundup.plan.parallelism import Layout, Recompute
from groundup.plan.published import layout_of, model_of, training_run
from groundup.plan.time import TrainingTime, training_time


@dataclass(frozen=True)
class Work:
    """What was trained."""

    run: str
    model: ModelConfig | float  # a number of parameters where no shape is known
    tokens: float
    context_length: int | None
    global_batch_tokens: float | None
    chip: str = ""  # as the row names it
    n_chips: int = 0
    layout: Layout | None = None  # where the paper says it
    flash_attention: bool = True

    def layout_on(self, chip_id: str, n_chips: int) -> Layout | None:
        """The run's own layout, on its own chips and as many of them."""
        same = self.layout is not None and self.layout.n_chips == n_chips
        return self.layout if same and chip_id == self.chip else None


@dataclass(frozen=True)
class AsRun:
    """How it was trained. ``days`` are of computing at the printed efficiency."""

    run: str
    chip: str
    n_chips: int
    tokens: float
    mfu: float | None
    hfu: float | None
    days: float | None
    published_days: float | None
    published_chip_hours: float | None
    goodput: float | None  # computing over chip-hours spent
    calendar_goodput: float | None  # computing over the days from start to end
    note: str
    source: str


def work_of(run_id: str) -> Work:
    """Model, tokens, context and batch of a published run.

    Raises:
        InputError: no such run, or one that says no number of tokens.
    """
    row = training_run(run_id)
    tokens = row.number("tokens")
    if tokens is None:
        raise InputError(
            f"the published run {row.text('id')} says no number of tokens",
            where=row.where,
            fix="give --model and --tokens instead",
        )
    context = row.number("seq_len")
    return Work(
        run=row.text("id"),
        model=model_of(row),
        tokens=tokens,
        context_length=int(context) if context else None,
        global_batch_tokens=row.number("batch_tokens"),
        chip=row.text("chip"),
        n_chips=int(row.number("n_chips") or 0),
        layout=layout_of(row),
        flash_attention=row.text("flash_attention") == "yes",
    )


def as_run(run_id: str) -> AsRun:
    """How a published run was run, as far as its paper says.

    Raises:
        InputError: no such run, or one that says no number of tokens.
    """
    row, work = training_run(run_id), work_of(run_id)
    n_chips = work.n_chips
    spent, days = row.number("published_chip_hours"), row.number("published_days")
    if spent is None and days and n_chips:
        spent = days * 24 * n_chips
    time = _time_as_printed(row, work) if n_chips else None
    printed_hfu = row.number("published_hfu_pct")
    hfu = printed_hfu / 100 if printed_hfu else time.hfu if time else None
    goodput = time.chip_hours / spent if time and spent else None
    note = row.text("note")
    if goodput is not None and goodput > 1:
        note += "; a goodput above 100 %: the run was slower on average than the rate printed"
    return AsRun(
        run=row.text("id"),
        chip=row.text("chip"),
        n_chips=n_chips,
        tokens=work.tokens,
        mfu=time.mfu if time else None,
        hfu=hfu,
        days=time.days if time else None,
        published_days=days,
        published_chip_hours=spent,
        goodput=goodput,
        calendar_goodput=time.days / days if time and days else None,
        note=note,
        source=row.text("source"),
    )


def _time_as_printed(row: Row, work: Work) -> TrainingTime | None:
    """The run's computing at the efficiency its paper printed; None where it printed none."""
    chip = find_chip(row.text("chip"))
    recompute: Recompute = "full" if row.text("recompute") == "full" else "none"
    mfu, rate = row.number("published_mfu_pct"), row.number("published_tflops_per_chip")
    is_model_rate = row.text("tflops_kind") == "model"
    if mfu is None and rate is None:
        return None
    given: dict[str, float] = {"tflops_per_chip": rate or 0.0}
    if is_model_rate and rate is not None and mfu is None:
        given = {"mfu": rate * 1e12 / chip.peak(row.text("precision") or chip.training_precision)}
    elif mfu is not None and (rate is None or is_model_rate):
        given = {"mfu": mfu / 100}
    return training_time(
        work.model,
        work.tokens,
        chip,
        int(row.needed("n_chips")),
        recompute=recompute,
        context_length=work.context_length,
        global_batch_tokens=work.global_batch_tokens,
        precision=row.text("precision") or None,
        **given,  # type: ignore[arg-type]
    )
