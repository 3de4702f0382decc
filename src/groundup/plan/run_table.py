"""Finished training runs, as a table gives them: parameters N, tokens D, loss, and FLOPs.

Column names are those of the field (``params``/``N``, ``tokens``/``D``, ``loss``/``L``,
``flops``/``C``); other columns are left alone. Where no FLOPs are given they are 6·N·D. A cell that
is no positive number is refused with its line: a fit would carry it into every coefficient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from groundup.errors import InputError
from groundup.plan.catalogs import Row, read_rows
from groundup.plan.limits import require_flops, require_parameters, require_positive, require_tokens
from groundup.units import read_quantity

# what is wanted → the names it may have, compared without case; the first that is there is taken
COLUMNS = {
    "params": ("params", "parameters", "n_params", "num_params", "N", "model_size"),
    "tokens": ("tokens", "D", "n_tokens", "num_tokens", "training_tokens", "tokens_C_over_6N"),
    "loss": ("loss", "L", "validation_loss", "val_loss", "eval_loss", "final_loss"),
    "flops": ("flops", "C", "compute", "training_flops"),
}


@dataclass(frozen=True)
class Run:
    """One finished run, or one point of its training curve."""

    params: float
    tokens: float
    loss: float  # nats per token, or whatever the table has: the coefficients are in the same
    given_flops: float | None = None
    where: str = ""  # file:line

    @property
    def flops(self) -> float:
        """Training FLOPs: those of the table, else 6·N·D (Kaplan et al. 2020)."""
        return self.given_flops or 6 * self.params * self.tokens

    @property
    def tokens_per_param(self) -> float:
        """D/N."""
        return self.tokens / self.params


def read_run_table(path: Path, skip_bad: bool = False) -> tuple[list[Run], list[str]]:
    """The runs of a CSV file, and what was wrong with the rows left out.

    Args:
        path: a table with a header, separated by commas.
        skip_bad: leave out rows with a cell that is no positive number, instead of refusing them.

    Raises:
        InputError: no such file, no header, a column that is missing, no row, or (without
            ``skip_bad``) a bad cell; file, line and column are named.
    """
    rows = read_rows(path)
    if not rows:
        raise InputError("the table has no rows", where=str(path))
    names = _columns(rows[0].values, path)
    runs, skipped = [], []
    for row in rows:
        try:
            runs.append(_run(row, names))
        except InputError as error:
            if not skip_bad:
                error.fix = error.fix or "mend the row, or leave such rows out with --skip-bad"
                raise
            skipped.append(f"{error.where}: {error.message}")
    return runs, skipped


def require_runs(runs: Sequence[Run]) -> None:
    """Refuse numbers that are not positive, finite and of this world.

    Raises:
        InputError: the first run that has one, with its place.
    """
    for place, run in enumerate(runs, 1):
        try:
            _check(run)
        except InputError as error:
            where = run.where or f"run {place}"
            raise InputError(error.message, where=f"{where}: {error.where}") from None


def _columns(header: Mapping[str, str], path: Path) -> dict[str, str]:
    """What is wanted → the table's name for it."""
    there = {name.strip().lower(): name for name in header}
    found = {
        wanted: there[name.lower()]
        for wanted, names in COLUMNS.items()
        for name in reversed(names)  # the last one written stays: the first of `names`
        if name.lower() in there
    }
    for wanted in ("params", "tokens", "loss"):
        if wanted not in found:
            one = len(there) == 1 and any(mark in next(iter(there)) for mark in ";\t|")
            raise InputError(
                f"the table has no column {wanted} (or {', '.join(COLUMNS[wanted][1:])}); "
                f"it has {', '.join(name.strip() for name in header)}",
                where=f"{path}:1",
                fix="separate the columns with commas" if one else f"name a column {wanted}",
            )
    return found


def _run(row: Row, names: Mapping[str, str]) -> Run:
    """One row, checked."""
    flops = row.text(names["flops"]) if "flops" in names else ""
    run = Run(
        _number(row, names["params"], "count"),
        _number(row, names["tokens"], "count"),
        _number(row, names["loss"]),
        _number(row, names["flops"], "flops") if flops else None,
        row.where,
    )
    try:
        _check(run, names)
    except InputError as error:
        raise InputError(error.message, where=f"{row.where}: {error.where}") from None
    return run


def _number(row: Row, column: str, kind: str = "") -> float:
    """A cell as a number; ``7B`` where a quantity is counted."""
    text = row.text(column)
    try:
        return float(text)
    except ValueError:
        pass
    try:
        if kind:
            return read_quantity(text, kind)
    except ValueError:
        pass
    said = f"is {text!r}, which is no number" if text else "is empty"
    raise InputError(f"{column} {said}", where=f"{row.where}: {column}")


def _check(run: Run, names: Mapping[str, str] | None = None) -> None:
    """Each number in its range, under the table's names."""
    names = names or {}
    require_parameters(run.params, names.get("params", "params"))
    require_tokens(run.tokens, names.get("tokens", "tokens"))
    require_positive(run.loss, names.get("loss", "loss"))
    if run.given_flops is not None:
        require_flops(run.given_flops, names.get("flops", "flops"))
