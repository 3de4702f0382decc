"""A run trained again from its record: equal bits, or the first step that differs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from groundup.artifacts import seal
from groundup.files import write_json
from groundup.reproduce import with_value
from tests.projects import Ended, here, run_folder, run_record


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
