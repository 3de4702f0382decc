"""Every kind of parallelism against one process: the same losses, the same gradient norms?

Tiny models train some steps in one process and then in every layout (up to four processes over
gloo, or GPUs over NCCL). The table has, for each layout and model, the largest relative difference
of a loss and of a gradient norm, the share of the weights that a process holds, and what a step
costs: CPU seconds of all processes against those of one (at this size mostly what it takes to send,
wait and start kernels; on a busy machine no more than a hint).

    python benchmarks/layout_matrix.py [--steps 5] [--layout NAME]... [--model NAME]...
                                       [--plot FILE.svg] [--device cpu]

The last line is JSON; the exit code is 1 where a difference is above 5e-6 or ranks disagree.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

TOLERANCE = 5e-6
CONTEXT, VOCAB_SIZE, ROWS = 32, 64, 8
SIZES = {"n_layers": 4, "d_model": 32, "n_heads": 4, "context_length": CONTEXT}

# Processes, the section pretrain.layout, and what else of pretrain is set.
LAYOUTS: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {
    "1 × 8 rows": (1, {}, {}),
    "2 × 4 rows": (1, {}, {"micro_batch_size": 4}),
    "8 × 1 row": (1, {}, {"micro_batch_size": 1}),
    "3 + 3 + 2 rows": (1, {}, {"micro_batch_size": 3}),
    "DDP, 2": (2, {"dp_replicate": 2}, {}),
    "DDP, 4": (4, {"dp_replicate": 4}, {}),
    "ZeRO-1, 2": (2, {"zero": 1}, {"micro_batch_size": 2}),
    "ZeRO-2, 2": (2, {"zero": 2}, {"micro_batch_size": 2}),
    "ZeRO-3, 2": (2, {}, {}),
    "ZeRO-3, 3 (ragged)": (3, {}, {"micro_batch_size": 2}),
    "ZeRO-3, 4": (4, {}, {}),
    "HSDP, 2 × 2": (4, {"dp_replicate": 2}, {}),
    "TP, 2": (2, {"tp": 2}, {}),
    "TP, 4": (4, {"tp": 4}, {}),
    "TP with SP, 2": (2, {"tp": 2, "sp": True}, {}),
    "TP with SP, 4": (4, {"tp": 4, "sp": True}, {}),
    "CP, 2": (2, {"cp": 2}, {}),
    "CP, 4": (4, {"cp": 4}, {}),
    "PP, 2, one micro-batch": (2, {"pp": 2, "schedule": "gpipe"}, {}),
    "PP, 2, GPipe": (2, {"pp": 2, "schedule": "gpipe"}, {"micro_batch_size": 2}),
    "PP, 2, 1F1B": (2, {"pp": 2}, {"micro_batch_size": 2}),
    "PP, 2, 1F1B (ragged)": (2, {"pp": 2}, {"micro_batch_size": 3}),
    "PP, 4, 1F1B": (4, {"pp": 4}, {"micro_batch_size": 2}),
    "PP, 2 × 2, interleaved": (
        2, {"pp": 2, "vpp": 2, "schedule": "interleaved"}, {"micro_batch_size": 2},
    ),
    "PP, 2, zero bubble": (2, {"pp": 2, "schedule": "zero_bubble"}, {"micro_batch_size": 2}),
    "PP, 2 × 2, zero bubble": (
        2, {"pp": 2, "vpp": 2, "schedule": "zero_bubble"}, {"micro_batch_size": 2},
    ),
    "ZeRO-3 × TP": (4, {"tp": 2}, {}),
    "ZeRO-3 × TP with SP": (4, {"tp": 2, "sp": True}, {}),
    "DDP × TP": (4, {"dp_replicate": 2, "tp": 2}, {}),
    "ZeRO-3 × CP": (4, {"cp": 2}, {}),
    "CP × TP with SP": (4, {"cp": 2, "tp": 2, "sp": True}, {}),
    "PP × ZeRO-3": (4, {"pp": 2}, {"micro_batch_size": 2}),
    "PP × DDP": (4, {"pp": 2, "dp_replicate": 2}, {"micro_batch_size": 2}),
    "PP × TP with SP": (4, {"pp": 2, "tp": 2, "sp": True}, {"micro_batch_size": 2}),
    "PP × CP": (4, {"pp": 2, "cp": 2}, {"micro_batch_size": 2}),
    "full recompute": (1, {}, {"recompute": "full"}),
    "selective recompute": (1, {}, {"recompute": "selective"}),
    "ZeRO-3 × TP, full recompute": (4, {"tp": 2}, {"recompute": "full"}),
}  # fmt: skip

# Family, what else its model is told, objective, optimizer.
MODELS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "nanochat": ("nanochat", {}, "causal", "muon"),
    "gpt2": ("gpt2", {}, "causal", "adamw"),
    "llama": ("llama", {"n_heads": 8, "n_kv_heads": 4}, "causal", "adamw"),
    "bert": ("bert", {}, "masked", "adamw"),
}


def main() -> int:
    """Run every layout, print the table; 0 if all agree with one process."""
    parser = argparse.ArgumentParser(description="layouts against one process")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--layout", action="append", choices=[*LAYOUTS], metavar="NAME")
    parser.add_argument("--model", action="append", choices=[*MODELS], metavar="NAME")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--worker", nargs=2, metavar=("LAYOUT", "FOLDER"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    models = chosen.model or [*MODELS]
    if chosen.worker is not None:
        layout, folder = chosen.worker
        found = {name: walk(name, layout, chosen.steps, chosen.device) for name in models}
        rank = int(os.environ.get("RANK", "0"))
        (Path(folder) / f"{rank}.json").write_text(json.dumps(found))
        return 0

    layouts = chosen.layout or [*LAYOUTS]
    first = next(iter(LAYOUTS))
    print(HEAD, flush=True)
    ran, rows = {}, []
    for layout in dict.fromkeys((first, *layouts)):
        ran[layout] = run(layout, models, chosen.steps, chosen.device)
        new = [compared(name, layout, ran[layout], ran[first]) for name in models]
        print("\n".join(map(line, new)), flush=True)
        rows += new
    if chosen.plot is not None:
        chosen.plot.write_text(plot(rows, models[0]))
    worst = max(max(row["loss"], row["grad_norm"]) for row in rows)
    agree = all(row["ranks_agree"] for row in rows)
    import torch

    print(json.dumps({
        "layouts": len(layouts), "models": models, "steps": chosen.steps, "worst": worst,
        "ranks_agree": agree, "torch": torch.__version__, "rows": rows,
    }))  # fmt: skip
    return int(worst > TOLERANCE or not agree)


def run(layout: str, models: Sequence[str], steps: int, device: str) -> list[dict[str, Any]]:
    """What each process of a layout found, by model."""
    size = LAYOUTS[layout][0]
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        words = [__file__, "--steps", str(steps), "--device", device]
        words += [word for name in models for word in ("--model", name)]
        words += ["--worker", layout, folder]
        start = [sys.executable]
        if size > 1:
            start += ["-m", "torch.distributed.run", f"--nproc-per-node={size}",
                      f"--master-port={port}"]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*start, *words], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{layout} failed:\n{done.stderr[-4000:]}")
        return [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in range(size)]


def walk(name: str, layout: str, steps: int, device: str) -> dict[str, Any]:
    """Train one model in this process's part of a layout."""
    import torch

    from groundup.architecture.families import build
    from groundup.architecture.trained_for import trained_for
    from groundup.train.batch import counts_of
    from groundup.train.config import CHOSEN, PretrainConfig, settle
    from groundup.train.distributed import join, leave, rows_of
    from groundup.train.noise.config import ObjectiveConfig
    from groundup.train.objective import stand_in
    from groundup.train.parallel.context import tokens_of
    from groundup.train.parallel.pieces import local_tensor
    from groundup.train.start import new_state
    from groundup.train.step import apply_gradients, gradients

    family, more, kind, optimizer = MODELS[name]
    _, parts, also = LAYOUTS[layout]
    config = PretrainConfig.model_validate({
        "optimizer": optimizer, "learning_rate": 0.02 if optimizer == "muon" else 2e-3,
        "batch_size": ROWS, "weight_decay": 0.1, "warmup_steps": 1, "layout": parts,
        "objective": {"kind": kind},
    })  # fmt: skip
    values = dict.fromkeys(CHOSEN, 1_000_000)
    choice = {
        **values,
        "steps": 1000,
        "device": device,
        "precision": "fp32",
        "float32_matmul_precision": "highest",
        "attention": "sdpa",
        "n_threads": 1,
    }
    base = settle(config, choice, context_length=CONTEXT, seed=0)
    settings = replace(base, **also)
    objective_config = ObjectiveConfig(kind=kind)
    torch.set_num_threads(1)
    ranks = join(settings)
    model = build(family, vocab_size=VOCAB_SIZE, **{**SIZES, **more})
    state = new_state(trained_for(model, kind, False), settings, ranks)
    objective = stand_in(objective_config, VOCAB_SIZE, device)
    dataset: Any = Counting()
    losses, norms = [], []
    for step in range(steps):
        if step == 1:
            began = time.process_time()  # the first step makes what the others use again
        whole = objective.batch_at(dataset, 1, state.cursor, ROWS, CONTEXT)
        mine = tokens_of(rows_of(whole, ranks), state.model.config, ranks).to(device)
        counts = counts_of(whole).to(device)
        found = gradients(state, settings, mine, counts, objective.loss, ranks)
        apply_gradients(state, settings, found)
        losses.append(found.loss.item())
        norms.append(found.norm.item())
    seconds = (time.process_time() - began) / (steps - 1)
    held = sum(local_tensor(p).numel() for p in state.model.parameters())
    digest = state.final_hash()
    leave(ranks)
    return {"losses": losses, "norms": norms, "held": held, "hash": digest, "cpu": seconds}


