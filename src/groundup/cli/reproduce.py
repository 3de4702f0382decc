"""``groundup reproduce``: a run trained again from its record, and compared bit for bit."""

from __future__ import annotations

from pathlib import Path

import click

from groundup.cli.options import COUNT, json_option
from groundup.cli.run import failure_as_json


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--steps", type=COUNT, metavar="N", help="Only the first N steps' losses.")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="DIR",
    help="Folder of the new run (default: RUN-reproduced-1, beside RUN).",
)  # fmt: skip
@click.option(
    "--project", type=click.Path(path_type=Path), metavar="DIR",
    help="Folder with the run's artifacts or its text (default: the one above RUN's `runs`).",
)  # fmt: skip
@json_option
def reproduce(
    run: Path, steps: float | None, output: Path | None, project: Path | None, as_json: bool
) -> int:
    """Train RUN again from its run.json alone, and compare losses and final hash.

    Tokens are found by their content, or made again from the text. Exit code 0: equal bit for bit;
    1: not, and the first step that differs is said, with what differs in the environment.
    """
    from dataclasses import asdict

    from groundup.reproduce import reproduce as train_again
    from groundup.tables import Table, print_json, print_tables

    if steps is not None and steps < 1:
        raise click.UsageError("--steps must be at least 1")
    with failure_as_json(as_json):
        found = train_again(
            run, steps=int(steps) if steps else None, output=output, project=project
        )
    if as_json:
        print_json({"equal": found.equal, **asdict(found)})
        return 0 if found.equal else 1
    if found.environment:
        print_tables([Table("Environment", ["key", "then", "now"], list(found.environment))])
    if found.not_in_log:
        gaps = ", ".join(f"{a}–{b}" if a < b else f"{a}" for a, b in found.not_in_log)
        click.echo(f"the losses of steps {gaps} are not in the log")
    if found.equal:
        click.echo(f"{found.steps} steps: equal bit for bit ({found.output})")
        return 0
    click.echo(f"{found.steps} steps: not the same bits ({found.output})")
    if found.first_difference is not None:
        step, before, after = found.first_difference
        click.echo(f"first difference: the loss of step {step} was {before} and is {after}")
    elif found.losses:
        click.echo("the losses are equal, but not the weights and optimizer states at the end")
    return 1
