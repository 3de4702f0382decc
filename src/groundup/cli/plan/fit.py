"""``groundup plan fit``: a scaling law from a table of runs, with its errors and its outliers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groundup.cli.options import json_option

if TYPE_CHECKING:
    from groundup.plan.fit import Fit
    from groundup.plan.isoflop import Optima
    from groundup.tables import Table

FORMULA = "L = E + A / N^alpha + B / D^beta"
COEFFICIENTS = ("E", "A", "B", "alpha", "beta", "a", "b")


class Drop(click.ParamType):  # type: ignore[type-arg]  # not generic in older clicks
    """A number of runs, or ``auto``."""

    name = "N|auto"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        """Read it."""
        if value == "auto":
            return "auto"
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a whole number nor 'auto'", param, ctx)


@click.command()
@click.argument("file", metavar="FILE.csv", type=click.Path(path_type=Path))
@click.option(
    "--drop",
    type=Drop(),
    default="auto",
    help="Runs of fewest tokens per parameter to leave out (auto: outliers by rule).",
)
@click.option(
    "--approach",
    type=click.Choice(["1", "2", "3", "all"]),
    default="all",
    help="1 envelope, 2 IsoFLOP curves, 3 the law (Hoffmann et al. 2022); default: all.",
)
@click.option(
    "--bootstrap",
    "n_bootstrap",
    type=click.IntRange(0, 100_000),
    default=200,
    help="Samples behind the standard errors (200; 0: none).",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the bootstrap (0).")
@click.option("--skip-bad", is_flag=True, help="Leave out rows with a bad number; count them.")
@json_option
def fit(
    file: Path,
    drop: int | str,
    approach: str,
    n_bootstrap: int,
    seed: int,
    skip_bad: bool,
    as_json: bool,
) -> int:
    """Fit a scaling law to a table of finished runs.

    FILE.csv has the columns params, tokens and loss (or N, D and L), and flops if they are not
    6·N·D. Approaches 1 and 2 take every run, whatever --drop says.
    """
    from groundup.errors import InputError
    from groundup.plan.envelope import fit_envelope
    from groundup.plan.fit import fit_runs
    from groundup.plan.isoflop import fit_isoflop
    from groundup.plan.run_table import read_run_table
    from groundup.tables import print_json, print_tables

    runs, skipped = read_run_table(file, skip_bad)
    notes = []
    if skipped:
        more = f" and {len(skipped) - 3} more" if len(skipped) > 3 else ""
        notes.append(f"{len(skipped)} rows left out: {'; '.join(skipped[:3])}{more}")
    law = None
    if approach in ("3", "all"):
        dropped = drop if isinstance(drop, int) else None
        law = fit_runs(runs, drop=dropped, n_bootstrap=n_bootstrap, seed=seed)
        notes += law.notes
    optima: dict[str, Optima | None] = {}
    for name, of_runs in (("1", fit_envelope), ("2", fit_isoflop)):
        if approach not in (name, "all"):
            continue
        try:
            optima[name] = of_runs(runs)
        except InputError as error:
            if approach != "all":
                raise
            optima[name] = None
            notes.append(f"approach {name}: {error.message}")
    if as_json:
        print_json(_record(law, optima, notes))
    else:
        largest = max(run.flops for run in runs)
        print_tables(_tables(law, optima, notes, largest))
    return 0


def _record(law: Fit | None, optima: dict[str, Optima | None], notes: list[str]) -> dict[str, Any]:
    """What ``--json`` prints: the same keys whatever was asked; null where it was not."""
    approaches: dict[str, Any] = {
        name: found and {"a": found.a, "b": found.b, **asdict(found)}
        for name, found in optima.items()
    }
    empty = dict.fromkeys(
        (
            *COEFFICIENTS, "standard_errors", "intervals", "law", "n_points", "n_dropped", "why",
            "with_all", "without_outliers", "outliers", "spread", "n_bootstrap",
        )
    )  # fmt: skip
    if law is None:
        return {**empty, "approaches": approaches, "notes": notes}
    headline = law.headline

    def refit(which: str) -> dict[str, Any]:
        made = getattr(law, which)
        return {**made.coefficients(), "n_points": made.n_points, "n_dropped": made.n_dropped}

    approaches["3"] = {"a": headline.a, "b": headline.b}
    return {
        **empty,
        **headline.coefficients(),
        "standard_errors": law.standard_errors,
        "intervals": law.intervals,
        "law": {"formula": FORMULA, **headline.coefficients()},
        "n_points": headline.n_points,
        "n_dropped": headline.n_dropped,
        "why": law.why,
        "with_all": refit("with_all"),
        "without_outliers": refit("without_outliers"),
        "outliers": {
            "smallest_tokens_per_param": [asdict(run) for run in law.smallest_tokens_per_param],
            "largest_errors": [asdict(run) for run in law.largest_errors],
        },
        "spread": law.spread,
        "n_bootstrap": law.n_bootstrap,
        "approaches": approaches,
        "notes": notes,
    }


def _tables(
    law: Fit | None, optima: dict[str, Optima | None], notes: list[str], largest: float
) -> list[Table]:
    """The same for people."""
    from groundup.tables import Table

    tables = [*_law_tables(law)] if law else []
    tables.append(_optima_table(law, optima, largest))
    isoflop = optima.get("2")
    if isoflop:
        rows = [
            [f"{one.flops:.3g}", one.n_runs, _count(one.params), _count(one.tokens), one.loss,
             one.why]
            for one in isoflop.budgets
        ]  # fmt: skip
        columns = ["FLOPs", "runs", "best params", "its tokens", "its loss", "left out because"]
        tables.append(Table("IsoFLOP curves (approach 2)", columns, rows))
    if law:
        notes = [law.why, *notes]
    if notes:
        tables.append(Table("Notes", ["note"], [[note] for note in notes]))
    return tables


def _law_tables(law: Fit) -> list[Table]:
    """Coefficients, the dependence on the outliers, and the runs to look at."""
    from groundup.tables import Table

    errors, intervals = law.standard_errors, law.intervals
    rows = []
    for name, value in law.headline.coefficients().items():
        low, high = intervals[name] or (None, None)
        rows.append([name, *map(_whole, (value, errors[name], low, high))])
    kept = f"{law.headline.n_points} of {law.with_all.n_points} runs"
    title = f"{FORMULA}, N ~ C^a, D ~ C^b ({kept}; {law.n_bootstrap} bootstrap samples)"
    columns = ["coefficient", "value", "standard error", "95 % from", "to"]
    tables = [Table(title, columns, rows)]

    compared = [law.with_all]
    if law.without_outliers.n_dropped:
        compared.append(law.without_outliers)
    rows = [
        [
            f"{'→ ' if made == law.headline else ''}all {made.n_points}"
            if not made.n_dropped
            else f"{'→ ' if made == law.headline else ''}without {made.n_dropped}",
            *map(_whole, made.coefficients().values()),
        ]
        for made in compared
    ]
    title = "With and without the runs of fewest tokens per parameter (→ the law above)"
    tables.append(Table(title, ["runs", *COEFFICIENTS], rows))

    columns = ["params", "tokens", "tokens/param", "loss", "law", "loss/law", "left out"]
    for title, named in (
        ("Fewest tokens per parameter", law.smallest_tokens_per_param),
        ("Farthest from the law, of the runs kept", law.largest_errors),
    ):
        rows = [
            [_count(run.params), _count(run.tokens), run.tokens_per_param, run.loss, run.predicted,
             f"{run.loss / run.predicted - 1:+.1%}", "yes" if run.dropped else ""]
            for run in named
        ]  # fmt: skip
        tables.append(Table(title, columns, rows))
    return tables


def _optima_table(law: Fit | None, optima: dict[str, Optima | None], largest: float) -> Table:
    """The exponents of each approach, and what each says of the largest budget in the table."""
    from groundup.tables import Table

    rows: list[list[Any]] = []
    for name, what in (("1", "1 envelope"), ("2", "2 IsoFLOP curves")):
        found = optima.get(name)
        if found:
            params, tokens = found.params.at(largest), found.tokens.at(largest)
            counts = [_count(params), _count(tokens)]
            rows.append([what, found.a, found.standard_error, found.b, *counts])
    if law:
        params, tokens = law.law.optimum(largest)
        error = law.standard_errors["a"]
        best = [law.headline.a, error, law.headline.b, _count(params), _count(tokens)]
        rows.append(["3 the law", *best])
    columns = ["approach", "a", "standard error", "b", "best params", "best tokens"]
    return Table(f"Optimal size N ~ C^a, D ~ C^b; the best at {largest:.3g} FLOPs", columns, rows)


def _whole(value: float | None) -> float | str | None:
    """A large number without decimals, a huge one by its power of ten."""
    if value is None or abs(value) < 1e4:
        return value
    return round(value) if abs(value) < 1e7 else f"{value:.3g}"


def _count(value: float | None) -> str | None:
    from groundup.units import format_count

    return None if value is None else format_count(value)
