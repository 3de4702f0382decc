import json
import math
from html.parser import HTMLParser

import pytest

from groundup.errors import InputError
from groundup.report.page import numeric, write_report
from groundup.report.plots import smooth
from tests.report.finished import HOSTILE, MEASURED, PREDICTED, finished_project

SECTIONS = [
    "done", "comparison", "training", "evaluation", "texts", "data", "tokenizer", "plan",
    "environment", "lineage", "reproduce",
]  # fmt: skip


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and the text outside of scripts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text += data

    def attributes(self, name):
        return [values[name] for _, values in self.elements if values.get(name) is not None]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    write_report(folder / "report", **finished_project(folder))
    return folder / "report"


@pytest.fixture(scope="module")
def page(written):
    return Page((written / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    write_report(folder / "report", **finished_project(folder, HOSTILE))
    return (folder / "report" / "report.html").read_text(encoding="utf-8")


def test_every_section_of_a_finished_project_is_there(page):
    assert [name for name in page.attributes("id") if name in SECTIONS] == SECTIONS
    assert "missing" not in page.attributes("id")


def test_every_link_of_the_page_leads_somewhere(page):
    inside = {link.removeprefix("#") for link in page.attributes("href") if link.startswith("#")}
    assert inside <= set(page.attributes("id"))


@pytest.mark.parametrize(
    "text",
    [
        "A model of 5.24M parameters (4 layers × 256) trained from scratch on 3.79M tokens "
        "of the Python standard library on AMD EPYC 9B45.",
        "best yardstick: token n-gram model, 1.742",
        "5.6 % too low",
        "41% to 65%, n = 60, short functions; token n-gram model 15%",
        "90 of 200 with a docstring (45%)",
        "On 24 of 30 documents, 390,000 of 480,000 bytes, cpu in bf16.",
        "on 2,400,000 of 3,100,000 training tokens",
        "-0.561 – -0.524",
        "the model predicts better",
        "cost of an equal cloud machine, from the duration",
        "kept 601 documents",
        "resumed 1 time",
        "Completions that parsed (4 of 30)",
        "Completions that did not (4 of 30)",
        "stdlib/lib/bad.py at byte 17",
        "pretrain.steps=925",
        "c0ffee" * 10,
        "from tokens, plan",  # the run
        "from tokens, machine",  # the plan
        "from tokenizer, pretrain",  # the export
    ],
)
def test_the_page_says_what_happened(page, text):
    assert text in " ".join(page.text.split())


def test_only_facts_of_their_own_are_counted_among_the_predictions_that_held(page):
    # Speed, cost and energy follow from the duration; the loss is bits per byte in other units.
    text = " ".join(page.text.split())
    assert "predictions held3 of 3duration, peak memory and bits per byte" in text


def test_the_page_has_a_chart_for_each_curve_and_each_yardstick(page):
    names = [name for name in page.attributes("id") if name.startswith("chart-")]
    assert len(names) == len(set(names)) == 7


def test_nothing_is_loaded_from_anywhere(page):
    allowed = (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    )
    policy = [values for tag, values in page.elements if tag == "meta" and "http-equiv" in values]
    assert policy[0]["content"].startswith(allowed)
    for name in ("src", "href", "srcset", "action", "data", "poster", "background", "xlink:href"):
        assert all(link.startswith(("#", "data:")) for link in page.attributes(name))
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"iframe", "object", "embed", "base", "form", "img"}


def test_the_policy_stands_before_the_first_script(page):
    tags = [tag for tag, _ in page.elements]
    policy = next(i for i, (_, values) in enumerate(page.elements) if "http-equiv" in values)
    assert policy < tags.index("script")


def test_hostile_text_of_models_files_and_configs_stays_text(page, hostile):
    def scripts(found):
        return sum(tag == "script" for tag, _ in found.elements)

    found = Page(hostile)
    assert scripts(found) == scripts(page)
    assert "<script>alert(1)" in found.text  # shown, not run
    assert len(found.attributes("onclick")) == len(page.attributes("onclick"))


def test_control_characters_are_written_out(hostile):
    body = hostile[hostile.index("<body>") :]
    for character in "\x00\x1b\u202e":
        assert character not in body
    assert "\\x1b[31mred\\x00\\u202e" in Page(hostile).text


def test_the_same_sources_give_the_same_bytes(tmp_path):
    given = finished_project(tmp_path)
    write_report(tmp_path / "a", **given)
    write_report(tmp_path / "b", **given)
    for name in ("report.html", "report.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_numbers_for_scripts_are_those_of_the_run(written):
    report = json.loads((written / "report.json").read_text(encoding="utf-8"))
    assert report["status"] == "finished"
    assert report["missing"] == []
    rows = {row["quantity"]: row for row in report["comparison"]}
    assert set(rows) == set(PREDICTED)
    for name, row in rows.items():
        assert (row["predicted"], row["measured"]) == (PREDICTED[name], MEASURED[name])
        assert row["error_percent"] == pytest.approx(100 * (PREDICTED[name] / MEASURED[name] - 1))
    assert report["bits_per_byte"]["model"] == 1.198
    assert report["parse_rates"]["model"]["rate"] == pytest.approx(32 / 60)


def test_what_was_planned_for_one_process_is_not_held_against_two(tmp_path):
    given = finished_project(tmp_path)
    path = given["run"] / "run.json"
    record = json.loads(path.read_text())
    record["predicted"] |= {"duration_seconds": None, "of": {"processes": 2, "layout": "tp 2"}}
    path.write_text(json.dumps(record))
    write_report(tmp_path / "report", **given)
    page = Page((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    assert "The run had 2 processes (tp 2), and the plan measured one." in page.text
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    (duration,) = [row for row in report["comparison"] if row["quantity"] == "duration_seconds"]
    assert (duration["words"], duration["grade"]) == ("not predicted", "none")
    assert duration["measured"] == MEASURED["duration_seconds"]


@pytest.mark.parametrize("absent", ["data", "tokens", "machine", "plan", "evaluate", "export"])
def test_a_missing_stage_is_left_out_and_named(tmp_path, absent):
    given = finished_project(tmp_path)
    del given["artifacts"][absent]
    write_report(tmp_path / "report", **given)
    page = Page((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    assert f"{absent}: " in page.text[: page.text.index("What was done")]
    section = {"tokens": "tokenizer", "evaluate": "evaluation"}.get(absent, absent)
    assert section not in page.attributes("id")


def test_a_project_without_any_run_still_has_a_page(tmp_path):
    write_report(tmp_path / "report", title="empty", run=tmp_path / "none", artifacts={})
    page = Page((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    assert [name for name in page.attributes("id") if name in SECTIONS] == ["done", "reproduce"]
    assert "pretrain: the training run" in page.text


def test_an_unfinished_run_says_so(tmp_path):
    given = finished_project(tmp_path)
    record = json.loads((given["run"] / "run.json").read_text())
    (given["run"] / "run.json").write_text(json.dumps({**record, "status": "interrupted"}))
    with (given["run"] / "metrics.jsonl").open("a") as file:
        file.write('{"step": 926, "lo')  # the writer was killed here
    write_report(tmp_path / "report", **given)
    assert "“interrupted”" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_text_that_is_no_python_has_no_parse_rate_and_says_why(tmp_path):
    given = finished_project(tmp_path)
    path = given["artifacts"]["evaluate"].path / "evaluation.json"
    record = json.loads(path.read_text())
    record["completions"] |= {
        "applicable": False, "reason": "not applicable: no Python function", "parse_rate": {},
    }  # fmt: skip
    for item in record["completions"]["items"]:
        item["completions"]["model"] |= {"parsed": None, "outcome": None}
    path.write_text(json.dumps(record))
    write_report(tmp_path / "report", **given)
    text = Page((tmp_path / "report" / "report.html").read_text(encoding="utf-8")).text
    assert "Parse rate: not applicable: no Python function." in text
    assert "Completions (4 of 60)" in text


def test_a_damaged_record_is_named(tmp_path):
    given = finished_project(tmp_path)
    (given["artifacts"]["plan"].path / "plan.json").write_text("{")
    with pytest.raises(InputError) as caught:
        write_report(tmp_path / "report", **given)
    assert "plan.json" in str(caught.value.where)


def test_columns_of_numbers_with_units_stand_right_aligned():
    rows = [["data", "4 min 01 s", "1.2 GiB", "0.1 – 0.2", "", "2 × 64"],
            ["plan", "12%", "5.24M", "–", "", "+2.0% bits"]]  # fmt: skip
    assert numeric(rows) == [False, True, True, True, False, False]


def test_smoothing_keeps_a_straight_line_and_the_number_of_points():
    line = [3 - 0.01 * step for step in range(400)]
    assert smooth(line) == pytest.approx(line)
    assert len(smooth([1.0])) == 1
    wave = smooth([math.sin(step) for step in range(400)])
    assert max(wave[50:-50]) < 0.15
