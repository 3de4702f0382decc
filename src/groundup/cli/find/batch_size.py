"""``groundup find batch-size``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from groundup.cli.find.common import finish
from groundup.cli.options import COUNT, project_options

if TYPE_CHECKING:
    from groundup.tables import Table


@click.command("batch-size")
@click.option(
    "--most", type=COUNT, metavar="ROWS", help="Largest size to try (four times the batch)."
)
@project_options
def batch_size(most: float | None, **given: Any) -> int:
    """Find the largest micro-batch that fits in the memory, and the one with most tokens a second.

    Sizes are doubled until one does not fit, then bisected. Each takes real training steps in a
    process of its own.
    """
    from groundup.errors import ConfigError

    def found(project: Any) -> dict[str, Any]:
        from groundup.stages_find import find_batch_size

        if most is not None and most < 1:
            raise ConfigError(
                f"--most {most:g} is not at least one row",
                where="--most",
                fix="give a number of rows, or leave it out",
            )
        return find_batch_size(project, None if most is None else int(most))

    return finish(found, _tables, **given)


def _tables(found: Mapping[str, Any]) -> Iterable[Table]:
    from groundup.tables import Table
    from groundup.units import format_bytes

    rows = [
        (
            f"{'→ ' if trial['rows'] == found['suggested']['micro_batch_size'] else ''}"
            f"{trial['rows']}",
            trial["tokens_per_second"],
            None
            if trial["peak_memory_bytes"] is None
            else format_bytes(trial["peak_memory_bytes"]),
            _says(trial),
        )
        for trial in found["trials"]
    ]
    limit = found["limit_bytes"]
    room = "on this GPU" if limit is None else f"in {format_bytes(limit)}"
    largest = f"{found['largest']}" + ("" if found["is_largest"] else " or more")
    yield Table(
        f"Micro-batches: {largest} rows fit {room}; "
        f"{found['suggested']['micro_batch_size']} is fastest of what divides a batch of "
        f"{found['batch_size']}",
        ("rows", "tokens per second", "peak memory", ""),
        rows,
    )


def _says(trial: Mapping[str, Any]) -> str:
    if trial["fits"]:
        return ""
    return "does not fit" if trial["tried"] else "would not fit (not tried)"