class Counting:
    """A noisy counting sequence; what of a `TokenDataset` an objective asks for."""

    split, folder, tokenizer_hash = "train", "memory", "0" * 64
    packing, mixture = "concat", None

    def __init__(self) -> None:
        import numpy as np

        from groundup.tokens.dataset import TokenDataset

        steps = np.random.default_rng(0).integers(1, 3, 40_000)
        self.tokens = (steps.cumsum() % VOCAB_SIZE).astype(np.uint16)
        self.n_tokens, self.vocab_size = len(self.tokens), VOCAB_SIZE
        self.token_lengths = np.ones(VOCAB_SIZE, dtype=np.int64)
        for name in ("n_windows", "windows", "windows_at"):
            setattr(self, name, getattr(TokenDataset, name).__get__(self))


def compared(
    name: str, layout: str, ranks: Sequence[Mapping[str, Any]], alone: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """One row of the table."""
    first, expected = ranks[0][name], alone[0][name]
    same = ("losses", "norms", "hash")
    return {
        "layout": layout,
        "processes": len(ranks),
        "model": name,
        "loss": difference(first["losses"], expected["losses"]),
        "grad_norm": difference(first["norms"], expected["norms"]),
        "held": max(rank[name]["held"] for rank in ranks) / expected["held"],
        "cpu": sum(rank[name]["cpu"] for rank in ranks) / expected["cpu"],
        "ranks_agree": all(rank[name][what] == first[what] for rank in ranks for what in same),
        "losses": first["losses"],
    }


def difference(found: Sequence[float], expected: Sequence[float]) -> float:
    """The largest relative one."""
    return max(abs(a - b) / abs(b) for a, b in zip(found, expected, strict=True))


HEAD = f"{'layout':30} {'processes':>9} {'model':10} {'loss':>8} {'norm':>8} {'held':>6} {'CPU':>6}"


def line(row: Mapping[str, Any]) -> str:
    """One row of the table."""
    return (
        f"{row['layout']:30} {row['processes']:9} {row['model']:10} {row['loss']:8.1e} "
        f"{row['grad_norm']:8.1e} {row['held']:6.2f} {row['cpu']:6.2f}"
        f"{'' if row['ranks_agree'] else '  RANKS DIFFER'}"
    )


def plot(rows: Sequence[Mapping[str, Any]], model: str) -> str:
    """A model's loss in every layout over the steps, and how far each is from one process: SVG.

    All curves lie on one another, so below them stands the relative difference of each from the
    first: at every step a dot a layout, in the order of the table, on a logarithmic axis.
    """
    rows = [row for row in rows if row["model"] == model]
    first, n_steps = rows[0]["losses"], len(rows[0]["losses"])
    low, high = min(first), max(first)
    room = 0.08 * (high - low)

    def x(step: float) -> float:
        return 70 + 700 * (step - 0.5) / n_steps

    def loss_y(loss: float) -> float:
        return 220 - 180 * (loss - low + room) / (high - low + 2 * room)

    def decade_y(value: float) -> float:
        return 300 + 200 * (LEAST[1] - math.log10(max(value, 10 ** LEAST[0]))) / (
            LEAST[1] - LEAST[0]
        )

    parts = [text(70, 22, f"{model}: the loss of {len(rows)} layouts, nats", 15)]
    for loss in (low, (low + high) / 2, high):
        parts += [grid(loss_y(loss)), text(62, loss_y(loss) + 4, f"{loss:.3f}", anchor="end")]
    for row in rows:
        points = [(x(k), loss_y(loss)) for k, loss in enumerate(row["losses"], 1)]
        parts.append(path(points, row, 2.5 if row is rows[0] else 1))
    parts.append(text(70, 282, "relative difference from one process", 15))
    for power in range(LEAST[0], LEAST[1] + 1):
        name = "none" if power == LEAST[0] else f"1e{power}"
        y = decade_y(10**power)
        parts += [grid(y), text(62, y + 4, name, anchor="end")]
    bound = decade_y(TOLERANCE)
    parts.append(f'<path d="M70 {bound:.1f}H770" stroke="#b3261e" stroke-dasharray="6 4"/>')
    parts.append(text(764, bound - 5, f"bound {TOLERANCE:g}", anchor="end"))
    for number, row in enumerate(rows[1:]):
        for step, (a, b) in enumerate(zip(row["losses"], first, strict=True), 1):
            across = x(step + 0.9 * ((number + 0.5) / (len(rows) - 1) - 0.5))
            parts.append(
                f'<circle cx="{across:.1f}" cy="{decade_y(abs(a - b) / abs(b)):.1f}" r="2.2" '
                f'fill="{COLOURS[kind_of(row)]}"><title>{escape(row["layout"])}</title></circle>'
            )
    for step in range(1, n_steps + 1):
        parts.append(text(x(step), 520, f"step {step}", anchor="middle"))
    for number, (kind, colour) in enumerate(COLOURS.items()):
        parts.append(f'<path d="M{70 + 118 * number} 546h18" stroke="{colour}" stroke-width="3"/>')
        parts.append(text(94 + 118 * number, 550, kind))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 566" font-family="sans-serif" '
        'font-size="12" fill="none"><rect width="800" height="566" fill="#fff"/>'
        f"{''.join(parts)}</svg>\n"
    )


