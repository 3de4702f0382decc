"""Break bits of one process's weights while it trains: is it noticed, in time, and named?

Each event takes a small model some steps into training and damages one tensor of one rank: a bit of
the sign, the exponent or the mantissa of a weight, a bit of an optimizer's state, or 16 rows of a
feed-forward matrix scaled by 200, which no quiet detector on loss or gradients sees. Then training
goes on until a check finds it; gradients that are not finite are not applied but compared for at
once, as the loop does. Watched by: hashes compared across 3 and across 2 replicas every ``k`` steps
(2 replicas know that it is one of them), the same 2 with checksums, one process with checksums.

Then the price: a larger model in one process, its checks on and off in turn, step by step.

    python benchmarks/silent_corruption.py [--seeds 5] [--every 10] [--device cpu]

The last line is JSON; the exit code is 1 if an event was missed, late or laid to another rank, or
if a step before the damage was called damaged.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from groundup.architecture.config import ModelConfig
from groundup.architecture.families import build
from groundup.train.batch import Batch, counts_of
from groundup.train.config import Settings
from groundup.train.distributed import join, leave, rows_of
from groundup.train.integrity.checks import IntegrityChecks
from groundup.train.integrity.config import IntegrityConfig
from groundup.train.integrity.replicas import digest
from groundup.train.objectives import next_token_loss
from groundup.train.parallel.pieces import local_tensor
from groundup.train.start import new_state
from groundup.train.state import RunState
from groundup.train.step import Gradients, apply_gradients, gradients

DAMAGES = ("sign", "exponent", "mantissa", "state", "rows")
BITS = {"sign": (31, 31), "exponent": (23, 30), "mantissa": (0, 22), "state": (0, 31)}
ROWS, SCALE = 16, 200.0
VOCAB_SIZE = 256


@dataclass(frozen=True)
class Setup:
    """Who watches: how many replicas, and every how many steps checksums are taken."""

    name: str
    n_replicas: int
    checksum_every: int | None
    names_one: bool  # whether it can tell which rank it is


SETUPS = (
    Setup("3 replicas, hashes", 3, None, True),
    Setup("2 replicas, hashes", 2, None, False),
    Setup("2 replicas, hashes and checksums", 2, 1, True),
    Setup("1 process, checksums", 1, 1, True),
)


def main() -> int:
    """Run every setup, print a table; 0 if everything was found, in time, where it was."""
    parser = argparse.ArgumentParser(description="bits that flip in one process's weights")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--setup", type=int, help=argparse.SUPPRESS)  # of a rank: which one
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.setup is not None:
        events = watch(SETUPS[options.setup], options)
        options.answer.write_text(json.dumps(events))
        return 0
    summary: dict[str, Any] = {"every": options.every, "setups": {}}
    print(
        f"{'watched by':34} {'events':>6} {'found':>6} {'named':>6} {'latest':>7} {'false':>6}",
        flush=True,
    )
    wrong = 0
    for number, setup in enumerate(SETUPS):
        found = launch(number, setup, options)
        summary["setups"][setup.name] = found
        wrong += 2 * found["events"] - found["found"] - found["named"] + found["false_alarms"]
        print(
            f"{setup.name:34} {found['events']:6} {found['found']:6} {found['named']:6} "
            f"{found['latest_steps']:7} {found['false_alarms']:6}",
            flush=True,
        )
    summary["price"] = price(options.device)
    for name, value in summary["price"].items():
        print(f"{name:58} {value:10.3f}")
    print(json.dumps(summary))
    return 1 if wrong else 0


def launch(number: int, setup: Setup, options: argparse.Namespace) -> dict[str, Any]:
    """Start the ranks of a setup and add up what they found; every rank must say the same."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        ranks = []
        for rank in range(setup.n_replicas):
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": setup.n_replicas,
                     "MASTER_PORT": port}  # fmt: skip
            told = {name: str(value) for name, value in place.items()}
            words = [
                sys.executable, __file__, "--setup", str(number), "--seeds", str(options.seeds),
                "--every", str(options.every), "--device", options.device,
                "--answer", f"{folder}/{rank}",
            ]  # fmt: skip
            alone = setup.n_replicas == 1
            environment = os.environ | ({} if alone else {**told, "MASTER_ADDR": "127.0.0.1"})
            ranks.append(subprocess.Popen(words, env=environment | {"OMP_NUM_THREADS": "1"}))
        if sum(abs(process.wait()) for process in ranks):
            raise SystemExit(f"a process of {setup.name} failed")
        answers = [json.loads(Path(f"{folder}/{rank}").read_text()) for rank in range(len(ranks))]
    assert all(answer == answers[0] for answer in answers), "the ranks do not agree"
    events = answers[0]
    late = options.every if setup.checksum_every is None else 1
    return {
        "events": len(events),
        "found": sum(event["steps"] is not None and event["steps"] <= late for event in events),
        "named": sum(event["named"] for event in events),
        "latest_steps": max(event["steps"] if event["steps"] is not None else -1
                            for event in events),
        "false_alarms": sum(event["false_alarms"] for event in events),
        "missed": [event for event in events if event["steps"] is None or not event["named"]],
    }  # fmt: skip


