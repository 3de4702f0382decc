"""Labelled points, over lines and over a map of colours, on linear, logarithmic or time axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from groundup.charts.figure import COLOURS, QUIET, figure, text
from groundup.charts.labels import sides_of
from groundup.charts.lines import Series

OURS = COLOURS[1]
ON_FIELD = "#23272e"  # points over colours: dark, with a light rim


@dataclass(frozen=True)
class Spot:
    """One labelled point; ``x`` may be a day."""

    name: str
    x: float | date
    y: float
    group: str = ""  # spots of one group have one colour and one name in the legend
    ours: bool = False  # the point the chart is about
    note: str = ""  # said when the mouse is over it
    label: bool = True  # whether its name may stand beside it


@dataclass(frozen=True)
class Remark:
    """Words written into a chart at a place; ``align`` says where the place is to the words."""

    text: str
    x: float | date
    y: float
    align: Literal["left", "center", "right"] = "center"


@dataclass(frozen=True)
class Field:
    """Values over a grid, shown as colours: one row of ``values`` for each ``y``."""

    x: Sequence[float]
    y: Sequence[float]
    values: Sequence[Sequence[float]]
    limit: float  # colours run from -limit to limit
    ticks: Sequence[tuple[float, str]]  # of the colour bar
    contours: Sequence[Sequence[float]] = ()  # a second surface, as lines of equal value
    contours_name: str = ""


def spot_chart(
    title: str,
    spots: Sequence[Spot],
    x_title: str,
    y_title: str,
    *,
    lines: Sequence[Series] = (),
    field: Field | None = None,
    remarks: Sequence[Remark] = (),
    log_x: bool = False,
    log_y: bool = True,
    y_prefix: str = "",
    y_format: str = "",
    best_side: str = "top center",
    height: int = 520,
) -> str:
    """Labelled points, over lines and over a field of colours where these are given.

    Labels are placed in the order of the spots: one that would lie on another point or label goes
    to another side of its point, and is left out (but for the mouse) where no side is free; that
    of our own point is always there.

    Args:
        title: said above the chart.
        spots: the points; those of a group share a colour.
        x_title: name and unit of the x axis.
        y_title: name and unit of the y axis.
        lines: drawn behind the points.
        field: drawn behind everything.
        remarks: words in the chart.
        log_x: logarithmic x axis; not with days.
        log_y: logarithmic y axis.
        y_prefix: before the numbers of the y axis, for example ``$``.
        y_format: d3 format of the y axis, for example ``.0%``.
        best_side: of a point, for its label.
        height: of the drawing, in CSS pixels.

    Returns:
        a ``<figure>``; the page needs `script()` before it and `STYLE`.
    """
    traces = _field_traces(field) if field else []
    traces += [_curve_trace(line) for line in lines]
    groups = list(dict.fromkeys(spot.group for spot in spots))
    x_ends = _ends([spot.x for spot in spots], lines, remarks, log_x, "x")
    y_ends = _ends([spot.y for spot in spots], lines, remarks, log_y, "y")
    if field:
        x_ends = math.log10(field.x[0]), math.log10(field.x[-1])
        y_ends = math.log10(field.y[0]), math.log10(field.y[-1])
    sides = sides_of(
        [spot.name if spot.label else "" for spot in spots],
        [_axis_value(spot.x, log_x) for spot in spots],
        [_axis_value(spot.y, log_y) for spot in spots],
        height,
        first=[spot.ours for spot in spots],
        ends=(x_ends, y_ends),
        best=best_side,
    )
    for number, group in enumerate(groups):
        members = [i for i, spot in enumerate(spots) if spot.group == group]
        colour = ON_FIELD if field else COLOURS[(0, 2, 3, 4)[number % 4]]
        traces.append(_spots_trace(group, colour, [(spots[i], sides[i]) for i in members]))
    days = any(isinstance(spot.x, date) for spot in spots)
    x_axis: dict[str, Any] = {
        "title": {"text": text(x_title)},
        "ticklabelstandoff": 6,  # clear of the lowest number of the y axis
        "showgrid": field is None,
    }
    if not days:
        x_axis |= _axis(x_ends, log_x)
    y_axis: dict[str, Any] = {
        "title": {"text": text(y_title), "standoff": 14},
        "tickprefix": y_prefix,
        "showgrid": field is None,
        **_axis(y_ends, log_y),
    }
    if y_format:
        y_axis["tickformat"] = y_format
    layout = {
        "xaxis": x_axis,
        "yaxis": y_axis,
        "hovermode": "closest",
        "showlegend": sum(bool(trace.get("showlegend", True)) for trace in traces) > 1,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "annotations": [_annotation(remark, log_x, log_y) for remark in remarks],
    }
    return figure(title, traces, layout, height, log_switch=False)


PADDING = 0.06  # of the range of the data, on each side


def _ends(
    values: Sequence[float | date],
    lines: Sequence[Series],
    remarks: Sequence[Remark],
    log: bool,
    axis: Literal["x", "y"],
) -> tuple[float, float]:
    """The ends of an axis that shows everything, in the axis's own measure."""
    everything = [*values, *(getattr(remark, axis) for remark in remarks)]
    everything += [value for line in lines for value in getattr(line, axis)]
    measured = [_axis_value(value, log) for value in everything] or [0.0]
    low, high = min(measured), max(measured)
    padding = PADDING * (high - low) or 0.5
    return low - padding, high + padding