LEAST = (-9, -5)  # powers of ten of the lower axis; a unit in the last place of a loss is 1e-7
COLOURS = {
    "one process": "#222222", "DDP, ZeRO": "#2a9d6f", "TP": "#e08214", "CP": "#a65fb0",
    "PP": "#3d85c6", "products": "#c0504d",
}  # fmt: skip


def kind_of(row: Mapping[str, Any]) -> str:
    """Which of `COLOURS` a layout has."""
    name = row["layout"]
    if row["processes"] == 1:
        return "one process"
    if " × " in name.partition(",")[0]:
        return "products"
    return next((kind for kind in ("TP", "CP", "PP") if name.startswith(kind)), "DDP, ZeRO")


def path(points: Sequence[tuple[float, float]], row: Mapping[str, Any], width: float) -> str:
    """A line through points, with the layout's name where the pointer rests."""
    words = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    colour = COLOURS[kind_of(row)]
    return (
        f'<path d="M{words}" stroke="{colour}" stroke-width="{width}" opacity=".75">'
        f"<title>{escape(row['layout'])}</title></path>"
    )


def grid(y: float) -> str:
    """A line across."""
    return f'<path d="M70 {y:.1f}H770" stroke="#ddd"/>'


def text(x: float, y: float, words: str, size: int = 12, anchor: str = "start") -> str:
    """Words on the picture."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="#222">'
        f"{escape(words)}</text>"
    )


if __name__ == "__main__":
    sys.exit(main())
