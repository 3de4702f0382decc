"""``groundup find learning-rate``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from groundup.cli.find.common import finish
from groundup.cli.options import COUNT, project_options

if TYPE_CHECKING:
    from groundup.tables import Table


@click.command("learning-rate")
@click.option("--steps", type=COUNT, default=200, help="Of the sweep (200).")
@click.option("--from", "low", type=float, default=1e-3, help="Times the usual rate (0.001).")
@click.option("--to", "high", type=float, default=100.0, help="Times the usual rate (100).")
@project_options
def learning_rate(steps: float, low: float, high: float, **given: Any) -> int:
    """Find a learning rate by a range test: a short run in which the rate grows until it breaks.

    It begins at the run's own first state and takes its first batches. The rates of all groups of
    parameters grow together. The loss is drawn in a page beside the result.
    """

    def found(project: Any) -> dict[str, Any]:
        from groundup.stages_find import find_learning_rate

        return find_learning_rate(project, low=low, high=high, steps=int(steps))

    return finish(found, _tables, **given)


def _tables(found: Mapping[str, Any]) -> Iterable[Table]:
    from groundup.tables import Table

    says = {
        "steepest": "the loss falls fastest",
        "lowest": "the loss is lowest",
        "diverged": "training breaks",
    }
    rows = [(words, found[name]) for name, words in says.items()]
    if found["diverged"] is not None:
        rows.append(("a tenth of that", found["diverged"] / 10))
    rows.append(("the usual", found["usual"]["learning_rate"]))
    yield Table(
        f"Learning rates of {found['optimizer']} in a sweep of {len(found['rates'])} steps",
        ("where", "learning rate"),
        rows,
    )
    if found["suggested"] is None:
        rows = [("none: the loss never fell", None)]
    else:
        rows = [(f"pretrain.{name}", rate) for name, rate in found["suggested"].items()]
    yield Table(
        "Suggested: a tenth of where it breaks, or the lowest; the steepest where nothing breaks",
        ("key", "rate"),
        rows,
    )
