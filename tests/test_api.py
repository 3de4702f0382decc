"""`groundup.load_model` and `load_tokenizer` on everything a project leaves behind."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

import groundup
from groundup import api
from groundup.artifacts import seal, write_manifest
from groundup.errors import CorruptError, InputError
from groundup.files import write_json
from groundup.train.checkpoint import load_model_weights
from tests.projects import flip_bit
from tests.trained import add_export, add_run, add_tokenizer

IDS = torch.arange(12).reshape(2, 6)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_a_project_with_an_export_stands_for_the_export(tmp_path: Path) -> None:
    tokenizer, digest = add_tokenizer(tmp_path)
    add_run(tmp_path, digest)
    path, model = add_export(tmp_path, tokenizer)
    for given in (tmp_path, str(tmp_path), path):
        loaded = groundup.load_model(given)
        logits = loaded(IDS)
        assert logits.shape == (2, 6, 280)
        torch.testing.assert_close(logits, model(IDS), rtol=0, atol=1e-5)
        assert groundup.load_tokenizer(given).hash == digest
        assert not loaded.training


def test_a_run_stands_for_its_newest_whole_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, digest = add_tokenizer(tmp_path)
    add_tokenizer(tmp_path, ["another text, another tokenizer"] * 30 + ["a b c d e f g h"] * 30)
    run = add_run(tmp_path, digest)
    old, new = sorted((run / "checkpoints").iterdir())
    for given in (tmp_path, run, new):
        torch.testing.assert_close(groundup.load_model(given)(IDS), load_model_weights(new)(IDS))
        assert groundup.load_tokenizer(given).hash == digest  # not the latest: the one trained with

    weights = new / "model-00000.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CorruptError, match="damaged checkpoint"):
        groundup.load_model(new)
    torch.testing.assert_close(groundup.load_model(run)(IDS), load_model_weights(old)(IDS))
    assert "step-00000008 is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("one_level_down", [False, True])
def test_an_export_with_a_flipped_bit_is_not_loaded(tmp_path: Path, one_level_down: bool) -> None:
    tokenizer, _ = add_tokenizer(tmp_path)
    path, _ = add_export(tmp_path, tokenizer)
    given = path
    if one_level_down:
        given = tmp_path / "given"
        shutil.copytree(path, given / "model", ignore=shutil.ignore_patterns("manifest.json"))
        write_manifest(given, {"kind": "export", "name": "given"})
    groundup.load_model(given)
    flip_bit(next(given.rglob("model.safetensors")), -1)
    with pytest.raises(
        CorruptError, match=r"model\.safetensors: SHA-256 differs: tensor"
    ) as caught:
        groundup.load_model(given)
    assert caught.value.where == str(given)
    assert caught.value.fix


def test_a_tokenizer_is_also_found_by_itself(tmp_path: Path) -> None:
    path, digest = add_tokenizer(tmp_path)
    loaded = groundup.load_tokenizer(path)
    assert loaded.hash == digest
    assert loaded.decode(loaded.encode("def été():")) == "def été():"


@pytest.mark.parametrize("load", [groundup.load_model, groundup.load_tokenizer])
def test_nothing_there_says_what_to_do(load: object, tmp_path: Path) -> None:
    assert callable(load)
    with pytest.raises(InputError, match="there is no model here") as caught:
        load(tmp_path)
    assert f"`groundup run {tmp_path}`" in str(caught.value.fix)
    with pytest.raises(InputError, match="no such folder"):
        load(tmp_path / "nowhere")


def test_run_is_the_graph_of_stages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from groundup import stages

    seen: list[object] = []
    monkeypatch.setattr(stages, "run_project", lambda *given: seen.append(given))
    project = groundup.Project(folder=tmp_path)
    groundup.run(project, "data")
    assert seen == [(project, "data")]


def test_the_front_door_knows_its_names_and_no_others() -> None:
    assert set(groundup.__all__) <= set(dir(groundup))
    assert groundup.load_model is api.load_model
    with pytest.raises(AttributeError, match="no attribute 'trainer'"):
        groundup.trainer  # noqa: B018


def add_named_export(folder: Path, tokenizer: Path, name: str, seed: int) -> Path:
    path, _ = add_export(folder, tokenizer, seed)
    return path.rename(path.with_name(f"{name}-{seed:012d}"))


def test_a_project_file_stands_for_models_of_its_own_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer, _ = add_tokenizer(tmp_path)
    small = add_named_export(tmp_path, tokenizer, "tiny", 1)
    add_named_export(tmp_path, tokenizer, "tiny-2", 2)
    newest = add_named_export(tmp_path, tokenizer, "big", 3)

    def project(name: str) -> groundup.Project:
        return groundup.Project(folder=tmp_path, project={"name": name})

    assert api.find_project_model(project("tiny")) == small
    assert f"using the newest, {small}" in capsys.readouterr().err
    with pytest.raises(InputError, match="no model here of the project 'huge'") as caught:
        api.find_project_model(project("huge"))
    assert "--config" in str(caught.value.fix)
    assert api.find_model(tmp_path) == newest  # the latest of all


def test_of_two_models_of_one_second_the_later_written_is_the_latest(tmp_path: Path) -> None:
    tokenizer, _ = add_tokenizer(tmp_path)
    paths = [add_export(tmp_path, tokenizer, seed)[0] for seed in (1, 2, 3)]
    for number, path in enumerate(paths):
        manifest = json.loads((path / "manifest.json").read_text())
        write_json(path / "manifest.json", seal({**manifest, "finished_at": "2026-01-01"}))
        written = 10**18 + (1000 if number == 1 else number)  # nanoseconds
        os.utime(path / "manifest.json", ns=(written, written))
    assert api.find_model(tmp_path) == paths[1]
