"""What each lever of a training step on a CPU is worth: the step as it is, and without each.

python -m benchmarks.levers [--shapes small big] [--rounds 3] [--seconds 15] [--threads 1]
    [--dtype fp32|bf16] [--arms NAME …] [--json]

Every arm is a process of its own, one after the other, and the next round begins one arm later. An
arm trains through `groundup bench train`'s own function with one thing exchanged. A ratio is the
arm's tokens per CPU-second over those of the step as it is, of the same round: below 1 the lever
pays. Median and range are over rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.train_vs_peers import N_TOKENS, SHAPES

from groundup.architecture.config import ModelConfig
from groundup.architecture.families import build
from groundup.hardware import processor_name
from groundup.tables import Table, print_json, print_tables
from groundup.train import objectives
from groundup.train.config import PretrainConfig, Settings
from groundup.train.prefetch import Prefetch, Prepared, Wanted
from groundup.train.throughput import RawTokens, bench_settings, measure_training

Change = Callable[[Settings], Settings]


def attention(name: str) -> Change:
    return lambda settings: replace(settings, attention=name)


def products(precision: str) -> Change:
    return lambda settings: replace(settings, float32_matmul_precision=precision)


def whole_logits(settings: Settings) -> Settings:
    """All logits at once, lifted to float32, and their gradients by autograd."""

    def loss(model: Any, hidden: Any, targets: Any, terms: Any) -> Any:
        return F.cross_entropy(model.logits(hidden).float(), targets, reduction="sum")

    objectives.summed_loss = loss  # type: ignore[assignment]
    return settings


def autograd_in_chunks(settings: Settings) -> Settings:
    """Logits in chunks, but their gradient by autograd instead of in closed form."""

    def loss_and_gradient(model: Any, logits: Any, targets: Any, terms: Any) -> Any:
        with torch.enable_grad():
            kept = logits.detach().requires_grad_()
            loss = objectives.chunk_loss(model, kept, targets, terms)
        return loss.detach(), torch.autograd.grad(loss, kept)[0]

    objectives.loss_and_gradient = loss_and_gradient
    return settings


def adamw(**how: bool) -> Change:
    """torch's AdamW by another of its implementations."""

    def change(settings: Settings) -> Settings:
        made = torch.optim.AdamW

        def other(*given: Any, **named: Any) -> Any:
            return made(*given, **{**named, "fused": False, **how})

        torch.optim.AdamW = other  # type: ignore[misc,assignment]
        return settings

    return change


def batches_in_turn(settings: Settings) -> Settings:
    """Every batch is made by the step that learns from it."""

    def get(self: Prefetch, wanted: Wanted, following: Wanted | None = None) -> Prepared:
        return self._made(wanted)

    Prefetch.get = get  # type: ignore[method-assign]
    return settings


