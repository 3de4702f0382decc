"""A profiled run has the bits of any other, and files that say where its steps' time went."""

import gzip
import json
import os
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
import torch

from groundup.train import loop
from groundup.train.breakdown import OF_STEPS, stopwatch
from groundup.train.costs import RANGE, costs_of, kind_of, said
from groundup.train.pretrain import pretrain
from groundup.train.profile import (
    MOST_POINTS,
    STEPS,
    WARMUP_STEPS,
    memory_record,
    memory_timeline,
    profiled,
    without_marks,
)
from tests.train.small import Tokens, job


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folders = {}
    for name in ("plain", "profiled"):
        folders[name] = tmp_path_factory.mktemp(name)
        pretrain(folders[name], Tokens(), replace(job(), profile=name == "profiled"))
    return folders


def test_the_bits_are_those_of_a_run_without_it(runs):
    hashes = {
        json.loads((folder / "run.json").read_text())["final_hash"] for folder in runs.values()
    }
    assert len(hashes) == 1
    assert not (runs["plain"] / "profile").exists()


def test_the_trace_has_the_parts_of_every_step(runs):
    trace = json.loads(gzip.decompress((runs["profiled"] / "profile/trace.json.gz").read_bytes()))
    names = [event.get("name") for event in trace["traceEvents"] if event.get("ph") == "X"]
    cpu = [name for name in names if name and name.startswith(RANGE)]
    for part in ("data", "forward", "backward"):
        assert cpu.count(RANGE + part) >= STEPS


def test_kinds_parts_and_operators_each_add_up_to_the_step(runs):
    record = json.loads((runs["profiled"] / "profile/breakdown.json").read_text())
    whole = record["seconds_per_step"]
    assert record["steps"] == STEPS
    assert whole > 0
    assert sum(kind["seconds"] for kind in record["kinds"]) == pytest.approx(whole)
    assert sum(kind["share"] for kind in record["kinds"]) == pytest.approx(1)
    assert sum(record["parts"].values()) == pytest.approx(whole)
    assert set(record["parts"]) == set(OF_STEPS)
    named = {kind["kind"]: kind for kind in record["kinds"]}
    assert {"linear layers", "attention", "head and loss", "optimizer"} <= set(named)
    assert set(named["linear layers"]["parts"]) == {"forward", "backward"}


def test_the_words_name_the_three_dearest(runs):
    folder = runs["profiled"] / "profile"
    record = json.loads((folder / "breakdown.json").read_text())
    lines = (folder / "summary.txt").read_text().splitlines()
    assert lines[0] == "The three biggest costs of a training step:"
    for number, (kind, line) in enumerate(zip(record["kinds"], lines[1:], strict=False), 1):
        assert line.startswith(f"{number}. {kind['kind']}: {kind['share']:.0%} of a step")


def test_memory_over_time_has_its_peak_and_is_drawn(runs):
    folder = runs["profiled"] / "profile"
    record = json.loads((folder / "memory.json").read_text())
    assert max(record["bytes"]) == record["peak_bytes"] > 0 == min(0, *record["bytes"])
    assert record["milliseconds"] == sorted(record["milliseconds"])
    assert ElementTree.fromstring((folder / "memory.svg").read_text()).tag.endswith("svg")


def test_a_run_that_is_too_short_says_so(tmp_path, capsys):
    from groundup.errors import Interrupted

    with pytest.raises(Interrupted):
        pretrain(tmp_path, Tokens(), replace(job(), profile=True, until=4))
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.startswith("profile: 6 steps are needed (3 to warm up), and 4 are left")
    assert not [line for line in rest if line.startswith("profile")]
    assert not (tmp_path / "profile").exists()


def test_a_run_that_ends_early_says_so(tmp_path, capsys):
    with profiled(tmp_path / "profile", stopwatch("cpu"), "cpu", wanted=True) as profile:
        profile.step()
    assert "6 steps are needed, 1 were taken" in capsys.readouterr().err


