"""From a folder of text to a report through the real command line, and then again, and again."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import groundup
from groundup.stages import STAGES
from tests.projects import (
    STEPS,
    Finished,
    artifact,
    command,
    environment,
    flip_bit,
    here,
    run_folder,
    run_record,
    small_project,
    state_of_files,
)
from tests.projects import groundup as cli

KEYS = {
    "duration_seconds", "tokens_per_second", "peak_memory_bytes", "loss", "bits_per_byte",
    "cost_usd", "energy_kwh",
}  # fmt: skip
EXAMPLE = Path(__file__).parents[1] / "examples" / "first-llm"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_the_last_line_is_one_json_object_and_progress_is_elsewhere(finished: Finished) -> None:
    first = finished.first
    assert first.code == 0, first.err
    assert first.out.count("\n") == 1
    assert first.json == {
        "status": "finished",
        "built": list(STAGES),
        "skipped": [],
        "report": first.json["report"],
    }
    page = Path(first.json["report"])
    assert page.is_relative_to(finished.folder)
    assert page.read_text().startswith("<!doctype html>")
    for stage in STAGES:
        assert f"{stage}: done in " in first.err
    assert "Traceback" not in first.err


def test_a_second_run_changes_nothing_and_imports_nothing_heavy(finished: Finished) -> None:
    before = state_of_files(finished.folder)
    script = (
        "import sys; from groundup.cli.frame import run\n"
        "code = run(sys.argv[1:])\n"
        "heavy = {'torch', 'transformers', 'plotly', 'tokenizers'} & sys.modules.keys()\n"
        "sys.exit(f'imported {heavy}' if heavy else code)\n"
    )
    arguments = ["run", finished.folder, "--config", "tiny.yaml", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        env=environment(),
        check=False,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    again = json.loads(done.stdout)
    assert (again["built"], again["skipped"]) == ([], list(STAGES))
    assert again["report"] == finished.first.json["report"]
    after = state_of_files(finished.folder)
    del before[".groundup.lock"], after[".groundup.lock"]  # it names the last holder
    for files in (before, after):  # remembers files once they are two seconds old
        files.pop("artifacts/input-hashes.json", None)
    assert after == before

    table = here("run", finished.folder).out  # groundup.yaml says the same as tiny.yaml
    assert table.count("was there") == len(STAGES)
    assert table.splitlines()[-1] == f"report: {again['report']}"


def test_a_finished_project_is_finished_wherever_it_is_moved(copy_of: Path) -> None:
    assert here("run", copy_of, "--json").json["built"] == []


@pytest.mark.parametrize("stage", ["data", "tokenizer", "plan", "pretrain", "evaluate", "export"])
def test_every_stage_is_a_command_that_shows_its_result(stage: str, finished: Finished) -> None:
    shown = here(stage, "--project", finished.folder)
    assert (shown.code, shown.err) == (0, "")
    assert len(shown.out.splitlines()) > 5
    found = here(stage, "--project", finished.folder, "--json").json
    assert found["built"] == []
    assert found["skipped"][-1] == stage
    assert Path(found["path"]).is_dir()


def test_the_record_of_a_run_says_what_was_expected_and_what_came(finished: Finished) -> None:
    record = run_record(finished.folder)
    assert set(record["measured"]) == KEYS
    assert set(record["predicted"]) == KEYS | {"band"}
    for name in ("predicted", "measured"):
        for key in KEYS:
            value = record[name][key]
            known = key not in ("cost_usd", "energy_kwh") or value is not None
            assert not known or (math.isfinite(value) and value > 0), (name, key, value)
    assert record["measured"]["loss"] < math.log(400)  # better than all tokens alike
    assert record["measured"]["bits_per_byte"] < 8
    assert record["environment"]["packages"]["torch"] == str(torch.__version__)
    assert len(record["final_hash"]) == 64
    assert (record["status"], record["steps"]) == ("finished", STEPS)

    lines = (run_folder(finished.folder) / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, STEPS + 1))


def test_another_number_of_completions_only_measures_again(copy_of: Path) -> None:
    done = here("run", copy_of, "evaluate.n_completions=3", "--json").json
    assert done["built"] == ["evaluate", "report"]
    items = [
        len(json.loads(path.read_text())["completions"]["items"])
        for path in copy_of.glob("artifacts/evaluation/*/evaluation.json")
    ]
    assert sorted(items) == [3, 4]


def test_another_learning_rate_trains_again_and_measures_no_machine(copy_of: Path) -> None:
    done = here("run", copy_of, "pretrain.learning_rate=0.01", "--json").json
    assert done["built"] == ["plan", "pretrain", "evaluate", "export", "report"]
    assert done["skipped"] == ["data", "tokenizer", "tokens", "machine"]
    hashes = {
        json.loads(path.read_text())["final_hash"] for path in copy_of.glob("runs/*/run.json")
    }
    assert len(hashes) == 2


def test_how_often_a_run_is_looked_at_and_kept_trains_nothing_again(copy_of: Path) -> None:
    changed = (
        "pretrain.keep_last=1",
        "pretrain.sample_every=7",
        "pretrain.evaluate_every=9",
    )
    done = here("run", copy_of, *changed, "--json").json
    assert "pretrain" in done["skipped"]
    assert set(done["built"]) <= {"plan", "report"}


def test_another_file_of_text_begins_at_the_data(copy_of: Path) -> None:
    (copy_of / "text" / "one_more.py").write_text("# a quite different file\n" + "x = [1, 2]\n" * 9)
    done = here("tokenizer", "--project", copy_of, "--json").json
    assert done["built"] == ["data", "tokenizer"]


def test_a_fresh_copy_run_from_python_ends_in_the_same_bits(
    finished: Finished, tmp_path: Path
) -> None:
    folder = small_project(tmp_path / "another place")
    result = groundup.run(groundup.load_project(folder, "tiny.yaml"))
    assert (result.status, result.built) == ("finished", list(STAGES))
    assert result.report is not None
    assert result.report.is_file()
    assert run_record(folder)["final_hash"] == run_record(finished.folder)["final_hash"]
    for kind in ("corpus", "tokenizer", "tokens", "evaluation", "export"):
        here_files, there = (
            json.loads((artifact(root, kind) / "manifest.json").read_text())["files"]
            for root in (folder, finished.folder)
        )
        assert here_files == there, kind


def test_verify_names_the_tensor_with_a_flipped_bit_and_run_trains_it_again(copy_of: Path) -> None:
    whole = here("verify", copy_of)
    assert whole.code == 0
    assert "are as they were written" in whole.out
    before = run_record(copy_of)["final_hash"]

    last = sorted((run_folder(copy_of) / "checkpoints").iterdir())[-1]
    weights = last / "model-00000.safetensors"
    flip_bit(weights, -1)
    (name,) = damaged_tensors(weights)
    bad = here("verify", copy_of)
    assert (bad.code, bad.out) == (2, "")
    assert f"{weights}: SHA-256 differs: tensor {name}" in bad.err
    found = here("verify", copy_of, "--json")
    assert found.code == 2
    assert (found.json["status"], len(found.json["bad"])) == ("bad", 1)
    assert here("verify", last).code == 2

    mended = here("run", copy_of, "--json")
    assert mended.code == 0, mended.err
    assert mended.json["built"] == ["pretrain", "report"]  # what came after has the same input
    assert f"checkpoint {last.name} is damaged and not used: " in mended.err
    assert f"going on from step {STEPS - 4} " in mended.err
    assert run_record(copy_of)["final_hash"] == before
    assert here("verify", copy_of).code == 0


def damaged_tensors(weights: Path) -> list[str]:
    """The tensors whose bytes are not those of the manifest, found without groundup's reader."""
    import hashlib

    from safetensors import safe_open

    manifest = json.loads((weights.parent / "manifest.json").read_text())
    written = manifest["files"][weights.name]["tensors"]
    with safe_open(weights, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return [
        name
        for name, tensor in tensors.items()
        if hashlib.sha256(tensor.numpy().tobytes()).hexdigest() != written[name]
    ]


def test_transformers_opens_the_export_with_the_same_logits_and_ids(finished: Finished) -> None:
    folder = artifact(finished.folder, "export")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    text = "def parse_date(text):\n    '''Ünïcode, 漢字.'''\n\treturn 1234"
    tokenizer = groundup.load_tokenizer(finished.folder)
    ids = tokenizer.encode(text)
    assert their_tokenizer(text, add_special_tokens=False)["input_ids"] == ids
    assert their_tokenizer(text)["input_ids"] == [tokenizer.bos_id, *ids]
    assert their_tokenizer.decode(ids) == tokenizer.decode(ids) == text

    rows = torch.tensor([ids[:30], ids[10:40]])
    run = run_folder(finished.folder)
    last = sorted((run / "checkpoints").iterdir())[-1]
    with torch.no_grad():
        expected = theirs.eval()(rows).logits
        for path in (finished.folder, folder, run, last):
            logits = groundup.load_model(path)(rows)
            assert logits.shape == (2, 30, 400)
            torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
            assert groundup.load_tokenizer(path).hash == tokenizer.hash


def test_generate_streams_and_repeats_itself_for_the_same_seed(finished: Finished) -> None:
    prompt = "def parse_date("
    words = command("generate", prompt, "--project", finished.folder, "--max-new-tokens", 30)
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        seen = process.stdout.read(len(prompt))  # there before the end
        whole = (seen + process.stdout.read()).decode()
    assert process.returncode == 0
    assert whole.startswith(prompt)

    given: list[Any] = ["generate", prompt, "--project", finished.folder, "--max-new-tokens", 30]
    found = here(*given, "--json").json
    assert prompt + found["completion"] + "\n" == whole
    assert here(*given, "--seed", 7).out == whole  # the project's seed
    assert here(*given, "--seed", 8).out != whole


@pytest.mark.slow
def test_the_tiny_example_runs_on_a_copy_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "first-llm"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("artifacts", "runs", ".*"))
    done = cli("run", folder, "--config", "tiny.yaml", "--json")
    assert done.code == 0, done.err
    assert done.json["built"] == list(STAGES)
    record = run_record(folder)
    assert record["measured"]["bits_per_byte"] < 5
    evaluation = json.loads((artifact(folder, "evaluation") / "evaluation.json").read_text())
    assert evaluation["completions"]["applicable"] is True
    assert evaluation["bits_per_byte"]["model"] < evaluation["bits_per_byte"]["untrained"]
    assert here("verify", folder).code == 0
    assert here("run", folder, "--config", "tiny.yaml", "--json").json["built"] == []
    os.truncate(artifact(folder, "tokens") / "train.bin", 10)
    mended = here("run", folder, "--config", "tiny.yaml", "--json").json
    assert mended["built"] == ["tokens"]


