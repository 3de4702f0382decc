"""Parts of the time: each lasts until the next begins, and together they are all of it."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from groundup.train.breakdown import NOBODY, PARTS, Stopwatch, added, in_words
from groundup.train.pretrain import pretrain
from tests.train.small import SETTINGS, Tokens, job


class Device:
    """A clock that is set by hand, and a device that is behind it."""

    def __init__(self):
        self.moment, self.done = 0.0, float("inf")

    def stopwatch(self):
        return Stopwatch(lambda: self.moment, lambda moment: moment <= self.done)


def test_a_part_lasts_until_the_next_begins():
    device = Device()
    timer = device.stopwatch()
    for moment, part in ((0, "data"), (2, "forward"), (5, "backward"), (6, "forward")):
        device.moment = moment
        timer.at(part)
    device.moment = 10
    assert timer.taken() == {"data": 2, "forward": 7, "backward": 1}

    device.moment = 11
    assert timer.taken() == {"forward": 1}


def test_what_the_device_has_not_done_is_told_later():
    device = Device()
    timer = device.stopwatch()
    timer.at("forward")
    device.moment, device.done = 4, 3
    timer.at("backward")
    assert timer.taken() == {}

    device.moment = device.done = 9
    assert timer.taken() == {"forward": 4, "backward": 5}


def test_nobody_measures_nothing():
    NOBODY.at("data")
    assert NOBODY.taken() == {}
    assert Stopwatch().taken() == {}


def test_parts_are_added_in_their_order():
    total = added({"optimizer": 1.0, "data": 2.0}, {"forward": 3.0, "data": 0.5})
    assert list(total.items()) == [("data", 2.5), ("forward", 3.0), ("optimizer", 1.0)]
    assert in_words({"data": 1.0, "backward": 3.0}) == (
        "75% backward passes, 25% reading and preparing batches"
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    pretrain(folder, Tokens(), job())
    return folder


def test_the_parts_of_a_run_are_the_run(run):
    record = json.loads((run / "run.json").read_text())
    whole = record["measured"]["duration_seconds"]
    assert sum(record["part_seconds"].values()) == pytest.approx(whole, rel=0.2, abs=0.1)
    assert set(record["part_seconds"]) == set(PARTS) - {"forward_backward", "profile", "workers"}


def test_the_lines_and_the_record_agree(run):
    record = json.loads((run / "run.json").read_text())
    summed = Counter()
    for line in (run / "metrics.jsonl").read_text().splitlines():
        parts = {k[:-8]: v for k, v in json.loads(line).items() if k.endswith("_seconds")}
        summed.update(parts)
    for part in ("data", "forward", "backward", "optimizer"):
        assert summed[part] == pytest.approx(record["part_seconds"][part], abs=1e-3)


def test_a_run_that_was_interrupted_keeps_what_it_measured(tmp_path):
    from groundup.errors import Interrupted

    with pytest.raises(Interrupted):
        pretrain(tmp_path, Tokens(), replace(job(), until=6))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    before = sum(line["backward_seconds"] for line in lines)
    pretrain(tmp_path, Tokens(), job())
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    record = json.loads((tmp_path / "run.json").read_text())
    assert len(lines) == SETTINGS.steps
    assert record["part_seconds"]["backward"] == pytest.approx(
        before + sum(line["backward_seconds"] for line in lines[6:]), abs=1e-3
    )
