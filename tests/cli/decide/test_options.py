from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tests.cli.command import groundup

NO_DATA_OUT = ("data_may_leave_org=no", "labelled_examples=5k", "needs_chat=yes",
               "change_architecture_or_tokenizer=no")  # fmt: skip
Capture = pytest.CaptureFixture[str]


def test_the_ranking_as_json(capsys: Capture) -> None:
    done = groundup(capsys, "decide", *NO_DATA_OUT, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    first = found["ranking"][0]
    assert first["option"] == "adapt"
    assert isinstance(first["score"], int)
    assert {"C07", "C16", "C18"} <= {reason["id"] for reason in first["reasons"]}
    assert found["vetoes"][0]["option"] == "buy"
    assert len(found["would_change"]) == 2
    assert {"answer", "from", "to"} == set(found["would_change"][0]["changes"][0])
    assert found["ranking"][2]["cost_usd"] is None  # the volume is not known


def test_answers_from_a_file_and_the_command_line(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "answers.yaml"
    file.write_text("params: 70B\nunique_tokens: 50B\n")
    done = groundup(capsys, "decide", "--answers", file, "option_wanted=train", "--json")
    assert done.code == 0, done.err
    veto = json.loads(done.out)["vetoes"][0]
    assert (veto["option"], veto["id"]) == ("train", "C24")
    assert "0.2T" in veto["text"]


def test_people_get_the_reasons(capsys: Capture) -> None:
    done = groundup(capsys, "decide", *NO_DATA_OUT)
    assert done.code == 0
    for text in ("Buy, adapt or train", "fine-tuning with PEFT", "C16", "What would change it"):
        assert text in done.out


def test_the_files_are_written(tmp_path: Path, capsys: Capture) -> None:
    done = groundup(capsys, "decide", "stage=prototype", "tokens_per_month=2B", "--output",
                    tmp_path / "out")  # fmt: skip
    assert done.code == 0, done.err
    page = (tmp_path / "out" / "decide.html").read_text()
    assert "Cost over 12 months" in page
    record = json.loads((tmp_path / "out" / "decide.json").read_text())
    assert record["ranking"][0]["option"] == "buy"
    again = groundup(capsys, "decide", "--answers", tmp_path / "out" / "answers.yaml", "--json")
    assert json.loads(again.out) == record


def test_a_conversation_writes_answers_that_repeat_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("no\nyes\nq\n"))
    done = groundup(capsys, "decide", "--interactive", "--output", tmp_path, "--json")
    assert done.code == 0, done.err
    assert "task_is_narrow" in done.err
    found = json.loads(done.out)
    again = groundup(capsys, "decide", "--answers", tmp_path / "answers.yaml", "--json")
    assert json.loads(again.out) == found


def test_a_conversation_does_not_overwrite_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "answers.yaml").write_text("stage: product\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("q\n"))
    done = groundup(capsys, "decide", "--interactive", "--output", tmp_path)
    assert done.code == 2
    assert "--answers" in done.err
    assert (tmp_path / "answers.yaml").read_text() == "stage: product\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--interactive"),
        (("--answers", "nowhere.yaml"), "nowhere.yaml"),
        (("buget=5",), "did you mean 'budget'"),
        (("budget=lots",), "lots"),
        (("team_llm_skill=hihg",), "medium"),
        (("edge_or_offline=yes", "option_wanted=buy"), "edge_or_offline"),
        (("unique_tokens=1B", "proprietary_tokens=2B"), "proprietary_tokens"),
        (("params=1e30", "unique_tokens=1B"), "params"),
        (("chip=H1000",), "H100"),
        (("api_model=gpt-99", "tokens_per_month=1B"), "gpt-4o"),
        (("output_share=2",), "output_share"),
        (("budget",), "budget"),
        (("tokens_per_month=1B", "growth_per_month=1", "horizon_months=600"), "tokens_per_month"),
    ],
)
def test_wrong_input_is_named(
    arguments: tuple[str, ...], said: str, capsys: Capture, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    done = groundup(capsys, "decide", *arguments)
    assert done.code == 2, done.out
    assert said in done.err
    assert "Traceback" not in done.err
    assert "bug in groundup" not in done.err


def test_models_lists_all_and_shortlists(capsys: Capture) -> None:
    everything = json.loads(groundup(capsys, "decide", "models", "--json").out)
    assert sum(one["in_slides"] for one in everything) == 14
    assert "it is closed" in groundup(capsys, "decide", "models").out
    fits = json.loads(
        groundup(
            capsys, "decide", "models", "--option", "adapt", "commercial_use=yes", "--json"
        ).out
    )
    assert "llama" in {one["id"] for one in fits["adapt"]["ruled_out"]}
    assert "Ruled out" in groundup(capsys, "decide", "models", "commercial_use=yes").out


def test_models_refuses_wrong_answers(capsys: Capture) -> None:
    done = groundup(capsys, "decide", "models", "licence=free")
    assert done.code == 2
    assert "licence" in done.err


def test_techniques_side_by_side(capsys: Capture) -> None:
    found = json.loads(groundup(capsys, "decide", "techniques", "--json").out)
    assert len(found["techniques"]) == 8
    assert {"prompt", "cache", "batch", "discount"} == {one["id"] for one in found["levers"]}
    assert "RLHF" in groundup(capsys, "decide", "techniques").out


def test_answers_of_the_project_stay_below_key_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "groundup.yaml").write_text(
        "project:\n  name: a\ndecide:\n  data_may_leave_org: no\n  budget: $5k\n"
    )
    found = json.loads(groundup(capsys, "decide", "budget=$20M", "--json").out)
    assert [veto["id"] for veto in found["vetoes"]] == ["C07"]  # and C22 no longer
    by_file = json.loads(groundup(capsys, "decide", "--answers", "groundup.yaml", "--json").out)
    assert [veto["id"] for veto in by_file["vetoes"]] == ["C07", "C22"]
    wrong = groundup(capsys, "decide", "buget=5")
    assert wrong.code == 2
    assert "did you mean 'budget'" in wrong.err
    short = json.loads(groundup(capsys, "decide", "models", "params=7B", "--json").out)
    assert short["buy"]["shortlist"] == []  # the section says that no data may leave


