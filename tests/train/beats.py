"""Beats of made-up ranks, and processes for them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from groundup.train.distributed import Ranks
from groundup.train.heartbeat import Beat, Heart, beat_path, ranks_folder
from groundup.train.processes import process_state

LAUNCH = 7
INTERVAL = 0.05


def heart_of(folder: Path, rank: int = 0, size: int = 2, interval: float = INTERVAL) -> Heart:
    return Heart(folder, Ranks(rank, size), launch=LAUNCH, interval_seconds=interval)


def beat_of(folder: Path, rank: int, **changes: object) -> Beat:
    """A rank of this machine, in the all-reduce of step 10."""
    heart = heart_of(folder, rank, 4)
    heart.at("all-reduce", 10)
    return replace(heart.now(), **changes)  # type: ignore[arg-type]


def write(folder: Path, *beats: Beat) -> None:
    ranks_folder(folder).mkdir(parents=True, exist_ok=True)
    for beat in beats:
        new = ranks_folder(folder) / f"{beat.rank}.new"
        new.write_text(json.dumps(asdict(beat)))
        new.replace(beat_path(ranks_folder(folder), beat.rank))


@contextmanager
def process_of(folder: Path, rank: int, **changes: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing, and its beat."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        state = process_state(process.pid)
        assert state is not None
        started = {"pid": process.pid, "pid_started": state.started}
        write(folder, beat_of(folder, rank, **started, **changes))
        yield process
    finally:
        process.kill()
        process.wait()
