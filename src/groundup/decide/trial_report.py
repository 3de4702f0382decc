"""A trial's results: tables for people, ``trial.json`` for machines, ``trial.html`` to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from groundup.decide.ceiling import Ceiling, ceilings
from groundup.decide.trial import Outcome
from groundup.decide.trial_rows import Refusal, Row, refusals, rows
from groundup.files import write_json
from groundup.tables import Table, print_json, print_tables
from groundup.units import format_duration, format_money

RECORD, PAGE = "trial.json", "trial.html"


@dataclass(frozen=True)
class Report:
    """What a trial says."""

    tries: list[Row]
    ceilings: list[Ceiling]
    refusals: list[Refusal]
    stopped: str | None  # why not everything was asked


def report_of(outcomes: Sequence[Outcome], stopped: str | None = None) -> Report:
    """The results of a trial, whole or not."""
    return Report(rows(outcomes), ceilings(outcomes), refusals(outcomes), stopped)


def write_trial(report: Report, folder: Path) -> None:
    """Write `RECORD` and `PAGE` into ``folder``.

    Raises:
        StorageError: the disk is full or the folder is not writable.
    """
    write_json(folder / RECORD, asdict(report))
    _write_page(report, folder / PAGE)


def print_trial(report: Report, as_json: bool) -> None:
    """Print a trial's results."""
    if as_json:
        print_json(asdict(report))
    else:
        print_tables(trial_tables(report))


def trial_tables(report: Report) -> list[Table]:
    """Every try, the verdict on each candidate, and what endpoints objected to."""
    tables = [_tries(report.tries)]
    if report.ceilings:
        said = [[one.candidate, one.best.name, one.verdict, one.text] for one in report.ceilings]
        tables.append(
            Table("Has prompting flattened?", ["candidate", "best", "verdict", "why"], said)
        )
    if report.refusals:
        objections = [[one.candidate, one.count, one.problem] for one in report.refusals]
        tables.append(
            Table("Refused requests", ["candidate", "requests", "the endpoint's words"], objections)
        )
    return tables


def _tries(tries: Sequence[Row]) -> Table:
    # What went wrong has a column where it did.
    wrong = [
        name
        for name in ("refused", "not_asked", "cut_off", "empty")
        if any(getattr(row, name) for row in tries)
    ]
    columns = [
        *("candidate", "prompt", "shots", "items"),
        *(name.replace("_", " ") for name in wrong),
        *("right", "95 %", "per 1,000 items", "right answers per $", "median", "slowest 5 %"),
    ]
    cells = [
        [
            row.candidate,
            row.prompt,
            row.shots,
            row.n,
            *(getattr(row, name) for name in wrong),
            None if row.quality is None else f"{row.quality:.1%}",
            None if row.interval is None else f"{row.interval[0]:.0%} – {row.interval[1]:.0%}",
            _money(row.usd_per_1000),
            None if row.quality_per_usd is None else f"{row.quality_per_usd:,.0f}",
            _seconds(row.median_seconds),
            _seconds(row.p95_seconds),
        ]
        for row in tries
    ]
    return Table("Tries, in their order", columns, cells)


def _money(usd: float | None) -> str | None:
    return None if usd is None else format_money(usd) if usd else "$0"


def _seconds(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else format_duration(seconds)


def _write_page(report: Report, path: Path) -> None:
    from groundup.charts import Bar, bar_chart
    from groundup.plan.page import Section, write_page

    best = {verdict.candidate: verdict.best for verdict in report.ceilings}
    charts = []
    for name in best:
        bars = [
            Bar(row.name, row.quality, row.interval, ours=row == best[name])
            for row in report.tries
            if row.candidate == name and row.quality is not None
        ]
        title = f"{name}: right answers, try by try (95 % intervals)"
        charts.append(bar_chart(title, bars, "share of right answers", form=".0%"))
    tries, *others = trial_tables(report)
    verdicts = [table for table in others if table.title.startswith("Has")]
    write_page(
        path,
        "Trial",
        [
            Section(
                "Has prompting flattened?",
                charts=charts,
                tables=verdicts,
                notes=[f"not everything was asked: {report.stopped}"] if report.stopped else [],
            ),
            Section("Every try", tables=[tries, *(t for t in others if t not in verdicts)]),
        ],
    )
