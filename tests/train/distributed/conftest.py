"""The worlds that the fast tests look at: all of them at once, by one process that forks them."""

import fcntl
import json
import os
from dataclasses import dataclass

import pytest

from tests.train.distributed.cases import FAST, LAYOUTS
from tests.train.distributed.world import answers, worlds

CASES, MEETING = "tests.train.distributed.cases:", "tests.train.distributed.meeting:"


@dataclass(frozen=True)
class Met:
    """What each rank answered, by layout and by meeting; what was imported before any of it."""

    layouts: dict
    meetings: dict
    imported: list


@pytest.fixture(scope="session")
def met(tmp_path_factory):
    """Parallel workers share it: the first to come runs it, the others wait."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "worlds"
    meetings = {
        "agreements": [],
        "after_the_first": [str(folder)],
        "missing": [str(folder)],
        "dropped": [7],
    }
    calls = [
        *((2, MEETING + name, arguments) for name, arguments in meetings.items()),
        *layout_calls(FAST),
    ]
    with (shared / "worlds.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            folder.mkdir()
            worlds(calls, folder)
    found = answers(calls, folder)
    return Met(
        dict(zip(FAST, found[len(meetings) :], strict=True)),
        dict(zip(meetings, found, strict=False)),
        json.loads((folder / "imported.json").read_text()),
    )


def layout_calls(chosen):
    """The worlds in which the chosen cases, by layout, are walked."""
    return [
        (LAYOUTS[layout][0], CASES + "walk_all", [names, LAYOUTS[layout][1]])
        for layout, names in chosen.items()
    ]
