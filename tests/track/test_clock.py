"""A clock that jumps: what is measured comes from clocks that cannot."""

import ast
import itertools
import time
from pathlib import Path

import groundup
from groundup.track.run import read_lines, read_run
from groundup.track.verify import verify
from groundup.train.pretrain import pretrain
from tests.train.small import Tokens, job

SOURCE = Path(groundup.__file__).parent
JUMPING = {"time", "datetime", "date", "utcnow", "today", "gmtime", "localtime"}
# A start's number, shared by its ranks: never subtracted from another.
NUMBERED_BY_TIME = {("parts.py", "time_ns")}


def test_training_and_tracking_never_ask_the_wall_clock_how_long_something_took():
    asked = {
        (path.name, node.attr)
        for path in [*SOURCE.glob("train/**/*.py"), *SOURCE.glob("track/*.py")]
        if path.parent.name != "doctor"  # which judges the clock itself
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("time", "datetime")
        and node.attr in {*JUMPING, "time_ns", "now"}
    }
    assert asked <= NUMBERED_BY_TIME


def test_a_clock_that_jumps_changes_neither_bits_nor_durations(tmp_path, monkeypatch):
    pretrain(tmp_path / "steady", Tokens(), job())
    years = itertools.cycle([2031, 1969, 2026])
    monkeypatch.setattr("groundup.track.run.now", lambda: f"{next(years)}-01-01T00:00:00+00:00")
    seconds = itertools.count(4e9, -1e8)
    monkeypatch.setattr(time, "time", lambda: next(seconds))
    started = time.perf_counter()
    pretrain(tmp_path / "jumping", Tokens(), job())
    took = time.perf_counter() - started
    steady, jumping = (read_run(tmp_path / name) for name in ("steady", "jumping"))
    assert jumping["final_hash"] == steady["final_hash"]
    assert 0 < jumping["measured"]["duration_seconds"] <= took
    assert jumping["measured"]["tokens_per_second"] > 0
    for line in read_lines(tmp_path / "jumping" / "metrics.jsonl"):
        assert line["tokens_per_second"] > 0
    assert verify(tmp_path / "jumping")[1] == []
