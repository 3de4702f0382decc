import json
import math
import re
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.charts import (
    MOST_POINTS,
    Band,
    Bar,
    Field,
    Remark,
    Series,
    Spot,
    bar_chart,
    line_chart,
    script,
    spot_chart,
    thin,
)
from groundup.charts.labels import MARGINS, WIDTH, _box, _overlap, _pixels, sides_of

HOSTILE = "</script><script>alert(1)</script><b onclick=x>\x1b[31m"


def data_of(chart):
    """The traces plotly is given, as JSON."""
    start = chart.index("[", chart.index("Plotly.newPlot("))
    return json.JSONDecoder().raw_decode(chart[start:])[0]


def test_a_chart_needs_no_network():
    page = line_chart("loss", [Series("a", [1, 2], [3, 4])], "x", "y", log_switch=True)
    assert not re.search(r"""(?:src|href)\s*=""", page)
    assert "http" not in page


def test_equal_data_give_equal_bytes_and_other_data_another_id():
    def draw(value):
        return line_chart("loss", [Series("a", [1, 2], [3, value])], "x", "y")

    names = [re.search(r'id="(chart-[0-9a-f]+)"', draw(value))[1] for value in (4, 4, 5)]
    assert draw(4) == draw(4)
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize("where", ["title", "name", "x", "y", "band"])
def test_a_hostile_text_stays_text(where):
    def text(place):
        return HOSTILE if place == where else "plain"

    page = line_chart(
        text("title"),
        [Series(text("name"), [1, 2], [3, 4])],
        text("x"),
        text("y"),
        bands=[Band(text("band"), (1, 2), 3, 4)],
    )
    assert page.count("<script") == page.count("</script>") == 1  # plotly's own call
    assert "<b onclick" not in page
    assert "\x1b" not in page


def test_hostile_names_of_bars_stay_text():
    page = bar_chart("bars", [Bar(HOSTILE, 1.0, ours=True)], "x")
    assert page.count("<script") == page.count("</script>") == 1


def test_bars_keep_their_order_and_the_ends_of_their_intervals():
    (trace,) = data_of(bar_chart("b", [Bar("a", 0.5, (0.4, 0.7)), Bar("b", 0.1)], "share"))
    assert trace["x"] == [0.5, 0.1]
    assert trace["error_x"]["array"] == pytest.approx([0.2, 0.0])
    assert trace["error_x"]["arrayminus"] == pytest.approx([0.1, 0.0])


def test_a_line_has_at_most_as_many_points_as_a_screen():
    n = 50_000
    series = [Series("a", range(n), [math.sin(i / 500) for i in range(n)])]
    (trace,) = data_of(line_chart("a", series, "x", "y"))
    assert MOST_POINTS / 2 < len(trace["x"]) <= MOST_POINTS


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(2, 40))
def test_thinning_keeps_extremes_and_order(values, most):
    x, y = thin(range(len(values)), values, most)
    assert len(x) == len(y) <= max(most, 2)
    assert x == sorted(x)
    assert min(y) == pytest.approx(min(values), rel=1e-5)
    assert max(y) == pytest.approx(max(values), rel=1e-5)


def test_a_single_spike_survives_thinning():
    values = [1.0] * 100_000
    values[77_777] = 50.0
    x, y = thin(range(100_000), values)
    assert (77_777, 50.0) in zip(x, y, strict=True)


def test_values_that_are_not_finite_are_left_out():
    assert thin([1, 2, 3], [1.0, math.nan, math.inf]) == ([1], [1.0])


def test_the_script_cannot_end_early():
    page = script()
    assert page.count("<script>") == page.count("</script>") == 2
    assert "<!--" not in page


# --- points ---------------------------------------------------------------------------------------


def spots(n=3):
    return [Spot(f"model {i}", 10.0**i, 10.0 ** (2 * i), note="said") for i in range(1, n + 1)]


def test_points_keep_their_places_and_our_own_stands_out():
    ours = Spot("ours", 50.0, 60.0, ours=True)
    (trace,) = data_of(spot_chart("t", [*spots(), ours], "x", "y", log_x=True))
    assert trace["x"] == [10, 100, 1000, 50]
    assert trace["marker"]["symbol"] == ["circle", "circle", "circle", "star"]
    assert trace["text"][-1] == "ours"


def test_points_may_lie_on_days():
    some = [Spot("a", date(2020, 5, 28), 1e23), Spot("b", date(2022, 4, 4), 1e24)]
    (trace,) = data_of(spot_chart("t", some, "day", "y"))
    assert trace["x"] == ["2020-05-28", "2022-04-04"]


def test_points_of_a_group_share_a_colour_and_a_place_in_the_legend():
    some = [Spot("a", 1, 1, "one"), Spot("b", 2, 2, "two"), Spot("c", 3, 3, "one")]
    first, second = data_of(spot_chart("t", some, "x", "y"))
    assert (first["name"], first["x"]) == ("one", [1, 3])
    assert set(first["marker"]["color"]) != set(second["marker"]["color"])


def test_a_map_of_colours_lies_behind_lines_and_points():
    field = Field([1, 10], [1, 10], [[0, 1], [-1, 0]], 1, [(0, "even")], [[2, 3], [4, 5]], "loss")
    line = Series("line", [1, 10], [1, 10])
    traces = data_of(spot_chart("t", spots(1), "x", "y", lines=[line], field=field, log_x=True))
    assert [trace["type"] for trace in traces] == ["heatmap", "contour", "scatter", "scatter"]
    assert (traces[0]["zmin"], traces[0]["zmax"]) == (-1, 1)


@pytest.mark.parametrize("where", ["title", "name", "group", "note", "line", "remark", "tick"])
def test_hostile_texts_around_points_stay_text(where):
    def text(place):
        return HOSTILE if place == where else "plain"

    page = spot_chart(
        text("title"),
        [Spot(text("name"), 1, 1, text("group"), note=text("note"))],
        "x",
        "y",
        lines=[Series(text("line"), [1, 2], [3, 4])],
        field=Field([1, 10], [1, 10], [[0, 1], [-1, 0]], 1, [(0, text("tick"))]),
        remarks=[Remark(text("remark"), 1, 1)],
        log_x=True,
    )
    assert page.count("<script") == page.count("</script>") == 1
    assert "<b onclick" not in page
    assert "\x1b" not in page


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40),
    st.integers(0, 39),
)
def test_no_label_lies_on_another_or_on_a_point(places, ours):
    names = [f"model {i}" for i in range(len(places))]
    first = [i == ours for i in range(len(places))]
    xs, ys = zip(*places, strict=True)
    ends = (-0.1, 1.1)
    sides = sides_of(names, xs, ys, 500, first, (ends, ends))
    pixels = list(zip(_pixels(xs, WIDTH, ends), _pixels(ys, 500 - MARGINS, ends), strict=True))
    boxes = {
        i: _box(names[i], pixels[i], side) for i, side in enumerate(sides) if side and not first[i]
    }
    for i, box in boxes.items():
        for j, other in boxes.items():
            assert i == j or not _overlap(box, other)
        for j, (x, y) in enumerate(pixels):
            assert i == j or not (box[0] < x < box[2] and box[1] < y < box[3])
    if ours < len(places):
        assert sides[ours]
