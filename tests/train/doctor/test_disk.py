"""The disk of the run folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from groundup.train.doctor import disk
from groundup.train.doctor.result import Result


def found(folder: Path, host: str = "here") -> dict[str, Result]:
    return {result.name: result for result in disk.check_disk(folder, host, 0.1)}


def test_an_honest_disk_gives_the_same_bytes_and_keeps_none(tmp_path: Path) -> None:
    results = found(tmp_path)
    assert {result.state for result in results.values()} <= {"ok", "warn"}
    assert results["disk"].state == "ok"
    assert {"disk write", "disk read", "disk fsync", "disk free"} <= results.keys()
    assert list(tmp_path.iterdir()) == []


def test_a_lying_disk_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDUP_DOCTOR_FAULT", "disk@here")
    result = found(tmp_path)["disk"]
    assert result.state == "fail"
    assert "came back changed" in result.why
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"),
                          (errno.EIO, "EIO")]
)  # fmt: skip
def test_a_refusal_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(descriptor: int) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    result = found(tmp_path)["disk"]
    assert result.state == "fail"
    assert words in result.why
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_a_finding(tmp_path: Path) -> None:
    result = found(tmp_path / "unmounted")["disk"]
    assert result.state == "fail"
    assert "mounted" in result.why


def test_a_disk_without_room_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "LEAST_FREE_BYTES", 2**62)
    assert found(tmp_path)["disk free"].state == "fail"