def _axis(ends: tuple[float, float], log: bool) -> dict[str, Any]:
    axis: dict[str, Any] = {"range": list(ends), "exponentformat": "B", "minexponent": 3}
    if log:
        # Every power of ten; 1, 2 and 5 where there are few of them.
        axis |= {"type": "log", "dtick": 1 if ends[1] - ends[0] > 2.2 else "D2"}
    return axis


def _curve_trace(series: Series) -> dict[str, Any]:
    """A line among spots: named by the mouse, not thinned."""
    colour = COLOURS[series.colour % len(COLOURS)]
    return {
        "type": "scatter",
        "name": text(series.name),
        "x": list(series.x),
        "y": [float(f"{value:.6g}") for value in series.y],
        "mode": "lines",
        "opacity": 0.45 if series.style == "faint" else 1,
        "line": {
            "color": colour,
            "width": 1.5 if series.style == "faint" else 2,
            "dash": "dash" if series.style == "dashed" else "solid",
        },
        "hovertemplate": f"{text(series.name)}<br>%{{x:.4~s}}, %{{y:.4~s}}<extra></extra>",
    }


def _spots_trace(
    group: str, colour: str, members: Sequence[tuple[Spot, str | None]]
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": text(group),
        "showlegend": bool(group),
        "x": [spot.x.isoformat() if isinstance(spot.x, date) else spot.x for spot, _ in members],
        "y": [spot.y for spot, _ in members],
        "mode": "markers+text",
        "text": [text(spot.name) if side else "" for spot, side in members],
        "textposition": [side or "top center" for _, side in members],
        "textfont": {"size": [12 if spot.ours else 11 for spot, _ in members]},
        "cliponaxis": False,
        "marker": {
            "color": [OURS if spot.ours else colour for spot, _ in members],
            "size": [15 if spot.ours else 8 for spot, _ in members],
            "symbol": ["star" if spot.ours else "circle" for spot, _ in members],
            "line": {"width": 1, "color": "#fff"},
        },
        "customdata": [
            [text(spot.name), text(spot.note).replace("\n", "<br>")] for spot, _ in members
        ],
        "hovertemplate": "<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
    }


def _field_traces(field: Field) -> list[dict[str, Any]]:
    """Colours that let the page shine through, so that light and dark mode both stay readable."""
    grid = {"x": list(field.x), "y": list(field.y), "hoverinfo": "skip"}
    traces: list[dict[str, Any]] = [
        {
            **grid,
            "type": "heatmap",
            "z": [[round(value, 3) for value in row] for row in field.values],
            "zmin": -field.limit,
            "zmax": field.limit,
            "zsmooth": "best",
            "opacity": 0.6,
            "showlegend": False,
            "colorscale": [
                [0, "#c0504d"],
                [0.3, "#e3a16f"],
                [0.5, "#8fbf9f"],
                [0.7, "#7fa8d6"],
                [1, "#3f5fa8"],
            ],
            "colorbar": {
                "tickvals": [value for value, _ in field.ticks],
                "ticktext": [text(words) for _, words in field.ticks],
                "thickness": 14,
                "outlinewidth": 0,
            },
        }
    ]
    if field.contours:
        traces.append(
            {
                **grid,
                "type": "contour",
                "name": text(field.contours_name),
                "z": [[round(value, 4) for value in row] for row in field.contours],
                "contours": {
                    "coloring": "none",
                    "showlabels": True,
                    "labelfont": {"size": 10, "color": QUIET},
                },
                "line": {"color": QUIET, "width": 1, "dash": "dot"},
                "ncontours": 14,
                "showlegend": True,
            }
        )
    return traces


def _annotation(remark: Remark, log_x: bool, log_y: bool) -> dict[str, Any]:
    x = remark.x.isoformat() if isinstance(remark.x, date) else remark.x
    return {
        "x": math.log10(x) if log_x and not isinstance(x, str) else x,
        "y": math.log10(remark.y) if log_y else remark.y,
        "text": text(remark.text),
        "showarrow": False,
        "xanchor": remark.align,
        "align": remark.align,
        "font": {"size": 12},
    }


def _axis_value(value: float | date, log: bool) -> float:
    if isinstance(value, date):
        return value.toordinal()
    return math.log10(value) if log else value
