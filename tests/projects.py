"""A small project that runs from text to report in seconds, and the command line in a process.

What a clock or a probe would choose is written down, as in `examples/first-llm/tiny.yaml`, so two
runs of it on one machine end in the same bits.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundup.cli.frame import run

PROJECT_FILE = """\
project:
  name: small
  seed: 7

data:
  input: text

tokenizer:
  vocab_size: 400

model:
  n_layers: 1
  d_model: 32
  context_length: 64

pretrain:
  steps: 12
  batch_size: 4
  learning_rate: 0.02
  warmup_steps: 2
  device: cpu
  precision: fp32
  attention: bmm
  n_threads: 1
  evaluate_every: 6
  evaluation_windows: 4
  checkpoint_every: 4
  sample_every: 12

evaluate:
  split: validation
  n_completions: 4
  max_new_tokens: 16
"""
STEPS = 12
N_FILES = 40
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "NO_COLOR": "1"}


def small_project(folder: Path, n_files: int = N_FILES, text: str = PROJECT_FILE) -> Path:
    """Write ``groundup.yaml`` and ``tiny.yaml`` (the same) and a folder of text into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "groundup.yaml").write_text(text)
    (folder / "tiny.yaml").write_text(text)
    (folder / "text").mkdir()
    for path in small_files()[:n_files]:
        shutil.copyfile(path, folder / "text" / path.name)
    return folder


def small_files() -> list[Path]:
    """Modules of the standard library of a few kilobytes, in order of their names."""
    library = Path(sysconfig.get_path("stdlib"))
    sizes = {path: path.stat().st_size for path in sorted(library.glob("[a-z]*.py"))}
    return [path for path, size in sizes.items() if 2_000 < size < 12_000]


@dataclass(frozen=True)
class Ended:
    """A command that came to its end."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The last line of standard output."""
        return json.loads(self.out.splitlines()[-1])


def command(*arguments: object) -> list[str]:
    """The command line as a list of words for `subprocess`."""
    return [sys.executable, "-m", "groundup", *map(str, arguments)]


def environment(**variables: str) -> dict[str, str]:
    """This process's environment, with one thread and without what would disturb a test."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GROUNDUP_")}
    return {**kept, **ENVIRONMENT, **variables}


def groundup(*arguments: object, cwd: Path | None = None, **variables: str) -> Ended:
    """Run the command line in a process of its own."""
    done = subprocess.run(
        command(*arguments),
        capture_output=True,
        env=environment(**variables),
        cwd=cwd,
        timeout=600,
        check=False,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


@dataclass(frozen=True)
class Finished:
    """A project that has been run, and what its first run said."""

    folder: Path
    first: Ended

    def copy(self, folder: Path, *without: str) -> Path:
        """The project in another place, ``without`` some of its folders."""
        shutil.copytree(self.folder, folder)
        for name in without:
            shutil.rmtree(folder / name)
        return folder


def here(*arguments: object) -> Ended:
    """Run the command line in this process: torch is imported once for all of them."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    return Ended(code, out.getvalue(), err.getvalue())


def run_folder(project: Path) -> Path:
    """The folder of the project's only run."""
    (record,) = (project / "runs").glob("*/run.json")
    return record.parent


def run_record(project: Path) -> dict[str, Any]:
    """``run.json`` of the project's only run."""
    record: dict[str, Any] = json.loads((run_folder(project) / "run.json").read_text())
    return record


def artifact(project: Path, kind: str) -> Path:
    """The folder of the project's only artifact of a kind."""
    (manifest,) = (project / "artifacts" / kind).glob("*/manifest.json")
    return manifest.parent


def state_of_files(folder: Path) -> dict[str, tuple[int, str]]:
    """Name → time of change and hash of every file below ``folder``."""
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def flip_bit(path: Path, place: int) -> None:
    """Change one bit of the byte at ``place`` (from the end where negative)."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
