"""A trial's results: tables for people, ``trial.json`` for machines, ``trial.html`` to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from groundup.decide.ceiling import Ceiling, Row, ceilings, rows
from groundup.decide.trial import Outcome, as_dict
from groundup.files import write_json
from groundup.tables import Table, print_json, print_tables
from groundup.units import format_duration, format_money

RECORD, PAGE = "trial.json", "trial.html"


def write_trial(outcomes: Sequence[Outcome], folder: Path) -> dict[str, Any]:
    """Write the record and the page of a finished trial; the record is returned."""
    found, verdicts = rows(outcomes), ceilings(outcomes)
    record = {
        "tries": [
            {**as_dict(outcome), **asdict(row)}
            for outcome, row in zip(outcomes, found, strict=True)
        ],
        "ceilings": [{**asdict(verdict), "best": asdict(verdict.best)} for verdict in verdicts],
    }
    write_json(folder / RECORD, record)
    _write_page(found, verdicts, folder / PAGE)
    return record


def print_trial(outcomes: Sequence[Outcome], record: dict[str, Any], as_json: bool) -> None:
    """Print a trial's results."""
    if as_json:
        print_json(record)
    else:
        print_tables(trial_tables(rows(outcomes), ceilings(outcomes)))


def trial_tables(found: Sequence[Row], verdicts: Sequence[Ceiling]) -> list[Table]:
    """Every try, and the verdict on each candidate."""
    columns = ["candidate", "prompt", "shots", "items", "unanswered", "right", "95 %",
               "per 1,000 items", "right answers per $", "median", "slowest 5 %"]  # fmt: skip
    tries = [
        [
            row.candidate,
            row.prompt,
            row.shots,
            row.n,
            row.unanswered,
            None if row.quality is None else f"{row.quality:.1%}",
            f"{row.interval[0]:.0%} – {row.interval[1]:.0%}",
            None if row.usd_per_1000 is None else format_money(row.usd_per_1000),
            None if row.quality_per_usd is None else f"{row.quality_per_usd:,.0f}",
            None if row.median_seconds is None else format_duration(row.median_seconds),
            None if row.p95_seconds is None else format_duration(row.p95_seconds),
        ]
        for row in found
    ]
    said = [
        [one.candidate, f"{one.best.prompt}, {one.best.shots} shots", one.verdict, one.text]
        for one in verdicts
    ]
    return [
        Table("Tries, in their order", columns, tries),
        Table("Has prompting flattened?", ["candidate", "best", "verdict", "why"], said),
    ]


def _write_page(found: Sequence[Row], verdicts: Sequence[Ceiling], path: Path) -> None:
    from groundup.charts import Series, line_chart
    from groundup.plan.page import Section, write_page

    names = list(dict.fromkeys(row.candidate for row in found))
    series = []
    for colour, name in enumerate(names):
        own = [row for row in found if row.candidate == name and row.quality is not None]
        places = list(range(1, len(own) + 1))
        quality = [row.quality or 0.0 for row in own]
        best = [max(quality[:place]) for place in places]
        series += [
            Series(name, places, quality, "points", colour),
            Series(f"{name}, best so far", places, best, "dashed", colour),
        ]
    chart = line_chart(
        "Share of right answers, try by try",
        series,
        "try (prompts and shots in the order of effort)",
        "share of right answers",
        y_format=".0%",
        from_zero=True,
    )
    tables = trial_tables(found, verdicts)
    write_page(
        path,
        "Trial",
        [Section("Has prompting flattened?", charts=[chart], tables=[tables[1]]),
         Section("Every try", tables=[tables[0]])],
    )  # fmt: skip