def test_generate_uses_the_model_that_the_project_file_leads_to(copy_of: Path) -> None:
    first = artifact(copy_of, "export")
    assert here("run", copy_of, "pretrain.learning_rate=0.01").code == 0  # a newer export
    given: list[Any] = ["generate", "def a(", "--project", copy_of, "--max-new-tokens", 4, "--json"]
    exact = here(*given, "--config", "tiny.yaml", "generate.temperature=0.5")
    assert (exact.code, exact.err) == (0, "")
    assert exact.json["model"] == str(first)
    assert exact.json["temperature"] == 0.5
    other = here(*given, "pretrain.learning_rate=0.01")
    assert (other.err, other.json["model"] != str(first)) == ("", True)
    newest = here(*given, "pretrain.learning_rate=0.04")
    assert newest.json["model"] == other.json["model"]
    assert f"using the newest, {other.json['model']}" in newest.err


def test_a_new_price_trains_nothing_and_is_in_the_record(copy_of: Path) -> None:
    done = here("run", copy_of, "plan.price_per_hour=36", "plan.watts=1000", "--json")
    assert done.json["built"] == ["plan", "report"]
    record = run_record(copy_of)
    for figures in (record["predicted"], record["measured"]):
        seconds = figures["duration_seconds"]
        assert figures["cost_usd"] == pytest.approx(seconds / 100)
        hours = seconds / 3600
        assert hours <= figures["energy_kwh"] < 2 * hours  # with the building's share
    again = here("run", copy_of, "plan.price_per_hour=36", "plan.watts=1000", "--json")
    assert again.json["built"] == []
    assert here("verify", copy_of).code == 0


def test_the_export_draws_like_the_project(finished: Finished) -> None:
    folder = artifact(finished.folder, "export")
    found = json.loads((folder / "generation_config.json").read_text())
    assert {key: found[key] for key in ("do_sample", "temperature", "top_p")} == {
        "do_sample": True, "temperature": 0.8, "top_p": 0.95,
    }  # fmt: skip
