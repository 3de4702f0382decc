"""What several files of tests share: one small project, run once in a session."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from pathlib import Path

import hypothesis
import pytest

from tests.projects import Ended, Finished, groundup, small_project

# No test asserts a time, and what lands must not hang on luck; to look for new examples:
# pytest --hypothesis-profile search
hypothesis.settings.register_profile("search", deadline=None)
hypothesis.settings.register_profile("fixed", deadline=None, derandomize=True)
hypothesis.settings.load_profile("fixed")

# A shell lets what it starts in the background ignore Ctrl-C, and so would everything started here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The small project after its first run. It is everyone's: change a copy (`copy_of`).

    Parallel workers share it: the first to come runs it, the others wait.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, said = shared / "small", shared / "small.json"
    with (shared / "small.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            first = groundup("run", small_project(folder), "--config", "tiny.yaml", "--json")
            said.write_text(json.dumps([first.code, first.out, first.err]))
    return Finished(folder, Ended(*json.loads(said.read_text())))


@pytest.fixture
def copy_of(finished: Finished, tmp_path: Path) -> Path:
    """A copy of the finished project in another place."""
    return finished.copy(tmp_path / "copy")
