import pytest

from groundup.report.compare import UNITS, as_json, compare, compare_tables, said_of_run
from groundup.tables import plain


def row(quantity, predicted, measured, band=None):
    (found,) = compare(
        {quantity: predicted}, {quantity: measured}, {quantity: band} if band else {}
    )
    return found


def test_the_error_is_relative_to_the_measurement():
    # A plan of 4 minutes for a run of 5 was 1/5 too low; one of 6 was 1/5 too high.
    assert row("duration_seconds", 240, 300).error_percent == pytest.approx(-20)
    assert row("duration_seconds", 360, 300).error_percent == pytest.approx(20)
    assert row("duration_seconds", 240, 300).words == "20.0 % too low"
    assert row("duration_seconds", 300, 300).words == "exact"


@pytest.mark.parametrize(
    ("quantity", "error", "grade"),
    [
        ("duration_seconds", 0.14, "good"),
        ("duration_seconds", -0.16, "fair"),
        ("duration_seconds", 0.31, "poor"),
        ("peak_memory_bytes", 0.09, "good"),
        ("peak_memory_bytes", 0.11, "fair"),
        ("loss", -0.04, "good"),
        ("loss", 0.11, "poor"),
    ],
)
def test_each_quantity_is_judged_by_its_own_tolerance(quantity, error, grade):
    assert row(quantity, 100 * (1 + error), 100).grade == grade


def test_a_loss_is_judged_by_its_band():
    assert row("loss", 3.0, 3.4, [2.5, 3.5]).grade == "good"  # 12 % off, but the plan said so
    inside = row("loss", 3.0, 3.1, [2.9, 3.2])
    assert inside.words.endswith("inside the band")
    outside = row("loss", 3.0, 3.1, [2.95, 3.05])
    assert (outside.grade, outside.in_band) == ("fair", False)


def test_the_range_of_offers_does_not_judge_the_cost():
    assert row("cost_usd", 1.0, 1.1, [0.5, 1.0]).grade == "good"


def test_what_is_known_on_one_side_only_is_shown_without_an_error():
    assert row("energy_kwh", None, 0.5).words == "not predicted"
    assert row("energy_kwh", 0.5, None).words == "not measured"
    assert row("energy_kwh", 0.5, None).grade == "none"
    assert row("cost_usd", 1.0, 0.0).error_percent is None


def test_rows_have_one_order_and_only_known_quantities():
    given = dict.fromkeys(reversed(list(UNITS)), 1.0)
    rows = compare({**given, "other": 1.0}, given, {})
    assert [row.quantity for row in rows] == list(UNITS)
    assert [row.unit for row in rows] == list(UNITS.values())
    assert compare({}, {}, {}) == []


def test_energy_is_said_to_be_an_estimate():
    assert "estimate" in row("energy_kwh", 1.0, 1.0).name


def test_what_is_computed_from_the_duration_says_so():
    for quantity in UNITS:
        derived = quantity in {"cost_usd", "energy_kwh"}
        assert row(quantity, 1.0, 1.0).name.endswith("from the duration") is derived


def test_the_table_for_the_terminal_says_the_same():
    (table,) = compare_tables(compare({"duration_seconds": 240.0}, {"duration_seconds": 300.0}, {}))
    text = plain(table)
    assert "4 min 00 s" in text
    assert "5 min 00 s" in text
    assert "20.0 % too low" in text


def test_rows_as_json_hold_raw_values():
    (found,) = as_json(compare({"loss": 3.0}, {"loss": 3.2}, {"loss": [2.9, 3.3]}))
    assert found["predicted"] == 3.0
    assert found["band"] == (2.9, 3.3)
    assert found["error_percent"] == pytest.approx(-6.25)


def test_a_profiled_run_is_compared_with_a_word_of_caution(tmp_path):
    of = {"processes": 2, "layout": "dp_shard 2", "machines": 1}
    assert said_of_run({}, tmp_path) is None
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "summary.txt").write_text("where the time goes")
    assert said_of_run({}, tmp_path).startswith("Steps were profiled")
    both = said_of_run({"of": of}, tmp_path)
    assert both.startswith("The run had 2 processes")
    assert both.endswith("contain the profiler's.")
