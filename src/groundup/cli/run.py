"""``groundup run``: every stage of the project that is not done yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from groundup.cli.options import config_option, json_option, overrides_argument

if TYPE_CHECKING:
    from groundup.stages import RunResult
    from groundup.tables import Table

INTERRUPTED = 130


@click.command()
@click.argument("folder", default=".", metavar="DIR")
@overrides_argument
@config_option
@json_option
def run(folder: str, overrides: tuple[str, ...], config: str | None, as_json: bool) -> int:
    """Run every stage of the project in DIR (default: here) that is not done yet.

    Finished stages are kept and skipped; after an interruption the same command goes on. A changed
    value runs again what depends on it, and only that.
    """
    from groundup.project import load_project
    from groundup.stages import run_project
    from groundup.tables import print_json, print_tables

    if "=" in folder:  # `groundup run key=value`, in the project's folder
        folder, overrides = ".", (folder, *overrides)
    result = run_project(load_project(folder, config, overrides))
    if as_json:
        print_json(summary(result))
    else:
        print_tables([stage_table(result)])
        if result.report:
            click.echo(f"report: {result.report}")
    return exit_code(result)


def summary(result: RunResult) -> dict[str, Any]:
    """What ``--json`` prints of a run."""
    return {
        "status": result.status,
        "built": result.built,
        "skipped": result.skipped,
        "report": str(result.report) if result.report else None,
    }


def stage_table(result: RunResult) -> Table:
    """Which stages were built now and which were there."""
    from groundup.stages import STAGES
    from groundup.tables import Table

    state = dict.fromkeys(result.skipped, "was there") | dict.fromkeys(result.built, "built")
    rows = [(name, state.get(name, "not run"), result.paths.get(name)) for name in STAGES]
    return Table("Stages", ["stage", "state", "path"], rows)


def exit_code(result: RunResult) -> int:
    """0, or that of an interrupted command."""
    return INTERRUPTED if result.status == "interrupted" else 0
