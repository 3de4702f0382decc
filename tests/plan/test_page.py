import os
import re
import shutil
import subprocess
from datetime import date

import pytest

from groundup.errors import StorageError
from groundup.plan import plots
from groundup.plan.landscape import landscape, own_plan
from groundup.plan.laws import surface
from groundup.plan.milestones import milestones
from groundup.plan.page import Section, render, write_page
from groundup.plan.undertraining import field, frontier_line, place, places
from groundup.tables import Table
from tests.test_charts import HOSTILE, data_of

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def every_chart():
    found = [*places(milestones()), place("ours", 13e9, 300e9, ours=True)]
    wide, tall = (1e9, 2e12), (5e10, 5e13)
    grid = field(wide, tall, n_points=20)
    plan = own_plan("ours", date(2026, 11, 21), flops=2e22, cost_usd=1e5)
    entries, _ = landscape(milestones(), plan=plan, price_on_chip="h100", day=date(2025, 3, 17))
    losses = surface("besiroglu")
    curves = []
    for flops in (1e21, 1e22, 1e23):
        sizes = [1e8 * 10 ** (i / 10) for i in range(31)]
        curves.append(plots.IsoFlop(flops, sizes, [losses.loss(n, flops / 6 / n) for n in sizes]))
    return {
        "map": plots.map_chart(found, grid, frontier_line("chinchilla-1", wide), "chinchilla-1"),
        "compute": plots.compute_chart(entries),
        "cost": plots.cost_chart(entries),
        "isoflop": plots.isoflop_chart(curves),
        "equal": plots.equal_compute_chart(1e12, losses=(2.0, 2.1), optimum=(28e9, 0.28)),
        "longer": plots.smaller_longer_chart(
            {"besiroglu": [(3e9, 2e12), (7e9, 1e12), (13e9, 3e11)]}, 13e9, 3e11
        ),
    }


def test_guessed_models_are_marked(charts):
    for name in ("map", "compute", "cost"):
        shown = [spot for trace in data_of(charts[name]) for spot in trace.get("customdata", [])]
        marked = {spot[0] for spot in shown if "guess of others" in spot[1]}
        assert marked == {spot[0] for spot in shown if spot[0].startswith("~")} != set()


@pytest.fixture(scope="module")
def charts():
    return every_chart()


def test_the_two_sides_of_the_minimum_are_labelled(charts):
    assert "too small a model, over-trained" in charts["isoflop"]
    assert "too large a model, under-trained" in charts["isoflop"]


def test_the_minimum_of_each_budget_is_marked():
    losses = surface("besiroglu")
    sizes = [1e9 * 10 ** (i / 200) for i in range(401)]
    curve = plots.IsoFlop(1e22, sizes, [losses.loss(n, 1e22 / 6 / n) for n in sizes])
    traces = data_of(plots.isoflop_chart([curve]))
    assert traces[-1]["x"] == [pytest.approx(losses.optimum(1e22)[0], rel=0.02)]


def test_twenty_billion_on_forty_percent_is_two_hundred_on_four(charts):
    line, points = data_of(charts["equal"])
    products = [x * y for x, y in zip(line["x"], line["y"], strict=True)]
    assert products == pytest.approx([8e9, 8e9], rel=1e-5)
    assert points["text"][:2] == ["20B on 40%: loss 2.000", "200B on 4%: loss 2.100"]


def test_the_same_content_gives_the_same_bytes_and_asks_no_network(charts):
    sections = [Section("One", ["text"], list(charts.values()), notes=["note"])]
    page = render("Title", sections)
    assert page == render("Title", sections)
    ours = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)  # plotly's names its home page
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", ours)
    assert "default-src 'none'" in page


def test_hostile_texts_stay_text():
    table = Table(HOSTILE, [HOSTILE, "n"], [[HOSTILE, 1]])
    page = render(HOSTILE, [Section(HOSTILE, [HOSTILE], tables=[table], notes=[HOSTILE])])
    assert "<script" not in page  # no chart: no script at all
    assert "<b onclick" not in page
    assert "\x1b" not in page


def test_numbers_stand_right_aligned_and_words_do_not():
    table = Table("t", ["name", "n", "money"], [["a", "41.6 ×", "$1,234"], ["b", "", "~$0.50"]])
    page = render("t", [Section("s", tables=[table])])
    heads = re.findall(r"<th( class=\"num\")?>(\w+)</th>", page)
    assert [(name, bool(right)) for right, name in heads] == [
        ("name", False),
        ("n", True),
        ("money", True),
    ]


def test_a_table_without_rows_is_written():
    assert "<th>a</th>" in render("t", [Section("s", tables=[Table("none", ["a"], [])])])


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in ("file", "file/below"):
        with pytest.raises(StorageError, match="file"):
            write_page(tmp_path / folder / "page.html", "t", [])


def test_a_browser_draws_every_chart_and_complains_of_nothing(tmp_path, charts):
    page = write_page(tmp_path / "page.html", "All", [Section("All", [], list(charts.values()))])
    done = browse(tmp_path, page, "1280,2000")
    assert done.stdout.count("plotly-graph-div js-plotly-plot") == len(charts)
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []


def test_on_a_narrow_page_labels_that_meet_are_hidden_but_for_ours(tmp_path, charts):
    page = write_page(tmp_path / "page.html", "Map", [Section("Map", [], [charts["map"]])])
    done = browse(tmp_path, page, "700,1500")
    labels = re.findall(
        r'class="textpoint".*?<text[^>]*visibility: (\w+)[^>]*>([^<]*)', done.stdout
    )
    shown = {name for visibility, name in labels if visibility == "visible"}
    assert "ours" in shown
    assert 15 < len(shown) < len(labels)


def browse(folder, page, size):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        reason = "no Chromium: install Debian's package `chromium`"
        if os.environ.get("GROUNDUP_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            f"--user-data-dir={folder / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND",
            "--enable-logging=stderr", f"--window-size={size}", "--virtual-time-budget=15000",
            "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
