"""The commands that run a project up to one stage and print what that stage found."""

from __future__ import annotations

from typing import Any

import click

from groundup.cli.options import project_options
from groundup.cli.run import exit_code, failure_as_json, stage_table, summary


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
    from groundup.cli.results import RESULTS
    from groundup.files import read_json
    from groundup.project import load_project
    from groundup.stages import run_project
    from groundup.tables import print_json, print_tables

    with failure_as_json(as_json):
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
        if path:
            click.echo(f"{stage}: {result.report if stage == 'report' else path}")
    return exit_code(result)
