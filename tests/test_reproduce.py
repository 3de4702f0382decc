"""A run trained again from its record: equal bits, or the first step that differs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from groundup.artifacts import seal
from groundup.files import LOCK, lock, write_json
from groundup.reproduce import with_value
from tests.projects import Ended, here, run_folder, run_record, state_of_files


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def reproduce(*words: object) -> Ended:
    return here("reproduce", *words)


def test_a_run_is_trained_again_to_the_same_bits_from_its_text_alone(copy_of: Path) -> None:
    run, first = run_folder(copy_of), run_record(copy_of)
    shutil.rmtree(copy_of / "artifacts")
    shutil.rmtree(copy_of / "shards")
    for name in ("groundup.yaml", "tiny.yaml"):
        (copy_of / name).unlink()
    done = reproduce(run, "--json")
    assert done.code == 0, done.err
    assert "made again from the text" in done.err
    again = Path(done.json["output"])
    assert again == run.with_name(f"{run.name}-reproduced-1")
    second = json.loads((again / "run.json").read_text())
    assert second["reproduces"] == run.name
    for name in ("final_hash", "loss_chain", "steps", "tokens"):
        assert second[name] == first[name]
    assert done.json["equal"] is done.json["losses"] is True
    assert done.json["final_hash"] == [first["final_hash"], first["final_hash"]]
    assert (done.json["first_difference"], done.json["environment"]) == (None, [])
    assert not (copy_of / "artifacts").exists()  # what was made again lies in the new run


def test_the_first_steps_alone_and_the_step_that_differs(copy_of: Path) -> None:
    run, record = run_folder(copy_of), run_record(copy_of)
    done = reproduce(run / "run.json", "--steps", 5)
    assert (done.code, done.out) == (
        0, f"5 steps: equal bit for bit ({run.with_name(run.name + '-reproduced-1')})\n",
    )  # fmt: skip
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    loss = lines[3]["loss"]
    lines[3]["loss"] = loss * (1 + 2**-52)
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    record["environment"]["packages"]["torch"] = "0.1"
    write_json(run / "run.json", seal(record))
    output = copy_of / "elsewhere"
    done = reproduce(run, "--steps", 5, "--output", output)
    assert done.code == 1
    assert done.out.splitlines()[-2:] == [
        f"5 steps: not the same bits ({output})",
        f"first difference: the loss of step 4 was {lines[3]['loss']} and is {loss}",
    ]
    (row,) = [line for line in done.out.splitlines() if "packages" in line]
    assert row.split()[:2] == ["environment.packages.torch", "0.1"]
    assert reproduce(run, "--steps", 3, "--output", copy_of / "three").code == 0  # before it
    full = reproduce(run, "--output", output)
    assert (full.code, "this folder is not empty" in full.err) == (2, True)


@pytest.mark.slow
def test_changes_on_the_way_are_made_again_at_their_steps(copy_of: Path) -> None:
    for words in (("pretrain.steps=14",), ("pretrain.steps=16", "pretrain.learning_rate=0.01")):
        allow = ("--allow-change", "steps", "--allow-change", "learning_rate")
        assert here("pretrain", "--project", copy_of, *words, *allow).code == 0
    run = run_folder(copy_of)
    assert [change["step"] for change in run_record(copy_of)["changes"]] == [12, 14, 14]
    done = reproduce(run, "--json")
    assert (done.code, done.json["equal"], done.json["steps"]) == (0, True, 16), done.err
    done = reproduce(run, "--steps", 13, "--json")
    assert (done.code, done.json["equal"], done.json["steps"]) == (0, True, 13), done.err


def test_what_cannot_be_reproduced_says_why(copy_of: Path, tmp_path: Path) -> None:
    assert "no readable run.json" in reproduce(copy_of).err
    run = run_folder(copy_of)
    shutil.rmtree(copy_of / "artifacts")
    shutil.rmtree(copy_of / "shards")
    (copy_of / "text" / "more.py").write_text("x = 1\n" * 40)
    other = reproduce(run)
    assert other.code == 2
    assert "made again are not those of the run" in other.err
    record = run_record(copy_of)
    del record["project_config"]
    write_json(run / "run.json", seal(record))
    assert "an earlier version wrote it" in reproduce(run).err


def test_one_value_is_put_back_under_its_dotted_key() -> None:
    settings = {"steps": 3, "guard": {"window": 1, "policy": "off"}}
    assert with_value(settings, "guard.window", 9) == {
        "steps": 3, "guard": {"window": 9, "policy": "off"},
    }  # fmt: skip
    assert with_value(settings, "steps", 4)["steps"] == 4


def test_losses_are_compared_by_their_steps_and_those_that_are_gone_are_said(
    copy_of: Path,
) -> None:
    run = run_folder(copy_of)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]

    def reproduced(lines: list[dict[str, float]], *words: object) -> Ended:
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return reproduce(run, *words)

    sound = reproduced([*lines[4:6], *lines[7:]])
    assert (sound.code, sound.out.splitlines()[0]) == (
        0, "the losses of steps 1–4, 7 are not in the log",
    ), sound.err  # fmt: skip
    assert "12 steps: equal bit for bit" in sound.out
    lines[8]["loss"] *= 1 + 2**-50
    other = reproduced(lines[4:], "--json").json
    assert (other["equal"], other["not_in_log"]) == (False, [[1, 4]])
    assert other["first_difference"][:2] == [9, lines[8]["loss"]]
    assert other["final_hash"][0] == other["final_hash"][1]
    by_hash = reproduced([], "--json").json
    assert (by_hash["equal"], by_hash["losses"], by_hash["not_in_log"]) == (True, None, [[1, 12]])
    assert "not there to compare with" in reproduced(lines[4:], "--steps", 3).err


def test_with_an_output_elsewhere_nothing_is_written_to_the_project(
    copy_of: Path, tmp_path: Path
) -> None:
    (copy_of / LOCK).unlink(missing_ok=True)
    before, output = state_of_files(copy_of), tmp_path / "elsewhere"
    words = (run_folder(copy_of), "--steps", 2, "--output", output)
    assert reproduce(*words).code == 0
    assert state_of_files(copy_of) == before
    with lock(copy_of / LOCK):
        assert reproduce(*words[:-1], tmp_path / "third").code == 0
        beside = reproduce(*words[:-2])  # in the project
        assert (beside.code, "another run is at work" in beside.err) == (2, True)
