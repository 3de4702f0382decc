"""The charts of a report: how training went, and what the model can do."""

from __future__ import annotations

from collections.abc import Sequence

from groundup.charts import Band, Bar, Series, bar_chart, line_chart
from groundup.report.happened import given_up, marks
from groundup.report.sources import Sources

TOKENS = "training tokens"
SMOOTHED_OVER = 1 / 40  # of the run, on each side of a point


def loss_chart(sources: Sources) -> str:
    """Training loss, what happened on the way, validation, and the prediction with its band."""
    x = column(sources, "tokens")
    loss = column(sources, "loss")
    ends = (x[0], x[-1])
    smoothed = smooth(loss)
    symbols = marks(
        sources, {line["step"]: y for line, y in zip(sources.metrics, smoothed, strict=True)}
    )
    series = [
        *given_up(sources, max(loss)),
        Series("each step", x, loss, "faint", 0),
        Series("training, smoothed", x, smoothed, "line", 0),
    ]
    evaluations = [event for event in sources.happened("evaluation") if "loss" in event]
    if evaluations:
        places = [sources.tokens_at(event["step"]) for event in evaluations]
        series.append(
            Series("validation", places, [event["loss"] for event in evaluations], "points", 1)
        )
    predicted, band = sources.predicted.get("loss"), sources.band.get("loss")
    if predicted is not None:
        name = "predicted at the end (validation)"
        series.append(Series(name, ends, (predicted, predicted), "dashed", 2))
    bands = [Band("band of the prediction", ends, band[0], band[1], 2)] if band else []
    return line_chart(
        "Loss",
        series,
        TOKENS,
        "nats per token",
        bands=bands,
        marks=symbols,
        log_switch=True,
        height=380 + 16 * len(symbols),  # their names stand in the legend
    )


def small_charts(sources: Sources) -> list[str]:
    """Learning rate, throughput, MFU and gradient norm, as far as they were logged."""
    x = column(sources, "tokens")
    charts = []
    if column(sources, "learning_rate"):
        rate = Series("learning rate", x, column(sources, "learning_rate"))
        charts.append(line_chart("Learning rate", [rate], TOKENS, "learning rate", from_zero=True))
    if rates := column(sources, "tokens_per_second"):
        series = [
            Series("each step", x, rates, "faint"),
            Series("smoothed", x, smooth(rates)),
        ]
        if predicted := sources.predicted.get("tokens_per_second"):
            line = Series("predicted", (x[0], x[-1]), (predicted, predicted), "dashed", 2)
            series.append(line)
        charts.append(line_chart("Throughput", series, TOKENS, "tokens per second", from_zero=True))
    if shares := column(sources, "mfu"):
        series = [Series("each step", x, shares, "faint"), Series("smoothed", x, smooth(shares))]
        title = "MFU: share of the machine's rate in use"
        charts.append(line_chart(title, series, TOKENS, "MFU", from_zero=True, y_format=".0%"))
    if norms := column(sources, "grad_norm"):
        series = [Series("each step", x, norms, "faint"), Series("smoothed", x, smooth(norms))]
        charts.append(
            line_chart("Gradient norm before clipping", series, TOKENS, "norm", log_switch=True)
        )
    return charts


def yardstick_chart(rows: Sequence[tuple[str, float, bool]]) -> str:
    """Bits per byte of the model and of simpler means: (name, bits, whether it is ours)."""
    bars = [Bar(name, bits, ours=ours) for name, bits, ours in rows]
    title = "Bits per byte on held-out text: less is better"
    return bar_chart(title, bars, "bits per byte", form=".2f")


def rate_chart(rows: Sequence[tuple[str, float, tuple[float, float] | None, bool]]) -> str:
    """Shares of completions that parse: (name, share, its interval, whether it is ours)."""
    bars = [Bar(name, share, interval, ours) for name, share, interval, ours in rows]
    title = "Completions that parse: more is better; lines are 95 % intervals"
    return bar_chart(title, bars, "share of completions", form=".0%")


def column(sources: Sources, name: str) -> list[float]:
    """One metric of every step; empty if it was not logged throughout."""
    values = [line.get(name) for line in sources.metrics]
    return [] if None in values else [float(value) for value in values if value is not None]


def smooth(values: Sequence[float]) -> list[float]:
    """The mean around each point, `SMOOTHED_OVER` of the run to each side (less at the ends)."""
    reach = max(1, int(len(values) * SMOOTHED_OVER))
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    means = []
    for place in range(len(values)):
        side = min(reach, place, len(values) - 1 - place)  # symmetric, so that a slope stays
        begin, end = place - side, place + side + 1
        means.append((sums[end] - sums[begin]) / (end - begin))
    return means
