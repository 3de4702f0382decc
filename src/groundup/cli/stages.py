"""The commands that run a project up to one stage and print what that stage found."""

from __future__ import annotations

import time
from typing import Any

import click

from groundup.cli.options import COUNT, project_options
from groundup.cli.run import exit_code, failure_as_json, stage_table, summary


@click.command()
@project_options
@click.option(
    "--measure",
    is_flag=True,
    help="Then measure one step of the chosen model: predicted beside measured.",
)
def plan(measure: bool, **given: Any) -> int:
    """Measure this machine, choose model and steps for the budget, and predict the run.

    A plan is made once and kept; --measure leaves it as it is.
    """
    return run_until("plan", measure=measure, **given)


@click.command()
@project_options
@click.option(
    "--allow-change",
    "allow",
    multiple=True,
    metavar="KEY",
    help="Go on with the newest run, with the value that KEY has now; may be given several times.",
)
@click.option(
    "--at",
    type=COUNT,
    metavar="STEP",
    help="Only leave word for the newest run: KEY=VALUE from that step on.",
)
@click.option("--over", type=COUNT, metavar="STEPS", help="With --at: come in over so many steps.")
@click.option("--profile", is_flag=True, help="Profile a few steps; files go to the run's folder.")
def pretrain(
    allow: tuple[str, ...],
    at: float | None,
    over: float | None,
    profile: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Train the model. After an interruption the same command goes on from the last checkpoint.

    Another value is another run, unless its KEY is named with --allow-change.

    `groundup pretrain --at 12000 learning_rate=0.01` changes a run at work: before its step after
    that one, or as soon as it can, it takes the new value. If it is not at work, its next start
    does.
    """
    if at is not None:
        if allow:
            raise click.UsageError("--at and --allow-change are two ways to change a run")
        if profile:
            raise click.UsageError("--profile goes with training, and --at only leaves word")
        return leave_word(int(at), int(over or 0), as_json=as_json, **given)
    if over is not None:
        raise click.UsageError("--over goes with --at")
    return run_until("pretrain", allow=allow or None, profile=profile, as_json=as_json, **given)


def leave_word(
    at: int,
    over: int,
    *,
    project: str,
    config: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> int:
    """Write a change for the newest run of a project."""
    from groundup.project import load_project
    from groundup.stages_by_hand import ask_newest, change_at
    from groundup.tables import print_json
    from groundup.train.changes import record

    with failure_as_json(as_json):
        change = change_at(at, over, overrides)
        folder = ask_newest(load_project(project, config), change)
    if as_json:
        print_json({"run": str(folder), "change": record(change)})
    else:
        values = ", ".join(f"{key} {value}" for key, value in change.settings().items())
        click.echo(f"{folder.name}: from step {at} on: {values}")
    return 0


@click.command()
@project_options
def evaluate(**given: Any) -> int:
    """Measure the model on held-out text, beside yardsticks on the same bytes."""
    return run_until("evaluate", **given)


@click.command()
@project_options
def report(**given: Any) -> int:
    """Write the report: one HTML file that opens from disk."""
    return run_until("report", **given)


def run_until(
    stage: str,
    *,
    project: str,
    config: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
    measure: bool = False,
    allow: tuple[str, ...] | None = None,
    profile: bool = False,
) -> int:
    """Run what ``stage`` needs, then print its result.

    Args:
        measure: add the model measured.
        allow, profile: as in `run_project`.
    """
    from groundup.cli.results import RESULTS
    from groundup.files import read_json
    from groundup.plan.local.report import measured_tables
    from groundup.progress import is_first_process
    from groundup.project import load_project
    from groundup.stages import run_project
    from groundup.tables import Table, print_json, print_tables

    measured, started = {}, time.monotonic()
    with failure_as_json(as_json):
        loaded = load_project(project, config, overrides)
        asked: dict[str, Any] = {"allow": allow} if allow else {}
        asked |= {"profile": True} if profile else {}
        result = run_project(loaded, stage, **asked)
        if measure:
            from groundup.stages_measure import measure_plan

            measured = {"measured": measure_plan(loaded, anew=stage in result.skipped)}
    if not is_first_process():
        return exit_code(result)
    path = result.paths.get(stage)
    if as_json:
        name = RESULTS[stage][0]
        file = path / name if path and name else None
        found = read_json(file) if file and file.is_file() else None
        record = {**summary(result), "path": str(path) if path else None, "result": found}
        if stage == "data" and found:
            from groundup.data.report import SUMMARY

            record |= {name: found[name] for name in SUMMARY}
            record["seconds"] = time.monotonic() - started
        print_json({**record, **measured})
    else:
        tables = RESULTS[stage][1](path) if path else []
        print_tables(tables or [stage_table(result)])
        for found in measured.values():
            print_tables(Table(*table) for table in measured_tables(found))
        if path:
            click.echo(f"{stage}: {result.report if stage == 'report' else path}")
    return exit_code(result)
