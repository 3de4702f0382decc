"""The commands that run a project up to one stage and print what that stage found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groundup.cli.options import project_options
from groundup.cli.run import exit_code, stage_table, summary

if TYPE_CHECKING:
    from groundup.tables import Table


@click.command()
@project_options
def data(**given: Any) -> int:
    """Read, clean, deduplicate and split the text.

    Prints what came in, what was dropped and why, and what is left in each split.
    """
    return _run_until("data", **given)


@click.command()
@project_options
def tokenizer(**given: Any) -> int:
    """Train the tokenizer on the training split."""
    return _run_until("tokenizer", **given)


@click.command()
@project_options
def plan(**given: Any) -> int:
    """Measure this machine, choose model and steps for the budget, and predict the run."""
    return _run_until("plan", **given)


@click.command()
@project_options
def pretrain(**given: Any) -> int:
    """Train the model. After an interruption the same command goes on from the last checkpoint."""
    return _run_until("pretrain", **given)


@click.command()
@project_options
def evaluate(**given: Any) -> int:
    """Measure the model on held-out text, beside yardsticks on the same bytes."""
    return _run_until("evaluate", **given)


@click.command()
@project_options
def export(**given: Any) -> int:
    """Write the model as model.safetensors + config.json + tokenizer.json."""
    return _run_until("export", **given)


@click.command()
@project_options
def report(**given: Any) -> int:
    """Write the report: one HTML file that opens from disk."""
    return _run_until("report", **given)


def _run_until(
    stage: str, *, project: str, config: str | None, overrides: tuple[str, ...], as_json: bool
) -> int:
    """Run what ``stage`` needs, then print its result."""
    from groundup.files import read_json
    from groundup.project import load_project
    from groundup.stages import run_project
    from groundup.tables import print_json, print_tables

    result = run_project(load_project(project, config, overrides), stage)
    path = result.paths.get(stage)
    if as_json:
        record = RESULTS[stage][0]
        file = path / record if path and record else None
        found = read_json(file) if file and file.is_file() else None
        print_json({**summary(result), "path": str(path) if path else None, "result": found})
    else:
        tables = RESULTS[stage][1](path) if path else []
        print_tables(tables or [stage_table(result)])
        click.echo(f"{stage}: {result.report if stage == 'report' else path}")
    return exit_code(result)


def _data_tables(folder: Path) -> list[Table]:
    from groundup.data.report import corpus_tables
    from groundup.files import read_json
    from groundup.tables import Table

    return [Table(*table) for table in corpus_tables(read_json(folder / "report.json"))]


def _plan_tables(folder: Path) -> list[Table]:
    from groundup.files import read_json
    from groundup.plan.report import plan_tables
    from groundup.tables import Table

    return [Table(*table) for table in plan_tables(read_json(folder / "plan.json"))]


def _record_table(file: str, title: str) -> Callable[[Path], list[Table]]:
    """Tables of a JSON record without a printer of its own: one row a number."""

    def tables(folder: Path) -> list[Table]:
        from groundup.files import read_json
        from groundup.tables import Table

        rows = list(flatten(read_json(folder / file)))
        return [Table(title, ["measure", "value"], rows)]

    return tables


def flatten(record: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """The single values of nested dicts under dotted names; lists (samples) are left out."""
    if not isinstance(record, dict):
        return [] if isinstance(record, list) else [(prefix, record)]
    return [
        row
        for key, value in record.items()
        for row in flatten(value, f"{prefix}.{key}" if prefix else str(key))
    ]


def _evaluation_tables(folder: Path) -> list[Table]:
    from groundup.evaluate.tables import evaluation_tables
    from groundup.files import read_json

    return evaluation_tables(read_json(folder / "evaluation.json"))


def run_tables(folder: Path) -> list[Table]:
    """What the plan predicted of a finished run, beside what was measured."""
    from groundup.files import read_json
    from groundup.report.compare import compare, compare_tables

    record = read_json(folder / "run.json")
    predicted = record["predicted"]
    return compare_tables(compare(predicted, record["measured"], predicted["band"]))


def _nothing(folder: Path) -> list[Table]:
    """The table of stages says it all."""
    return []


# stage → (its JSON record, its tables)
RESULTS: dict[str, tuple[str | None, Callable[[Path], list[Table]]]] = {
    "data": ("report.json", _data_tables),
    "tokenizer": ("summary.json", _record_table("summary.json", "Tokenizer")),
    "plan": ("plan.json", _plan_tables),
    "pretrain": ("run.json", run_tables),
    "evaluate": ("evaluation.json", _evaluation_tables),
    "export": (None, _nothing),
    "report": (None, _nothing),
}