def test_kinetos_marks_are_left_out_and_nothing_else(capfd):
    with without_marks():
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]):
            torch.ones(2) + 1
        os.write(2, b"[E] a real error\nof two lines")
    os.write(2, b"\nafter")
    assert capfd.readouterr().err == "[E] a real error\nof two lines\nafter"


def test_a_profiled_run_writes_no_marks(tmp_path, capfd):
    pretrain(tmp_path, Tokens(), replace(job(), profile=True))
    said = capfd.readouterr().err
    assert "The three biggest costs" in said
    assert "USDT" not in said


@pytest.mark.parametrize("works", [True, False])
def test_all_processes_wait_while_the_first_writes(monkeypatch, tmp_path, works):
    told = []
    monkeypatch.setattr(loop, "limit_waiting", lambda ranks, seconds=60: told.append(seconds))
    monkeypatch.setattr(loop, "barrier", lambda ranks: told.append("all here"))
    heart = SimpleNamespace(at=lambda *_: None, patiently=nullcontext)
    with profiled(tmp_path / "profile", stopwatch("cpu"), "cpu", wanted=True, works=works) as one:
        monkeypatch.setattr(one, "_write", lambda profiler: told.append("written"))
        run = SimpleNamespace(profile=one, heart=heart, ranks=None)
        for step in range(WARMUP_STEPS + STEPS + 2):
            loop.tell_profile(SimpleNamespace(step=step), run)
    expected = [loop.FIRST_STEP_SECONDS, *(["written"] if works else []), "all here", 60]
    assert told == expected
    assert not (tmp_path / "profile").exists()


def event(name, microseconds, parent=None):
    return SimpleNamespace(name=name, own=microseconds, cpu_parent=parent)


def test_own_seconds_go_to_the_kind_that_the_callers_say():
    forward, save = event(RANGE + "forward", 10), event(RANGE + "checkpoint", 500)
    strips = event("_Strips", 30, forward)
    events = [
        forward, save, strips,
        event("aten::mul", 20, strips),
        event("aten::addmm", 140, forward),
        event("aten::add", 40, forward),
        event("aten::copy_", 1000, save),
        event("aten::copy_", 1000),
    ]  # fmt: skip
    costs = costs_of(events, 2, lambda each: each.own)
    assert {cost.kind: cost.seconds for cost in costs} == pytest.approx({
        "linear layers": 70e-6, "attention": 25e-6, "sums, products and copies": 20e-6,
        "between operators": 5e-6,
    })  # fmt: skip
    assert said(costs, 1) == [
        "1. linear layers: 58% of a step, 0.1 ms (100% in forward passes); "
        "aten::addmm alone takes 58%"
    ]


@pytest.mark.parametrize(
    ("callers", "part", "kind"),
    [
        (["aten::mm", "AddmmBackward0", RANGE + "backward"], "backward", "linear layers"),
        (["aten::mm", "_GradientInForward", RANGE + "forward"], "forward", "head and loss"),
        (["aten::sum", "AddmmBackward0"], "backward", "sums, products and copies"),
        (["aten::gelu_backward", "GeluBackward0"], "backward", "activations"),
        (["aten::bmm", "Optimizer.step#Muon.step"], "optimizer", "optimizer"),
        (["aten::native_layer_norm"], "forward", "norms"),
    ],
)
def test_kinds(callers, part, kind):
    assert kind_of(callers, part) == kind


def test_memory_counts_from_its_least_and_keeps_every_peak():
    events = [
        {"name": "[memory]", "ts": 1000 * n, "args": {"Total Allocated": size, "Device Type": kind}}
        for n, (size, kind) in enumerate([(-50, 0), (150, 0), (9999, 1), (0, 0)])
    ]
    timeline = memory_timeline(events, on_gpu=False)
    assert timeline == [(0, 0), (1, 200), (3, 50)]

    long = [(float(n), n % 997) for n in range(5000)]
    record = memory_record(long)
    assert record["peak_bytes"] == max(record["bytes"]) == 996
    assert len(record["bytes"]) <= MOST_POINTS
