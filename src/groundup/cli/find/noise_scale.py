"""``groundup find noise-scale``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groundup.cli.find.common import finish
from groundup.cli.options import COUNT, project_options

if TYPE_CHECKING:
    from groundup.tables import Table


@click.command("noise-scale")
@click.option("--batches", type=COUNT, default=32, help="That are measured (32).")
@click.option(
    "--rows", type=COUNT, metavar="ROWS", help="Of each (the project's batch, at least 16)."
)
@click.option(
    "--checkpoint",
    metavar="PATH",
    help="Checkpoint, run or project to measure at (default: the run's first state).",
)
@project_options
def noise_scale(batches: float, rows: float | None, checkpoint: str | None, **given: Any) -> int:
    """Find the critical batch size: beyond it more rows a step stop paying.

    It is the noise of the gradient over its size, which grows while the loss falls: at a checkpoint
    it is larger than at the beginning.
    """
    from groundup.errors import ConfigError

    def found(project: Any) -> dict[str, Any]:
        from groundup.stages_find import find_noise_scale

        if batches < 1:
            raise ConfigError(
                f"--batches {batches:g} is not at least one",
                where="--batches",
                fix="give 10 or more, for an interval",
            )
        return find_noise_scale(
            project,
            batches=int(batches),
            rows=None if rows is None else int(rows),
            checkpoint=None if checkpoint is None else Path(checkpoint),
        )

    return finish(found, _tables, **given)


def _tables(found: Mapping[str, Any]) -> Iterable[Table]:
    from groundup.plan.local.found import batch_advice, interval_text
    from groundup.tables import Table

    with_interval = found["interval"] is not None
    at = "the first state" if found["checkpoint"] is None else f"step {found['step']}"
    yield Table(
        f"Gradient noise at {at}, of {found['n_batches']} batches of {found['rows_per_batch']} "
        f"rows in parts of {found['rows_per_part']}",
        ("quantity", "value"),
        [
            ("critical batch size" + " (95 %)" * with_interval, interval_text(found)),
            ("square of the gradient", found["gradient_square"]),
            ("trace of its covariance, a row", found["trace"]),
            ("loss, nats per target", found["loss"]),
        ],
    )
    advice = batch_advice(found["batch_size"], found["rows"])
    notes = [(advice,)]
    if not with_interval:
        notes.append((f"no interval of {found['n_batches']} batches: --batches measures more",))
    if found["checkpoint"] is None:
        notes.append(("it grows while the loss falls: --checkpoint measures it later in a run",))
    yield Table(f"With pretrain.batch_size {found['batch_size']}", ("to a given loss",), notes)
