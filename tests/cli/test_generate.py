"""`groundup generate`: whole characters, settings from the project, a terminal that is safe."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from groundup import api
from groundup.cli import generate as module
from groundup.model import generate as drawing
from tests.cli.command import groundup, project_in
from tests.trained import add_export, add_tokenizer


class Bytes:
    """A tokenizer whose ids are bytes."""

    bos_id = 256

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def token_bytes(self, id: int) -> bytes:
        return bytes([id])


@pytest.fixture
def model_says(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the fake model will say, and what it was asked."""
    talk: dict[str, object] = {"text": b""}

    def draw(model: object, prompt_ids: list[int], **settings: object) -> Iterator[int]:
        talk.update(prompt_ids=prompt_ids, **settings)
        yield from talk["text"]  # type: ignore[misc]

    monkeypatch.setattr(api, "find_model", lambda path: Path(path))
    monkeypatch.setattr(api, "find_project_model", lambda project: project.folder)
    monkeypatch.setattr(api, "load_model", lambda path: talk.update(path=path))
    monkeypatch.setattr(api, "load_tokenizer", lambda path: Bytes())
    monkeypatch.setattr(drawing, "generate", draw)
    return talk


def test_settings_come_from_options_then_the_project(
    model_says: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project_in(tmp_path, "generate: {temperature: 0.3, max_new_tokens: 9}\nproject: {seed: 5}")
    groundup(capsys, "generate", "a", "--project", tmp_path, "--top-p", "0.5")
    assert model_says["prompt_ids"] == [256, 97]
    assert {key: model_says[key] for key in ("temperature", "top_p", "repetition_penalty",
            "max_new_tokens", "seed", "stop_ids", "path")} == {
        "temperature": 0.3, "top_p": 0.5, "repetition_penalty": 1.1,
        "max_new_tokens": 9, "seed": 5, "stop_ids": [256], "path": tmp_path.resolve(),
    }  # fmt: skip


def test_a_model_by_its_path_needs_no_project(
    model_says: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model_says["text"] = "é!".encode()
    result = groundup(
        capsys, "generate", "caf", "--model", tmp_path, "--json", "--seed", 3, "--temperature", 0
    )
    assert json.loads(result.out) == {
        "prompt": "caf", "completion": "é!", "model": str(tmp_path), "seed": 3,
        "temperature": 0.0, "top_p": 0.95, "repetition_penalty": 1.1, "max_new_tokens": 200,
    }  # fmt: skip
    result = groundup(capsys, "generate", "a", "--model", tmp_path, "--project", tmp_path)
    assert result.code == 2
    assert "--model stands alone" in result.err
    result = groundup(capsys, "generate", "a", "--model", tmp_path, "project.seed=1")
    assert "--model stands alone" in result.err


def test_bytes_become_whole_characters(
    model_says: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model_says["text"] = "漢é".encode() + b"\xff" + "漢".encode()[:2]
    result = groundup(capsys, "generate", "x", "--model", tmp_path)
    assert result.out == "x漢é\ufffd\ufffd\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_model_cannot_steer_the_terminal(
    model_says: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "a\x1b]0;title\x07\n\tb\x9b2J"
    model_says["text"] = text.encode()
    terminal = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", terminal)
        assert module.generate.main(["p", "--model", str(tmp_path)], standalone_mode=False) is None
    assert terminal.getvalue() == "pa\\x1b]0;title\\x07\n\tb\\x9b2J\n"
    assert groundup(capsys, "generate", "p", "--model", tmp_path).out == f"p{text}\n"


@pytest.mark.parametrize("option", ["--top-p=0", "--temperature=-1", "--max-new-tokens=0",
                                    "--repetition-penalty=0.5", "--seed=x"])  # fmt: skip
def test_values_out_of_range_are_refused(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = groundup(capsys, "generate", "x", "--model", tmp_path, option)
    assert result.code == 2
    assert option.partition("=")[0] in result.err


def test_a_real_model_says_the_same_for_the_same_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    tokenizer, _ = add_tokenizer(tmp_path)
    path, _ = add_export(tmp_path, tokenizer)
    project_in(tmp_path, "project: {name: e}\ngenerate: {max_new_tokens: 40}")
    arguments = ["generate", "def parse_", "--project", tmp_path]
    first = groundup(capsys, *arguments)
    said = f"no finished model of exactly this project file; using the newest, {path}\n"
    assert (first.code, first.err) == (0, said)
    assert first.out.startswith("def parse_")
    assert len(first.out) > len("def parse_\n")
    assert groundup(capsys, *arguments).out == first.out
    assert groundup(capsys, *arguments, "--seed", 2).out != first.out


def test_a_project_without_a_model_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = groundup(capsys, "generate", "x", "--project", project_in(tmp_path))
    assert result.code == 2
    assert "there is no model here of the project 'project'" in result.err
    assert f"`groundup run {tmp_path}`" in result.err
