"""Runs command lines in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from groundup import stages
from groundup.cli.frame import run
from groundup.project import Project

NAMES = (
    "data",
    "tokenizer",
    "tokens",
    "machine",
    "plan",
    "pretrain",
    "evaluate",
    "export",
    "report",
)


@dataclass
class Result:
    code: int
    out: str
    err: str


def groundup(capsys: pytest.CaptureFixture[str], *arguments: object) -> Result:
    """What the command line printed, and its exit code."""
    code = run([str(argument) for argument in arguments])
    seen = capsys.readouterr()
    return Result(code, seen.out, seen.err)


def fake_stages(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[Project, str | None], stages.RunResult]
) -> None:
    """Let ``make`` stand for the whole graph of stages."""
    monkeypatch.setattr(stages, "run_project", make)
    monkeypatch.setattr(stages, "STAGES", dict.fromkeys(NAMES), raising=False)


def project_in(folder: Path, text: str = "") -> Path:
    (folder / "groundup.yaml").write_text(text)
    return folder