def watch(setup: Setup, options: argparse.Namespace) -> list[dict[str, Any]]:
    """In one rank: every event of a setup, in the same order on all."""
    layout = {"dp_replicate": setup.n_replicas, "dp_shard": 1}
    config = build("llama", vocab_size=VOCAB_SIZE, n_layers=2, d_model=64, context_length=32)
    settings = replace(settings_of(config, options.device, rows=6), layout=layout)
    ranks = join(settings)
    results = []
    for seed in range(options.seeds):
        for damage in DAMAGES:
            chance = random.Random(f"{seed} {damage} {setup.name}")
            when, victim = chance.randrange(3, 3 + options.every), chance.randrange(ranks.size)
            state = new_state(config, replace(settings, seed=seed), ranks)
            checks = IntegrityChecks(
                IntegrityConfig(checksum_every=setup.checksum_every, compare_every=options.every),
                ranks,
            )
            event: dict[str, Any] = {"seed": seed, "damage": damage, "steps": None, "named": False}
            event["false_alarms"] = 0
            while state.step < when + 2 * options.every and event["steps"] is None:
                if state.step == when:
                    name = break_one(state, damage, chance, mine=ranks.rank == victim)
                whole = batch_of(state.step, settings)
                mine = rows_of(whole, ranks)
                compute = partial(
                    gradients, state, settings, mine, counts_of(whole), next_token_loss, ranks
                )
                found, findings = checks.computed(state, compute)
                finite = torch.isfinite(found.loss) and torch.isfinite(found.norm)
                findings += checks.before_update(state)
                findings += checks.at_step(state, now=not finite)
                if findings and state.step < when:
                    event["false_alarms"] += 1
                elif findings:
                    expected = (victim,) if setup.names_one else tuple(range(ranks.size))
                    event["steps"] = state.step - when
                    # A damaged state has moved its weight too when the replicas are compared.
                    event["named"] = all(one.ranks == expected for one in findings) and any(
                        one.tensor == name for one in findings
                    )
                elif not finite:
                    break  # nobody can tell why
                apply_gradients(state, settings, found)
                checks.after_update(state)
            results.append(event)
    leave(ranks)
    return results


def break_one(state: RunState, damage: str, chance: random.Random, *, mine: bool) -> str:
    """Damage a tensor, where it is ``mine`` to break; its name."""
    group = state.tensors()["optimizer" if damage == "state" else "model"]
    names = [
        name
        for name, tensor in group.items()
        if tensor.dtype == torch.float32 and (damage != "rows" or "feed_forward" in name)
    ]
    name = chance.choice(names)
    piece = local_tensor(group[name].detach())
    place = chance.randrange(piece.numel())
    bit = chance.randint(*BITS.get(damage, (0, 0)))
    if mine and damage == "rows":
        piece[:ROWS] *= SCALE
    elif mine:
        words = piece.view(-1).view(torch.int32)
        words[place] ^= (1 << bit) - (2**32 if bit == 31 else 0)
    return name


