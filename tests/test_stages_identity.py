"""Which run a project file leads to: the same, another, or the same with an allowed change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from groundup.errors import ConfigError
from groundup.stages_by_hand import change_at
from tests.projects import Ended, Finished, groundup, here, run_folder, run_record

SECRET = "https://hooks.example.org/T0/s3cr3t-token"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def killed(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The small project, killed in its last save, that of step 12: the one before is of step 8."""
    folder = finished.copy(tmp_path_factory.mktemp("killed") / "copy", "runs")
    ended = groundup("pretrain", "--project", folder, GROUNDUP_FAULT="kill@checkpoint=4")
    return Finished(folder, ended)


def pretrain(folder: Path, *words: object) -> Ended:
    return here("pretrain", "--project", folder, *words)


def events(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (run / "events.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == kind]


@pytest.mark.slow
def test_an_allowed_change_gives_the_bits_of_a_run_that_was_planned_so(
    killed: Finished, finished: Finished, tmp_path: Path
) -> None:
    folder = killed.copy(tmp_path / "changed")
    run = run_folder(folder)
    slower = "pretrain.learning_rate=0.01"
    went_on = pretrain(folder, slower, "--allow-change", "learning_rate")
    assert went_on.code == 0, went_on.err
    assert "from step 8 on: learning_rate: 0.02 → 0.01\n" in went_on.err
    assert run_folder(folder) == run
    record = run_record(folder)
    assert record["changes"] == [{"step": 8, "key": "learning_rate", "before": 0.02, "after": 0.01}]
    (event,) = events(run, "changed")
    assert (event["step"], event["key"], event["key_kind"]) == (8, "learning_rate", "allowed")
    assert record["config"]["settings"]["learning_rate"] == 0.01

    # The same, written into the project file before the first step.
    planned = finished.copy(tmp_path / "planned", "runs")
    done = pretrain(planned, "pretrain.changes=[{at: 8, learning_rate: 0.01}]")
    assert done.code == 0, done.err
    assert run_record(planned)["final_hash"] == record["final_hash"]
    assert record["final_hash"] != run_record(finished.folder)["final_hash"]

    # It answers to the changed file and to the first one, and is trained no more.
    again = pretrain(folder, slower, "--json")
    assert (again.json["built"], again.json["path"]) == ([], str(run))
    first = pretrain(folder, "--json")
    assert (first.json["built"], first.json["path"]) == ([], str(run))
    assert "this file has learning_rate otherwise" in first.err
    assert here("evaluate", "--project", folder, slower).code == 0


def test_a_finished_run_can_be_made_longer(copy_of: Path) -> None:
    before = run_record(copy_of)
    longer = pretrain(copy_of, "pretrain.steps=14", "--allow-change", "steps")
    assert longer.code == 0, longer.err
    assert "lost its last checkpoint" not in longer.err
    record = run_record(copy_of)
    assert (before["steps"], record["steps"], record["status"]) == (12, 14, "finished")
    assert record["changes"] == [{"step": 12, "key": "steps", "before": 12, "after": 14}]
    lines = (run_folder(copy_of) / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 15))
    assert here("verify", copy_of).code == 0


def test_what_is_not_allowed_is_named_and_nothing_is_touched(copy_of: Path) -> None:
    record = (run_folder(copy_of) / "run.json").read_bytes()
    words = ["pretrain.beta2=0.9", "pretrain.learning_rate=0.01", "pretrain.ema_decay=0.9"]
    refused = pretrain(copy_of, *words, "--allow-change", "learning_rate")
    assert refused.code == 2
    lines = refused.err.splitlines()
    at = lines.index("error: 2 keys of the run would change in its middle")
    assert lines[at + 1 : at + 3] == [
        "  ema_decay: none → 0.9: another run's, whatever is allowed",
        "  beta2: 0.95 → 0.9: not allowed to change",
    ]
    assert (run_folder(copy_of) / "run.json").read_bytes() == record
    misspelt = pretrain(copy_of, "--allow-change", "learning_rat")
    assert (misspelt.code, "did you mean learning_rate?" in misspelt.err) == (2, True)


def test_there_must_be_a_run_to_go_on_with(finished: Finished, tmp_path: Path) -> None:
    folder = finished.copy(tmp_path / "copy", "runs")
    refused = pretrain(folder, "--allow-change", "steps")
    assert refused.code == 2
    assert "there is no run that could go on with a change" in refused.err
    assert "no unfinished run" in pretrain(folder, "--at", "3", "learning_rate=0.1").err


def test_a_new_run_says_which_unfinished_one_it_is_not(killed: Finished, tmp_path: Path) -> None:
    folder = killed.copy(tmp_path / "copy")
    old = run_folder(folder)
    new = pretrain(folder, "pretrain.learning_rate=0.01", "pretrain.evaluate_every=4")
    assert new.code == 0, new.err
    (said,) = [line for line in new.err.splitlines() if "is not finished" in line]
    assert said == (
        f"{old.name} is not finished, and differs only in learning_rate: 0.02 → 0.01: a new run "
        f"begins. To go on with that one: groundup pretrain --project {folder} "
        "--allow-change learning_rate"
    )
    assert len(list((folder / "runs").glob("*/run.json"))) == 2


def test_a_harmless_change_goes_on_and_is_in_the_log_but_no_secret_is(
    killed: Finished, tmp_path: Path
) -> None:
    folder = killed.copy(tmp_path / "copy")
    words = ["pretrain.keep_last=4", f"pretrain.guard.alert_webhook={SECRET}"]
    done = pretrain(folder, *words)
    assert done.code == 0, done.err
    run = run_folder(folder)
    assert "going on from step 8" in done.err
    (event,) = events(run, "changed")
    assert (event["key"], event["before"], event["after"]) == ("keep_last", 3, 4)
    assert run_record(folder)["changes"] == []
    for path in folder.rglob("*"):
        assert not path.is_file() or b"s3cr3t" not in path.read_bytes(), path
    assert "s3cr3t" not in done.err + done.out


@pytest.mark.slow
def test_a_change_is_left_for_a_run_and_made_when_it_goes_on(
    killed: Finished, finished: Finished, tmp_path: Path
) -> None:
    folder = killed.copy(tmp_path / "copy")
    left = pretrain(folder, "--at", "10", "learning_rate=0.01", "--json")
    assert left.json == {
        "run": str(run_folder(folder)),
        "change": {"at": 10, "over": 0, "learning_rate": 0.01},
    }
    assert pretrain(folder).code == 0
    planned = finished.copy(tmp_path / "planned", "runs")
    assert pretrain(planned, "pretrain.changes=[{at: 10, learning_rate: 0.01}]").code == 0
    assert run_record(folder)["final_hash"] == run_record(planned)["final_hash"]
    late = pretrain(folder, "--at", "11", "learning_rate=0.03")
    assert (late.code, "no unfinished run" in late.err) == (2, True)


def test_a_change_by_hand_is_checked() -> None:
    assert change_at(5, 2, ["pretrain.optimizer=adamw", "learning_rate=1e-3"]).settings() == {
        "optimizer": "adamw", "learning_rate": 1e-3,
    }  # fmt: skip
    for words in (["learning_rate"], ["seed=3"], ["learning_rate=-1"], []):
        with pytest.raises(ConfigError):
            change_at(5, 0, words)


def test_a_run_cannot_end_where_it_has_been(copy_of: Path) -> None:
    run = run_folder(copy_of)
    record = (run / "run.json").read_bytes()
    for steps, done in ((11, 12), (7, 8)):
        refused = pretrain(copy_of, f"pretrain.steps={steps}", "--allow-change", "steps")
        assert refused.code == 2
        assert f"the run has done {done} steps already, and cannot end at {steps}" in refused.err
        assert (run / "run.json").read_bytes() == record
        (run / "checkpoints" / f"step-{done:08d}" / "manifest.json").unlink()