def test_a_file_of_ones_own_is_not_rewritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("# my own words\nstage: product\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("no\nq\n"))
    done = groundup(capsys, "decide", "--interactive", "--answers", mine)
    assert done.code == 0, done.err
    assert mine.read_text() == "# my own words\nstage: product\n"
    written = (tmp_path / "answers.yaml").read_text()
    assert "stage: product" in written
    assert "task_is_narrow: no" in written
    monkeypatch.setattr("sys.stdin", io.StringIO("\nyes\nq\n"))
    again = groundup(capsys, "decide", "--interactive", "--answers", tmp_path / "answers.yaml")
    assert again.code == 0, again.err
    assert "needs_chat: yes" in (tmp_path / "answers.yaml").read_text()


def test_an_interrupted_conversation_says_where_the_answers_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    class Interrupted(io.StringIO):
        def readline(self, size: int | None = -1) -> str:  # type: ignore[override]
            line = super().readline()
            if not line:
                raise KeyboardInterrupt
            return line

    monkeypatch.setattr("sys.stdin", Interrupted("no\n"))
    done = groundup(capsys, "decide", "--interactive", "--output", tmp_path)
    assert done.code != 0
    assert f"answers so far: {tmp_path / 'answers.yaml'}" in done.err
    assert "task_is_narrow: no" in (tmp_path / "answers.yaml").read_text()


def test_the_page_says_what_it_was_made_from(tmp_path: Path, capsys: Capture) -> None:
    done = groundup(capsys, "decide", "data_may_leave_org=no", "tokens_per_month=2B",
                    "labelled_examples=5k", "--output", tmp_path)  # fmt: skip
    assert done.code == 0, done.err
    page = (tmp_path / "decide.html").read_text()
    for text in ("First: adapt, by fine-tuning with PEFT", "The answers it was made from",
                 "in billions", "buy (1) (vetoed)", "adapt (2)"):  # fmt: skip
        assert text in page
    assert page.count("another answer → what would then stand first") == 1


def test_an_empty_shortlist_says_why(capsys: Capture) -> None:
    out = groundup(capsys, "decide", "models", "--option", "adapt", "params=1M").out
    assert "every candidate is ruled out" in out
    assert "66M parameters, 2M at most" in out
