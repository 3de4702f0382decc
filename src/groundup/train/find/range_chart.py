"""The loss of a learning-rate range test as a chart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groundup.charts import Marks, Series, line_chart


def range_chart(result: Mapping[str, Any]) -> str:
    """Loss against learning rate, as it was and smoothed, with what was read from it.

    Args:
        result: as `groundup find learning-rate` keeps it.
    """

    def line(name: str) -> tuple[list[float], list[float]]:
        points = zip(result["rates"], result[name], strict=True)
        seen = [(rate, loss) for rate, loss in points if loss is not None]
        return [rate for rate, _ in seen], [loss for _, loss in seen]

    losses, smoothed = line("losses"), line("smoothed")
    by_rate = dict(zip(*smoothed, strict=True))
    marks = [
        Marks(name, [rate], [by_rate[rate]], [f"{name}: {rate:.3g}"], symbol, 1)
        for name, symbol in (("steepest", "diamond"), ("lowest", "circle"), ("diverged", "x"))
        if (rate := result[name]) in by_rate
    ]
    return line_chart(
        "Loss after one step at each learning rate",
        [Series("loss", *losses, style="faint"), Series("smoothed", *smoothed)],
        f"learning rate of {result['optimizer']}",
        "loss, nats per target",
        marks=marks,
        log_x=True,
    )
