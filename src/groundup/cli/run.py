"""``groundup run``: every stage of the project that is not done yet, and what came of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groundup.cli.options import config_option, json_option, overrides_argument
from groundup.errors import ConfigError, GroundupError

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
    from groundup.cli.results import headline, overview
    from groundup.progress import is_first_process
    from groundup.project import load_project
    from groundup.stages import run_project
    from groundup.tables import print_json, print_tables

    if "=" in folder and not Path(folder).exists():  # `groundup run key=value`, in the folder
        folder, overrides = ".", (folder, *overrides)
    with failure_as_json(as_json):
        result = run_project(load_project(folder, config, overrides))
    if not is_first_process():
        return exit_code(result)
    if as_json:
        print_json(summary(result))
    else:
        print_tables([stage_table(result), *overview(result.paths)])
        for line in headline(result.paths):
            click.echo(line)
        if result.report:
            click.echo(f"report: {result.report}")
    return exit_code(result)


@contextmanager
def failure_as_json(as_json: bool) -> Iterator[None]:
    """With ``--json`` the last line of standard output says of an error too how the run ended."""
    from groundup.tables import print_json

    try:
        yield
    except GroundupError as error:
        if as_json:
            print_json(failure(error))
        raise
    except KeyboardInterrupt:
        if as_json:
            print_json({"status": "interrupted"})
        raise


def failure(error: GroundupError) -> dict[str, Any]:
    """What ``--json`` prints of a run that ended with an error."""
    problems = {"problems": error.problems} if isinstance(error, ConfigError) else {}
    return {
        "status": "failed",
        "error": error.message,
        "where": error.where,
        "fix": error.fix,
        **problems,
        **getattr(error, "counts", {}),  # of a corpus of which nothing is left
    }


def summary(result: RunResult) -> dict[str, Any]:
    """What ``--json`` prints of a run."""
    return {
        "status": result.status,
        "built": result.built,
        "skipped": result.skipped,
        "report": str(result.report) if result.report else None,
    }


def stage_table(result: RunResult) -> Table:
    """Which stages were built now, which were there, and which was stopped before its end."""
    from groundup.stages import STAGES
    from groundup.tables import Table

    state = dict.fromkeys(result.skipped, "was there") | dict.fromkeys(result.built, "built")
    if result.stopped is not None:
        state[result.stopped] = "interrupted"
    rows = [(name, state.get(name, "not run"), result.paths.get(name)) for name in STAGES]
    return Table("Stages", ["stage", "state", "path"], rows)


def exit_code(result: RunResult) -> int:
    """0, or that of an interrupted command."""
    return INTERRUPTED if result.status == "interrupted" else 0
