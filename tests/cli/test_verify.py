"""`groundup verify`: one flipped bit is found and named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundup.artifacts import write_manifest
from tests.cli.command import groundup


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "project" / "artifacts" / "tokens" / "a-0123"
    folder.mkdir(parents=True)
    (folder / "train.bin").write_bytes(bytes(range(100)))
    (folder / "index.json").write_text("{}")
    write_manifest(folder, {"kind": "tokens", "name": "a"})
    return folder


def test_whole_files_are_code_0(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = artifact.parents[2]
    result = groundup(capsys, "verify", project)
    assert (result.code, result.err) == (0, "")
    assert result.out == "3 files and records are as they were written\n"
    found = json.loads(groundup(capsys, "verify", artifact, "--json").out)
    assert found == {"status": "ok", "path": str(artifact), "checked": 3, "bad": []}


@pytest.mark.parametrize("name", ["train.bin", "manifest.json"])
def test_a_flipped_bit_is_code_2_and_named(
    artifact: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray((artifact / name).read_bytes())
    data[50] ^= 1
    (artifact / name).write_bytes(data)
    result = groundup(capsys, "verify", artifact.parents[2])
    assert (result.code, result.out) == (2, "")
    assert f"{artifact}/{name}" in result.err
    result = groundup(capsys, "verify", artifact, "--json")
    assert result.code == 2
    found = json.loads(result.out)
    assert found["status"] == "bad"
    assert len(found["bad"]) == 1


@pytest.mark.parametrize("path", ["nowhere", "."])
def test_a_folder_with_nothing_to_verify_is_not_called_whole(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert groundup(capsys, "verify", tmp_path / path).code == 2
    result = groundup(capsys, "verify", tmp_path / path, "--json")
    assert (result.code, result.out) == (2, "")