def price(device: str) -> dict[str, float]:
    """What the checks cost in percent of a step, of a model of 5 million parameters."""
    config = build("llama", vocab_size=VOCAB_SIZE, n_layers=6, d_model=256, context_length=128)
    settings = settings_of(config, device, rows=8)
    state = new_state(config, settings)
    checks = IntegrityChecks(IntegrityConfig(checksum_every=1, compare_every=None))
    seconds: dict[str, list[float]] = {"plain": [], "summed": [], "hashes": [], "replay": []}
    replays = IntegrityChecks(IntegrityConfig(compare_every=None, replay_every=1))
    for number in range(40):
        summed = number % 2 == 1
        batch = batch_of(number, settings).to(device)
        compute = partial(gradients, state, settings, batch, counts_of(batch), next_token_loss)
        wait(device)
        began = time.perf_counter()
        found: Gradients = compute()
        if summed:
            checks.before_update(state)
        apply_gradients(state, settings, found)
        if summed:
            checks.after_update(state)
            checks.before_update(state)  # that of the next step, which is a plain one
        wait(device)
        if number >= 4:
            seconds["summed" if summed else "plain"].append(time.perf_counter() - began)
        if summed and number >= 4:
            began = time.perf_counter()
            for tensor in tensors_of(state):
                digest(tensor)
            seconds["hashes"].append(time.perf_counter() - began)
            began = time.perf_counter()
            replays.computed(state, compute)
            seconds["replay"].append(time.perf_counter() - began)
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors_of(state))
    return {
        "step, ms": 1e3 * middle["plain"],
        "weights and optimizer states, MB": n_bytes / 1e6,
        "checksums every step, % of a step": 100 * (middle["summed"] / middle["plain"] - 1),
        "hashes of a comparison, % of a step": 100 * middle["hashes"] / middle["plain"],
        "the same every 100 steps, % of the time": middle["hashes"] / middle["plain"],
        "gradients computed twice, % of a step": 100 * middle["replay"] / middle["plain"],
    }


def wait(device: str) -> None:
    """Until the device has done its work."""
    if device == "cuda":
        torch.cuda.synchronize()


def tensors_of(state: RunState) -> list[Tensor]:
    """Weights and optimizer states."""
    groups = state.tensors()
    return [*groups["model"].values(), *groups["optimizer"].values()]


def batch_of(number: int, settings: Settings) -> Batch:
    """Batch ``number`` of a noisy counting sequence: something can be learnt from it."""
    shape = (settings.batch_size, settings.context_length + 1)
    steps = np.random.default_rng(number).integers(1, 4, shape)
    tokens = torch.from_numpy(np.cumsum(steps, axis=1) % VOCAB_SIZE)
    return Batch(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())


def settings_of(config: ModelConfig, device: str, rows: int) -> Settings:
    """AdamW on ``rows`` rows a step."""
    return Settings(
        steps=1000, batch_size=rows, micro_batch_size=rows, context_length=config.context_length,
        optimizer="adamw", learning_rate=1e-3, adam_learning_rate=None,
        embedding_learning_rate=None, weight_decay=0.1, momentum=0.95, beta1=0.9, beta2=0.95,
        grad_clip=1.0, schedule="wsd", warmup_steps=10, decay_fraction=0.4, min_lr_ratio=0.0,
        device=device, precision="fp32", float32_matmul_precision="highest", attention="sdpa",
        n_threads=1, evaluate_every=1000, evaluation_windows=1, checkpoint_every=1000, keep_last=1,
        sample_every=1000, sample_prompt="", seed=0,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
