"""`groundup.load_model` and `load_tokenizer` on everything a project leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import groundup
from groundup import api
from groundup.errors import CorruptError, InputError
from groundup.train.checkpoint import load_model_weights
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
