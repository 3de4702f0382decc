"""Optimizers on equal tokens: held-out loss, processor time of a step, bytes of state.

    python -m benchmarks.optimizers [--steps 200] [--only muon adamw] [--json]

One small model of bytes (4 layers × 64, context 128, Llama's) learns from the source of Python's
standard library; every tenth file is held out. Each optimizer's rate is doubled and halved from the
one in `ARMS`, with seed 0, until both neighbours of the best are worse; the best goes on with two
more seeds. Schedule (10 steps of warm-up, then WSD to zero over the last half) and clipping are
those of `groundup pretrain`, but for schedule-free, which has no schedule. What moves matrices only
has AdamW beside it at its usual rate. Betas are those of `pretrain`, or the paper's.

The candidates that are no part of groundup are in `optimizer_candidates.py`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmarks.optimizer_candidates import SOAP, AdamW8bit, Lion, ScheduleFree
from torch import Tensor

from groundup.architecture.config import ModelConfig
from groundup.architecture.families import build
from groundup.tables import Table, print_json, print_tables
from groundup.train.batch import Batch, counts_of
from groundup.train.config import PretrainConfig, Settings, settle
from groundup.train.objectives import next_token_loss
from groundup.train.optimizers.groups import OTHERS_BESIDE_MUON, optimizer_tensors, roles
from groundup.train.start import new_state
from groundup.train.state import RunState
from groundup.train.step import apply_gradients, gradients

CONTEXT, BATCH, SEEDS = 128, 4, 3
TRAINED_BYTES, HELD_OUT_WINDOWS = 4_000_000, 96
Groups = list[dict[str, Any]]


def candidate(make: Callable[[Groups, float], torch.optim.Optimizer]) -> Any:
    """An optimizer of all parameters, in groups by role."""

    def optimizers(state: RunState, settings: Settings) -> list[torch.optim.Optimizer]:
        lr = settings.learning_rate
        return [make([{"params": [p for role in roles(state.model) for p in role]}], lr)]

    return optimizers


def soap(state: RunState, settings: Settings) -> list[torch.optim.Optimizer]:
    """SOAP for the matrices, AdamW as beside Muon for the rest."""
    matrices, *others = roles(state.model)
    beside = [p for role in others for p in role]
    betas = (settings.beta1, settings.beta2)
    return [
        SOAP(matrices, settings.learning_rate),
        torch.optim.AdamW(
            beside, OTHERS_BESIDE_MUON[1], betas, eps=1e-10, weight_decay=0.0, fused=True
        ),
    ]


# Settings of `pretrain`, what builds the optimizers (None: groundup), the first rate.
ARMS: dict[str, tuple[dict[str, Any], Any, float]] = {
    "muon": ({}, None, 0.04),
    "muon, bf16 states": ({"optimizer_dtype": "bf16"}, None, 0.04),
    "soap": ({}, soap, 4e-3),
    "adamw": ({"optimizer": "adamw"}, None, 4e-3),
    "adamw, bf16 states": ({"optimizer": "adamw", "optimizer_dtype": "bf16"}, None, 4e-3),
    "adamw, 8-bit states": (
        {}, candidate(lambda groups, lr: AdamW8bit(groups, lr, (0.8, 0.95))), 4e-3,
    ),
    "schedule-free": ({"schedule": "constant"}, candidate(ScheduleFree), 8e-3),
    "lion": ({}, candidate(Lion), 5e-4),
    "adafactor": ({"optimizer": "adafactor"}, None, 0.08),
    "sgd": ({"optimizer": "sgd"}, None, 0.4),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--only", nargs="*", choices=ARMS, metavar="NAME", default=list(ARMS))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    trained, held_out = corpus()
    found = {name: measured(name, given.steps, trained, held_out) for name in given.only}
    if given.json:
        print_json(found)
        return
    rows = [
        (
            name,
            f"{arm['rate']:g}",
            f"{statistics.fmean(arm['losses']):.4f}",
            f"{min(arm['losses']):.4f}-{max(arm['losses']):.4f}",
            f"{1e3 * arm['step_seconds']:.1f}",
            f"{arm['state_bytes'] / arm['parameters']:.2f}",
        )
        for name, arm in found.items()
    ]
    head = ("optimizer", "rate", "loss", "of 3 seeds", "CPU ms a step", "bytes a weight")
    print_tables([Table("optimizers", head, rows)])


def measured(name: str, n_steps: int, trained: Tensor, held_out: Tensor) -> dict[str, Any]:
    """The best rate by one seed, then the others with it."""
    tried: dict[float, dict[str, Any]] = {}
    best = ARMS[name][2]
    while missing := [rate for rate in (best, best * 2, best / 2) if rate not in tried]:
        for rate in missing:
            tried[rate] = run(name, rate, 0, n_steps, trained, held_out)
        best = min(tried, key=lambda rate: tried[rate]["loss"])
    again = [run(name, best, seed, n_steps, trained, held_out) for seed in range(1, SEEDS)]
    return {
        **tried[best],
        "rate": best,
        "losses": [tried[best]["loss"], *(one["loss"] for one in again)],
        "tried": {rate: tried[rate]["loss"] for rate in sorted(tried)},
        "step_seconds": min(one["step_seconds"] for one in [*tried.values(), *again]),
    }


def run(
    name: str, rate: float, seed: int, n_steps: int, trained: Tensor, held_out: Tensor
) -> dict[str, Any]:
    """One training: held-out loss in nats a byte, CPU seconds of an update, bytes of state."""
    fields, builder, _ = ARMS[name]
    settings = settings_of({**fields, "learning_rate": rate}, n_steps, seed)
    state = new_state(model_config(), settings)
    if builder is not None:
        state.optimizers = builder(state, settings)
        for group in (group for each in state.optimizers for group in each.param_groups):
            group["peak_lr"] = group["lr"]
    draws = torch.Generator().manual_seed(seed)
    spent = []
    for _ in range(n_steps):
        batch = windows(trained, torch.randint(len(trained) - CONTEXT, (BATCH,), generator=draws))
        got = gradients(state, settings, batch, counts_of(batch), next_token_loss)
        began = time.process_time()
        apply_gradients(state, settings, got)
        spent.append(time.process_time() - began)
    for optimizer in state.optimizers:
        if isinstance(optimizer, ScheduleFree):
            optimizer.evaluate()
    kept = [tensor for _, tensor in optimizer_tensors(state.model, state.optimizers)]
    result = {
        "loss": held_out_loss(state, held_out),
        "step_seconds": statistics.median(spent),
        "state_bytes": sum(tensor.numel() * tensor.itemsize for tensor in kept),
        "parameters": sum(p.numel() for p in state.model.parameters()),
    }
    print(f"{name}, rate {rate:g}, seed {seed}: {result['loss']:.4f}", file=sys.stderr, flush=True)
    return result


def settings_of(fields: dict[str, Any], n_steps: int, seed: int) -> Settings:
    """The defaults of `groundup pretrain`, for a processor."""
    choice = {
        "steps": n_steps, "device": "cpu", "precision": "fp32", "attention": "bmm",
        "float32_matmul_precision": "highest", "n_threads": 1, "evaluate_every": n_steps,
        "checkpoint_every": n_steps, "sample_every": n_steps,
    }  # fmt: skip
    config = PretrainConfig(steps=n_steps, batch_size=BATCH, **fields)
    return settle(config, choice, context_length=CONTEXT, seed=seed)


def model_config() -> ModelConfig:
    return build("llama", vocab_size=256, n_layers=4, d_model=64, context_length=CONTEXT)


def corpus() -> tuple[Tensor, Tensor]:
    """Bytes to learn from and bytes held out, of whole files."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    parts = [
        b"\n".join(file.read_bytes() for n, file in enumerate(files) if (n % 10 == 0) == is_out)
        for is_out in (False, True)
    ]
    trained, held_out = (
        torch.frombuffer(bytearray(part), dtype=torch.uint8).long() for part in parts
    )
    return trained[:TRAINED_BYTES], held_out


def windows(text: Tensor, starts: Tensor) -> Batch:
    rows = text[starts[:, None] + torch.arange(CONTEXT + 1)]
    return Batch(rows[:, :-1], rows[:, 1:])


@torch.no_grad()
def held_out_loss(state: RunState, text: Tensor) -> float:
    starts = torch.linspace(0, len(text) - CONTEXT - 1, HELD_OUT_WINDOWS).long()
    batch = windows(text, starts)
    state.model.eval()
    return next_token_loss(state.model, batch, counts_of(batch)).item()


if __name__ == "__main__":
    main()