ARMS: dict[str, Change] = {
    "as it is": lambda settings: settings,
    "attention by sdpa": attention("sdpa"),
    "attention by bmm": attention("bmm"),
    "products: highest": products("highest"),
    "products: medium": products("medium"),
    "all logits at once, in float32": whole_logits,
    "logits' gradient by autograd": autograd_in_chunks,
    "AdamW, foreach": adamw(foreach=True),
    "AdamW, a loop": adamw(foreach=False),
    "no batch ahead": batches_in_turn,
    "blocks compiled": lambda settings: replace(settings, compile=True),
    "threads bound to cores": lambda settings: settings,
}
ENVIRONMENT = {"threads bound to cores": {"OMP_PROC_BIND": "close", "OMP_PLACES": "cores"}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["small"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=["bf16", "fp32"], default="fp32")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--one", help=argparse.SUPPRESS)  # an arm, in this process
    parser.add_argument("--tokens", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--chosen", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(one_arm(given.one, given)))
        return
    arms = list(dict.fromkeys(["as it is", *given.arms]))
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        tokens = Path(folder) / "tokens.bin"
        for shape in given.shapes:
            drawn = np.random.default_rng(0).integers(0, SHAPES[shape]["vocab"], N_TOKENS)
            drawn.astype("<u2").tofile(tokens)
            settings = settings_of(shape, given)  # chosen once: of two alike, chance decides
            given.chosen = (settings.attention, settings.float32_matmul_precision)
            rounds = []
            for number in range(given.rounds):
                turn = number % len(arms)
                order = (*arms[turn:], *arms[:turn])
                rounds.append({arm: in_a_process(arm, shape, tokens, given) for arm in order})
                told = {arm: round(one["rate"]) for arm, one in rounds[-1].items()}
                print(f"{shape} round {number + 1}: {told}", file=sys.stderr, flush=True)
            results[shape] = summary(rounds, arms)
    record = {
        "dtype": given.dtype, "threads": given.threads, "rounds": given.rounds,
        "seconds": given.seconds, "processor": processor_name(), "torch": torch.__version__,
        "load_average": os.getloadavg()[0], "shapes": results,
    }  # fmt: skip
    if given.json:
        print_json(record)
    else:
        print_tables(tables(record))


def in_a_process(arm: str, shape: str, tokens: Path, given: argparse.Namespace) -> dict[str, Any]:
    """One arm once, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.levers", "--one", arm, "--shapes", shape,
               "--tokens", tokens, "--dtype", given.dtype, "--threads", given.threads,
               "--seconds", given.seconds, "--chosen", *given.chosen]  # fmt: skip
    threads = {"OMP_NUM_THREADS": str(given.threads), **ENVIRONMENT.get(arm, {})}
    done = subprocess.run(
        list(map(str, command)), env={**os.environ, **threads}, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{arm} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def one_arm(arm: str, given: argparse.Namespace) -> dict[str, Any]:
    """Train with what the arm exchanges."""
    shape = given.shapes[0]
    attention, products = given.chosen
    settings = replace(
        settings_of(shape, given), attention=attention, float32_matmul_precision=products
    )
    settings = ARMS[arm](settings)
    torch.set_float32_matmul_precision(settings.float32_matmul_precision)
    tokens = RawTokens(given.tokens, SHAPES[shape]["vocab"], SHAPES[shape]["ctx"])
    found = measure_training(tokens, model_of(shape), settings, given.seconds)
    return {
        "rate": found.tokens / found.cpu_seconds,
        "per_second": found.tokens / found.seconds,
        "loss": found.loss,
        "attention": settings.attention,
        "float32_matmul_precision": settings.float32_matmul_precision,
    }


def model_of(shape: str) -> ModelConfig:
    size = SHAPES[shape]
    return build("gpt2", vocab_size=size["vocab"], n_layers=size["layers"], d_model=size["dim"],
                 n_heads=size["heads"], context_length=size["ctx"])  # fmt: skip


def settings_of(shape: str, given: argparse.Namespace) -> Settings:
    """As `groundup bench train` has them."""
    config = PretrainConfig.model_validate(
        {"batch_size": SHAPES[shape]["batch"], "precision": given.dtype, "optimizer": "adamw",
         "device": "cpu"}
    )  # fmt: skip
    return bench_settings(config, model_of(shape), given.threads)


def summary(rounds: Sequence[dict[str, Any]], arms: Sequence[str]) -> dict[str, Any]:
    """Of each arm: median rate, its ratios to the step as it is, what was chosen in it."""
    found = {}
    for arm in arms:
        ratios = [one[arm]["rate"] / one["as it is"]["rate"] for one in rounds]
        found[arm] = {
            "tokens_per_cpu_second": statistics.median(one[arm]["rate"] for one in rounds),
            "tokens_per_second": statistics.median(one[arm]["per_second"] for one in rounds),
            "ratio": statistics.median(ratios),
            "least": min(ratios),
            "most": max(ratios),
            "attention": sorted({one[arm]["attention"] for one in rounds}),
            "products": sorted({one[arm]["float32_matmul_precision"] for one in rounds}),
        }
    return found


def tables(record: dict[str, Any]) -> list[Table]:
    return [
        Table(
            f"{shape}, {record['dtype']}, {record['threads']} threads, {record['rounds']} rounds "
            f"of {record['seconds']:g} s, {record['processor']}",
            (
                "arm",
                "tokens per CPU-second",
                "tokens per second",
                "ratio",
                "least",
                "most",
                "attention",
                "products",
            ),
            [
                (
                    arm,
                    f"{one['tokens_per_cpu_second']:,.0f}",
                    f"{one['tokens_per_second']:,.0f}",
                    *(f"{one[key]:.3f}" for key in ("ratio", "least", "most")),
                    ", ".join(one["attention"]),
                    ", ".join(one["products"]),
                )
                for arm, one in found.items()
            ],
        )
        for shape, found in record["shapes"].items()
    ]


if __name__ == "__main__":
    main()
