"""What interfered with a run is on its page, and nothing is where nothing happened."""

import json
import re

import pytest

from groundup.report.page import write_report
from groundup.report.plots import loss_chart
from groundup.report.sources import read_sources
from tests.report.finished import HOSTILE, TOKENS_PER_STEP, add_events, finished_project
from tests.report.test_page import Page


def eventful(folder, sample=""):
    given = finished_project(folder, sample)
    add_events(given["run"], sample)
    return given


def written(folder, given):
    write_report(folder / "report", **given)
    return (folder / "report" / "report.html").read_text(encoding="utf-8")


def traces(run):
    """The loss chart's traces by name, as plotly gets them; several of one name are a list."""
    text = loss_chart(read_sources(run, {}))
    data = json.loads(re.search(r"Plotly\.newPlot\(\s*\"[^\"]+\",\s*(\[.*\]),\s*\{", text)[1])
    found = {}
    for trace in data:
        found.setdefault(trace["name"], []).append(trace)
    return found


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return eventful(tmp_path_factory.mktemp("eventful"))


@pytest.fixture(scope="module")
def page(given, tmp_path_factory):
    return Page(written(tmp_path_factory.mktemp("page"), given))


@pytest.mark.parametrize(
    "text",
    [
        "120 batch left out samples 1,920 to 1,935: the loss 7.12 is 14.3 robust",
        "420 went back from step 450 to 420 (step-00000420): the loss 7.12",
        "420 learning rate lowered to 0.5 of its schedule",
        "500 silent corruption weight blocks.2.feed_forward.up.weight on rank 3 (node-17) is not",
        "600 settings changed learning_rate = 0.01, activation = swiglu, over 100 steps",
        "700 settings changed settings.beta2: 0.95 → 0.98, at a restart",
        "700 restarted from step-00000700; this machine differs in numerics.torch",
        "760 checkpoint failed the disk is full; 12 bytes are free",
        "800 accepted number 3",  # a kind that this page does not know
        "300 alarm the loss 7.12",
        "900 stopped by the guard the loss 7.12",
        "resumed 2 times, 2 batches left out, 2 rewinds, 1 silent corruption",
    ],
)
def test_every_decision_and_its_reason_is_in_the_table(page, text):
    cells = " ".join(re.sub(r"(\d)([a-z])", r"\1 \2", page.text).split())
    assert squeezed(text) in squeezed(cells)


def squeezed(text):
    return re.sub(r"\s", "", text)


def test_events_stand_in_the_order_in_which_they_happened(page):
    section = page.text[page.text.index("Every decision") :]
    words = ("samples 1,920", "samples 1,952", "from step 450", "from step 500", "beta2")
    places = [section.index(word) for word in words]
    assert places == sorted(places)


def test_each_kind_has_its_mark_at_its_tokens(given):
    found = traces(given["run"])
    expected = {
        "batch left out": [120, 121],
        "alarm": [300],
        "went back": [420, 420],
        "learning rate lowered": [420],
        "silent corruption": [500],
        "settings changed": [600, 700],
        "restarted": [380, 700],
        "stopped by the guard": [900],
    }
    marks = {name: one for name, one in found.items() if one[0]["mode"] == "markers"}
    assert {name: one["x"] for name, (one,) in marks.items()} == {
        name: [step * TOKENS_PER_STEP for step in steps] for name, steps in expected.items()
    }


def test_abandoned_steps_are_drawn_faintly_once_for_each_rewind(given):
    first, second = traces(given["run"])["steps given up"]
    assert first["x"] == [step * TOKENS_PER_STEP for step in range(421, 451)]
    assert first["y"][0] == pytest.approx(3.45)
    assert len(second["x"]) == 80
    assert first["opacity"] < 0.5
    assert second["showlegend"] is False


def test_steps_that_shot_up_do_not_flatten_the_chart(tmp_path):
    given = finished_project(tmp_path)
    line = {"rewind": 1, "step": 9, "loss": 1e9, "tokens": 9 * TOKENS_PER_STEP}
    (given["run"] / "abandoned.jsonl").write_text(json.dumps(line) + "\n")
    found = traces(given["run"])
    (own,) = found["each step"]
    assert found["steps given up"][0]["y"] == [max(own["y"])]


def test_where_nothing_happened_nothing_is_shown(tmp_path):
    given = finished_project(tmp_path)
    path = given["run"] / "events.jsonl"
    lines = [line for line in path.read_text().splitlines() if '"resumed"' not in line]
    path.write_text("\n".join(lines) + "\n")
    page = Page(written(tmp_path, given))
    assert "What happened" not in page.text
    assert "happened" not in page.attributes("id")
    assert not [t for t in traces(given["run"]).values() if t[0]["mode"] == "markers"]


def test_hostile_texts_in_events_stay_text(tmp_path):
    html = written(tmp_path, eventful(tmp_path, HOSTILE))
    plain = written(tmp_path / "plain", eventful(tmp_path / "plain"))

    def scripts(text):
        return sum(tag == "script" for tag, _ in Page(text).elements)

    assert scripts(html) == scripts(plain)
    body = html[html.index("<body>") :]
    for character in "\x00\x1b\u202e":
        assert character not in body


def test_a_damaged_event_does_not_stop_the_page(tmp_path):
    given = finished_project(tmp_path)
    with (given["run"] / "events.jsonl").open("a") as file:
        for kind in ("skipped", "rewound", "changed", "resumed", "corruption", "alarm", None):
            file.write(json.dumps({"step": 5, "event": kind, "details": None}) + "\n")
    assert "batch left out" in written(tmp_path, given)


def test_more_events_than_anybody_reads_are_counted(tmp_path):
    given = finished_project(tmp_path)
    with (given["run"] / "events.jsonl").open("a") as file:
        for step in range(600):
            file.write(json.dumps({"step": step, "event": "skipped", "why": "w"}) + "\n")
    assert "101 more, in events.jsonl" in written(tmp_path, given)


def test_tokens_at_a_step_follow_a_growing_batch(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(
        json.dumps({"step": step, "loss": 1.0, "tokens": tokens}) + "\n"
        for step, tokens in ((1, 10), (2, 20), (3, 60), (4, 100))
    ))  # fmt: skip
    sources = read_sources(tmp_path, {})
    assert [sources.tokens_at(step) for step in (0, 2, 3, 6)] == [0, 20, 60, 150]
