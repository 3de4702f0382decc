"""How long training stands still for a checkpoint, and what the writer costs the steps beside it.

One state (by default 29.5M parameters with AdamW's moments, 354 MB) is saved in turn, again and
again, by `torch.save` + fsync + rename (what most loops do) and by `Saver`: the copy is the stall,
a thread writes, hashes, fsyncs and reads back. Between the saves training steps run, some with the
writer at work and some without. All ratios are of one run, alternating, because a machine's disk
differs more from hour to hour than the two do.

    python benchmarks/checkpoint_stall.py [--repeats 5] [--folder FOLDER] [--layers 8 --width 512]

Prints a table, then one line of JSON. Exit code 1 if the stall is over 0.4 of torch.save's time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from groundup.architecture.families import build
from groundup.files import fsync_folder
from groundup.tables import Table, print_tables
from groundup.train.batch import Batch
from groundup.train.checkpoint import save_checkpoint
from groundup.train.config import PretrainConfig, Settings, settle
from groundup.train.retention import Retention
from groundup.train.start import new_state
from groundup.train.state import RunState
from groundup.train.step import train_step
from groundup.train.writer import Saver

VOCAB_SIZE, CONTEXT, ROWS = 8192, 128, 2
TARGET = 0.4
ROWS_OF_TABLE = {
    "torch_save": "torch.save + fsync + rename, in the loop",
    "synchronous": "save_checkpoint, in the loop",
    "stall": "Saver.save: what the loop waits for",
    "durable": "Saver: until it is durable and read back, steps beside it",
    "step_alone": "a step alone",
    "step_beside": "a step beside the writer",
    "step_alone_cpu": "a step alone, processor time of its thread",
    "step_beside_cpu": "a step beside the writer, processor time of its thread",
    "writer_cpu": "the writer's processor time for one checkpoint",
}


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description="the stall of a checkpoint")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="on the disk to be measured; default: /tmp's")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    state, settings = trained(options.layers, options.width)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = measure(state, settings, Path(folder), options.repeats)
    show(found)
    print(json.dumps(found))
    return 0 if found["stall_ratio"] <= TARGET else 1


def trained(n_layers: int, width: int) -> tuple[RunState, Settings]:
    """A state whose optimizer has moments."""
    config = build(
        "gpt2", vocab_size=VOCAB_SIZE, n_layers=n_layers, d_model=width, context_length=CONTEXT
    )
    decided = {
        "steps": 10**6, "device": "cpu", "precision": "fp32", "float32_matmul_precision": "highest",
        "attention": "sdpa", "n_threads": torch.get_num_threads(), "evaluate_every": 10**6,
        "checkpoint_every": 10**6, "sample_every": 10**6,
    }  # fmt: skip
    wanted = PretrainConfig(optimizer="adamw", batch_size=ROWS, micro_batch_size=ROWS)
    settings = settle(wanted, decided, context_length=CONTEXT, seed=0)
    state = new_state(config, settings)
    step(state, settings)
    return state, settings


def step(state: RunState, settings: Settings) -> None:
    """One training step on random tokens."""
    tokens = torch.randint(VOCAB_SIZE, (2, ROWS, CONTEXT))
    train_step(state, settings, Batch(tokens[0], tokens[1]))


def measure(state: RunState, settings: Settings, folder: Path, repeats: int) -> dict[str, Any]:
    """Medians over the repeats; the first round is a warm-up and does not count."""
    saver = Saver(folder / "ours", Retention(1))
    seconds: dict[str, list[float]] = {name: [] for name in ROWS_OF_TABLE}
    for round_number in range(repeats + 1):
        found = one_round(state, settings, saver, folder)
        for name, values in found.items():
            seconds[name] += values if round_number else []
    saver.close()
    ratios = [
        stall / save for stall, save in zip(seconds["stall"], seconds["torch_save"], strict=True)
    ]
    return {
        "parameters": sum(p.numel() for p in state.model.parameters()),
        "bytes": sum(t.numel() * t.itemsize for g in state.tensors().values() for t in g.values()),
        "threads": torch.get_num_threads(),
        "repeats": repeats,
        "seconds": {name: statistics.median(values or [0]) for name, values in seconds.items()},
        "stall_ratio": statistics.median(ratios),
        "stall_ratios": ratios,
    }


def one_round(
    state: RunState, settings: Settings, saver: Saver, folder: Path
) -> dict[str, list[float]]:
    """Each way once, steps without and with the writer."""
    found = {"torch_save": [timed(lambda: torch_save(state, folder / "torch"))]}
    found["synchronous"] = [
        timed(lambda: save_checkpoint(folder / "whole", state, {}, keep=Retention(1)))
    ]
    alone = [timed_step(state, settings) for _ in range(3)]
    began, cpu_before = time.perf_counter(), time.process_time() - time.thread_time()
    found["stall"] = [timed(lambda: saver.save(state, {}))]
    beside = []
    while saver.is_writing():
        took = timed_step(state, settings)
        if saver.is_writing():  # the writer was at work beside it from end to end
            beside.append(took)
    saver.wait()
    found["durable"] = [time.perf_counter() - began]
    found["writer_cpu"] = [time.process_time() - time.thread_time() - cpu_before]
    for name, steps in (("step_alone", alone), ("step_beside", beside)):
        found[name] = [wall for wall, _ in steps]
        found[f"{name}_cpu"] = [cpu for _, cpu in steps]
    error = saver.failed()
    if error is not None:
        raise error
    return found


def torch_save(state: RunState, folder: Path) -> None:
    """The usual way, made durable."""
    folder.mkdir(exist_ok=True)
    unfinished = folder / "state.pt.tmp"
    with unfinished.open("wb") as file:
        torch.save(state.tensors(), file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(folder / "state.pt")
    fsync_folder(folder)


def timed(work: Callable[[], object]) -> float:
    """Seconds that ``work`` took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def timed_step(state: RunState, settings: Settings) -> tuple[float, float]:
    """Seconds of one step by the clock, and of this thread's processor time."""
    cpu = time.thread_time()
    wall = timed(lambda: step(state, settings))
    return wall, time.thread_time() - cpu


def show(found: dict[str, Any]) -> None:
    """The table."""
    base = found["seconds"]["torch_save"]
    title = (
        f"{found['parameters'] / 1e6:.1f}M parameters, {found['bytes'] / 1e6:.1f} MB, "
        f"{found['threads']} thread(s), medians of {found['repeats']}"
    )
    rows = [
        [text, round(found["seconds"][name], 3), round(found["seconds"][name] / base, 2)]
        for name, text in ROWS_OF_TABLE.items()
    ]
    print_tables([Table(title, ["what", "seconds", "of torch.save"], rows)])


if __name__ == "__main__":
    sys.exit(main())
