"""Activation recomputation: what a forward pass keeps, and what a step costs.

    python -m benchmarks.recompute [--layers 6] [--width 384] [--steps 8] [--json]

A GPT-2 of fp32, 4 rows of 256 tokens, one thread, on the CPU. Kept: bytes that are allocated by the
forward pass and still are at its end, as torch's own profiler counts them. Seconds: processor time
of a whole training step, the arms in turns; the least of all steps, since whatever else the machine
does only adds to it. Estimate: what the plan counts before anything is measured
(`plan.local.peak.uncalibrated`), at the peak of the backward pass.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from groundup.architecture.config import ModelConfig
from groundup.architecture.families import build
from groundup.plan.local.peak import uncalibrated
from groundup.tables import Table, print_json, print_tables
from groundup.train.batch import Batch, counts_of
from groundup.train.config import PretrainConfig, Settings, settle
from groundup.train.objectives import next_token_loss
from groundup.train.start import new_state
from groundup.train.state import RunState
from groundup.train.step import train_step

ROWS, CONTEXT, VOCAB_SIZE = 4, 256, 4096
ARMS = [(attention, how) for attention in ("sdpa", "bmm") for how in ("none", "selective", "full")]


def settings_of(attention: str, recompute: str) -> Settings:
    """Of one arm."""
    section = PretrainConfig.model_validate(
        {"batch_size": ROWS, "optimizer": "adamw", "recompute": recompute, "warmup_steps": 1}
    )
    chosen = {
        "steps": 1000, "device": "cpu", "precision": "fp32", "float32_matmul_precision": "highest",
        "attention": attention, "n_threads": 1, "evaluate_every": 1000, "checkpoint_every": 1000,
        "sample_every": 1000,
    }  # fmt: skip
    return settle(section, chosen, context_length=CONTEXT, seed=1)


def kept_bytes(state: RunState, batch: Batch) -> int:
    """What a forward pass leaves allocated."""
    counts = counts_of(batch)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        loss = next_token_loss(state.model, batch, counts)
    del loss
    return sum(event.self_cpu_memory_usage for event in profiled.events())


def measure(config: ModelConfig, steps: int) -> list[dict[str, Any]]:
    """Every arm."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(VOCAB_SIZE, (ROWS, CONTEXT + 1), generator=generator)
    batch = Batch(tokens[:, :-1].clone(), tokens[:, 1:].clone())
    states = {arm: (new_state(config, settings_of(*arm)), settings_of(*arm)) for arm in ARMS}
    seconds: dict[Any, list[float]] = {arm: [] for arm in ARMS}
    for _ in range(steps + 1):
        for arm, (state, settings) in states.items():
            start = time.process_time()
            train_step(state, settings, batch)
            seconds[arm].append(time.process_time() - start)
    rows = []
    for arm, (state, _) in states.items():
        attention, recompute = arm
        estimate = uncalibrated(
            config,
            precision="fp32",
            attention=attention,
            base_memory_bytes=0,
            tokens=ROWS * CONTEXT,
            context_length=CONTEXT,
            optimizer="adamw",
            recompute=recompute,
        )
        least = min(seconds[arm][1:])
        rows.append(
            {
                "attention": attention,
                "recompute": recompute,
                "kept_bytes": kept_bytes(state, batch),
                "estimate_bytes": round(estimate.activations),
                "step_cpu_seconds": least,
                "against_none": least / min(seconds[attention, "none"][1:]),
            }
        )
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    config = build(
        "gpt2",
        vocab_size=VOCAB_SIZE,
        n_layers=asked.layers,
        d_model=asked.width,
        n_heads=asked.width // 64,
        context_length=CONTEXT,
    )
    rows = measure(config, asked.steps)
    if asked.json:
        print_json({"layers": asked.layers, "width": asked.width, "arms": rows})
        return
    head = ["attention", "recompute", "kept MB", "estimate MB", "CPU s a step", "against none"]
    shown = [
        [
            row["attention"],
            row["recompute"],
            round(row["kept_bytes"] / 1e6, 1),
            round(row["estimate_bytes"] / 1e6, 1),
            round(row["step_cpu_seconds"], 3),
            round(row["against_none"], 2),
        ]
        for row in rows
    ]
    print_tables([Table("activation recomputation", head, shown)])


if __name__ == "__main__":
    main()
