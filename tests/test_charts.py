import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.charts import MOST_POINTS, Band, Bar, Series, bar_chart, line_chart, script, thin

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
