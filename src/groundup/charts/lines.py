"""Lines over a common axis, and horizontal bars.

Long lines are thinned to their extremes, so that no spike disappears.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from textwrap import wrap
from typing import Any, Literal

from groundup.charts.figure import COLOURS, QUIET, figure, text

MOST_POINTS = 2000  # a line: more than a screen has columns


@dataclass(frozen=True)
class Series:
    """A named line (or points) in a chart; ``x`` and ``y`` are of one length."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: Literal["line", "faint", "dashed", "points"] = "line"
    colour: int = 0  # index into COLOURS
    in_legend: bool = True


@dataclass(frozen=True)
class Marks:
    """Events of one kind on a chart: a symbol each, and a note under the mouse."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    notes: Sequence[str]
    symbol: str  # plotly's name of it
    colour: int = 0  # index into COLOURS


@dataclass(frozen=True)
class Band:
    """A shaded range from ``low`` to ``high`` between two places of the x axis."""

    name: str
    x: tuple[float, float]
    low: float
    high: float
    colour: int = 0


@dataclass(frozen=True)
class Bar:
    """One bar, with the ends of its interval where it has one."""

    name: str
    value: float
    interval: tuple[float, float] | None = None
    ours: bool = False  # the bar the chart is about


def line_chart(
    title: str,
    series: Sequence[Series],
    x_title: str,
    y_title: str,
    *,
    bands: Sequence[Band] = (),
    marks: Sequence[Marks] = (),
    log_x: bool = False,
    log_switch: bool = False,
    from_zero: bool = False,
    y_format: str = "",
    height: int = 300,
) -> str:
    """Lines over a common x axis.

    Args:
        title: said above the chart.
        series: at least one; each thinned to `MOST_POINTS`.
        x_title: name and unit of the x axis.
        y_title: name and unit of the y axis.
        bands: shaded ranges behind the lines.
        marks: events, before the lines.
        log_x: make the x axis logarithmic.
        log_switch: offer a button between linear and logarithmic y axis.
        from_zero: let the y axis begin at zero.
        y_format: d3 format of the y axis, for example ``.0%``.
        height: of the drawing, in CSS pixels.

    Returns:
        a ``<figure>``; the page needs `script()` before it and `STYLE`.
    """
    traces = [_band_trace(band) for band in bands]
    traces += [_line_trace(one) for one in series]
    traces += [_marks_trace(one) for one in marks]
    y_axis: dict[str, Any] = {"title": {"text": text(y_title)}}
    if from_zero:
        y_axis["rangemode"] = "tozero"
    if y_format:
        y_axis["tickformat"] = y_format
    layout = {
        "xaxis": {
            "title": {"text": text(x_title)},
            "exponentformat": "e" if log_x else "B",  # 2B, not 2G
            **({"type": "log"} if log_x else {}),
        },
        "yaxis": y_axis,
        "hovermode": "x unified",
        "showlegend": len(traces) > 1,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    }
    return figure(title, traces, layout, height, log_switch)


def bar_chart(title: str, bars: Sequence[Bar], x_title: str, *, form: str = ".3g") -> str:
    """Horizontal bars in the given order from the top, each with its interval or its value.

    Args:
        title: said above the chart.
        bars: at least one.
        x_title: name and unit of the values.
        form: of the values, where Python's and d3's formats agree (``.2f``, ``.0%``).
    """
    names = [text(bar.name) for bar in bars]
    trace: dict[str, Any] = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": [bar.value for bar in bars],
        "text": [f"{bar.value:{form}}" for bar in bars],
        # Beside the bar, clear of the interval's end: inside would be unreadable on short bars.
        "textposition": "none" if any(bar.interval for bar in bars) else "outside",
        "cliponaxis": False,
        "marker": {"color": [COLOURS[0] if bar.ours else QUIET for bar in bars]},
        "hovertemplate": f"%{{y}}: %{{x:{form}}}<extra></extra>",
    }
    if any(bar.interval for bar in bars):
        ends = [bar.interval or (bar.value, bar.value) for bar in bars]
        trace["error_x"] = {
            "type": "data",
            "symmetric": False,
            "array": [high - bar.value for bar, (_, high) in zip(bars, ends, strict=True)],
            "arrayminus": [bar.value - low for bar, (low, _) in zip(bars, ends, strict=True)],
        }
    x_axis: dict[str, Any] = {"title": {"text": text(x_title)}, "rangemode": "tozero"}
    if "%" in form:
        x_axis["tickformat"] = form
    layout = {
        "xaxis": x_axis,
        "yaxis": {"autorange": "reversed", "automargin": True, "ticksuffix": "  "},
        "showlegend": False,
        "bargap": 0.35,
    }
    return figure(title, [trace], layout, height=80 + 36 * len(bars), log_switch=False)


def thin(
    x: Sequence[float], y: Sequence[float], most: int = MOST_POINTS
) -> tuple[list[float], list[float]]:
    """At most ``most`` points: of each stretch the lowest and the highest, in their order.

    Points whose value is not finite are left out.
    """
    points = [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)]
    if len(points) > most:
        stretches = most // 2
        edges = [len(points) * i // stretches for i in range(stretches + 1)]
        kept = []
        for begin, end in pairwise(edges):
            places = range(begin, end)
            lowest = min(places, key=lambda place: points[place][1])
            highest = max(places, key=lambda place: points[place][1])
            kept += [points[place] for place in sorted({lowest, highest})]
        points = kept
    return [a for a, _ in points], [float(f"{b:.6g}") for _, b in points]


def _line_trace(series: Series) -> dict[str, Any]:
    x, y = thin(series.x, series.y)
    colour = COLOURS[series.colour % len(COLOURS)]
    return {
        "type": "scatter",
        "name": text(series.name),
        "x": x,
        "y": y,
        "mode": "lines+markers" if series.style == "points" else "lines",
        "opacity": 0.45 if series.style == "faint" else 1,
        "line": {
            "color": colour,
            "width": 1 if series.style == "faint" else 2,
            "dash": "dash" if series.style == "dashed" else "solid",
        },
        "marker": {"size": 7, "color": colour},
        "hovertemplate": "%{y:.4~g}",
        **({} if series.in_legend else {"showlegend": False}),
    }


def _marks_trace(marks: Marks) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": text(marks.name),
        "x": list(marks.x),
        "y": [float(f"{value:.6g}") for value in marks.y],
        "text": ["<br>".join(map(text, wrap(note, 80))) for note in marks.notes],
        "mode": "markers",
        "marker": {
            "size": 11,
            "symbol": marks.symbol,
            "color": COLOURS[marks.colour % len(COLOURS)],
            "line": {"width": 1.5, "color": COLOURS[marks.colour % len(COLOURS)]},
        },
        "hovertemplate": "%{text}<extra></extra>",
    }


def _band_trace(band: Band) -> dict[str, Any]:
    left, right = band.x
    return {
        "type": "scatter",
        "name": text(band.name),
        "x": [left, right, right, left, left],
        "y": [band.low, band.low, band.high, band.high, band.low],
        "mode": "lines",
        "line": {"width": 0, "color": COLOURS[band.colour % len(COLOURS)]},
        "fill": "toself",
        "opacity": 0.25,
        "hoverinfo": "skip",
    }
