"""Training throughput beside peers: the same GPT-2-shaped model, tokens, threads and precision.

python benchmarks/train_vs_peers.py [--peers-dir DIR] [--shapes small big] [--rounds 5]
    [--seconds 20] [--threads 1] [--dtype auto|bf16|fp32] [--only groundup trainer …] [--json]

Every arm is a process of its own, one after the other, and the next round begins one arm later. The
peers live in virtual environments under --peers-dir, made at the first call with the versions below
(--pip-args are handed to pip, for example an index of CPU builds). What counts is tokens per
CPU-second: with one thread it hardly depends on what else the machine does. Ratios are of the arms
of one round; median and range are over rounds. The ceiling is the best rate of this model's own
matrix products in the same precision, measured in every round; a model's arithmetic is counted with
causal attention.

    groundup            groundup bench train (AdamW, as the peers)
    trainer             transformers' Trainer on GPT2LMHeadModel
    hf-loop             GPT2LMHeadModel in a plain loop, fused AdamW
    litgpt-loop         litgpt's GPT and loss in a plain loop, fused AdamW
    groundup-defaults   batch 16 and Muon, the precision that a probe chooses
    trainer-defaults    Trainer with its own batch of 8 and float32
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

import numpy as np
import torch

from groundup.architecture.counts import training_flops_per_token
from groundup.architecture.families import build
from groundup.hardware import processor_name
from groundup.tables import Table, print_tables
from groundup.train.precision import choose_arithmetic

SHAPES: dict[str, dict[str, int]] = {
    "small": {"layers": 6, "dim": 384, "heads": 6, "ctx": 256, "vocab": 4096, "batch": 16},
    "big": {"layers": 12, "dim": 768, "heads": 12, "ctx": 512, "vocab": 4096, "batch": 4},
}
TORCH = f"torch=={torch.__version__}"
ENVIRONMENTS = {
    "hf": (TORCH, "transformers==5.23.0", "accelerate==1.15.0", "numpy"),
    "litgpt": (TORCH, "litgpt==0.5.13", "numpy"),
}
LIVES_IN = {
    "trainer": "hf", "trainer-defaults": "hf", "hf-loop": "hf", "litgpt-loop": "litgpt",
}  # fmt: skip
OURS = {"groundup": ("--optimizer", "adamw"), "groundup-defaults": ("--optimizer", "muon")}
# Each with the arm it is divided by.
RATIOS = (
    ("groundup", "trainer"), ("groundup", "hf-loop"), ("groundup", "litgpt-loop"),
    ("groundup-defaults", "trainer-defaults"),
)  # fmt: skip
N_TOKENS = 2_000_000
PEERS = Path(__file__).with_name("train_peers.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers-dir", type=Path, default=Path("peers"))
    parser.add_argument("--pip-args", default="")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=["auto", "bf16", "fp32"], default="auto")
    parser.add_argument("--only", nargs="+", choices=[*OURS, *LIVES_IN])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    arms = given.only or [*OURS, *LIVES_IN]
    for name in {LIVES_IN[arm] for arm in arms if arm in LIVES_IN}:
        make_environment(given.peers_dir / name, name, shlex.split(given.pip_args))
    torch.set_num_threads(given.threads)
    chosen = choose_arithmetic("cpu", "auto").precision
    dtype = chosen if given.dtype == "auto" else given.dtype
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        tokens = Path(folder) / "tokens.bin"
        for shape in given.shapes:
            size = SHAPES[shape]
            drawn = np.random.default_rng(0).integers(0, size["vocab"], N_TOKENS)
            drawn.astype("<u2").tofile(tokens)
            asked = {**size, "tokens": str(tokens), "dtype": dtype, "threads": given.threads,
                     "seconds": given.seconds}  # fmt: skip
            rounds = []
            for number in range(given.rounds):
                turn = number % len(arms)
                found = {arm: measured(arm, asked, chosen, given.peers_dir)
                         for arm in (*arms[turn:], *arms[:turn])}  # fmt: skip
                rounds.append({"arms": found, "ceiling": gemm_ceiling(size, dtype)})
                told = {arm: round(one["tokens"] / one["cpu"]) for arm, one in found.items()}
                print(f"{shape} round {number + 1}: {told}", file=sys.stderr, flush=True)
            results[shape] = summary(size, rounds, arms)
    record = {
        "dtype": dtype,
        "threads": given.threads,
        "rounds": given.rounds,
        "seconds": given.seconds,
        "processor": processor_name(),
        "bf16_instructions": bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()),
        "load_average": os.getloadavg()[0],
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "shapes": results,
    }
    if given.json:
        print(json.dumps(record))
    else:
        print_tables(tables(record))


def make_environment(folder: Path, name: str, pip_args: list[str]) -> None:
    """A virtual environment with the pinned packages, unless it is there already."""
    ready = folder / "ready.json"
    pins = list(ENVIRONMENTS[name])
    if ready.is_file() and json.loads(ready.read_text()) == pins:
        return
    print(f"making {folder} with {', '.join(pins)}", file=sys.stderr, flush=True)
    venv.create(folder, with_pip=True, clear=folder.exists())
    subprocess.run([folder / "bin" / "pip", "install", "-q", *pip_args, *pins], check=True)
    ready.write_text(json.dumps(pins))


def measured(arm: str, asked: dict[str, Any], chosen: str, peers: Path) -> dict[str, Any]:
    """One arm once: its last line."""
    if arm in OURS:
        dtype = chosen if arm.endswith("defaults") else asked["dtype"]
        options = {name: asked[name] for name in ("tokens", *SHAPES["small"], "seconds")}
        command = [sys.executable, "-m", "groundup", "bench", "train", "--json", *OURS[arm],
                   "--threads", str(asked["threads"]), "--dtype", dtype]  # fmt: skip
        for name, value in options.items():
            command += [f"--{name}", str(value)]
    else:
        python = (peers / LIVES_IN[arm]).absolute() / "bin" / "python"
        command = [str(python), str(PEERS), arm, json.dumps(asked)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(asked["threads"])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{arm} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def gemm_ceiling(size: dict[str, int], dtype: str) -> float:
    """FLOP per CPU-second of the best product among those of the model's feed-forward network."""
    kind = torch.bfloat16 if dtype == "bf16" else torch.float32
    rows, inner, columns = size["batch"] * size["ctx"], size["dim"], 4 * size["dim"]
    best = 0.0
    for precision in ("highest", "medium"):
        torch.set_float32_matmul_precision(precision)
        for m, k, n in ((rows, inner, columns), (rows, columns, inner), (columns, rows, inner)):
            left, right = torch.randn(m, k).to(kind), torch.randn(k, n).to(kind)
            for _ in range(5):
                begin = time.process_time()
                left @ right
                best = max(best, 2 * m * k * n / (time.process_time() - begin))
    return best


def summary(size: dict[str, int], rounds: list[dict[str, Any]], arms: list[str]) -> dict[str, Any]:
    """Medians, ratios and the share of the ceiling of one shape."""
    model = build("gpt2", vocab_size=size["vocab"], n_layers=size["layers"], d_model=size["dim"],
                  n_heads=size["heads"], context_length=size["ctx"])  # fmt: skip
    flops = training_flops_per_token(model, size["ctx"], causal=True)
    rates = {
        arm: [one["arms"][arm]["tokens"] / one["arms"][arm]["cpu"] for one in rounds]
        for arm in arms
    }
    wall = {
        arm: [one["arms"][arm]["tokens"] / one["arms"][arm]["seconds"] for one in rounds]
        for arm in arms
    }
    ceilings = [one["ceiling"] for one in rounds]
    versions: dict[str, str] = {}
    for one in rounds:
        for arm in one["arms"].values():
            versions.update(arm.get("versions", {}))
    return {
        "flops_per_token": flops,
        "gemm_flops_per_cpu_second": ceilings,
        "tokens_per_cpu_second": rates,
        "tokens_per_second": wall,
        "share_of_ceiling": {
            arm: statistics.median(
                rate * flops / ceiling for rate, ceiling in zip(rates[arm], ceilings, strict=True)
            )
            for arm in arms
        },
        "ratios": {
            f"{ours} / {theirs}": spread(
                [a / b for a, b in zip(rates[ours], rates[theirs], strict=True)]
            )
            for ours, theirs in RATIOS
            if ours in rates and theirs in rates
        },
        "versions": versions,
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def tables(record: dict[str, Any]) -> list[Table]:
    found = []
    for shape, one in record["shapes"].items():
        found.append(
            Table(
                f"{shape}, {record['dtype']}, {record['threads']} threads, "
                f"{record['rounds']} rounds of {record['seconds']:g} s, {record['processor']}",
                ("arm", "tokens per CPU-second", "tokens per second", "share of the ceiling"),
                [
                    (
                        arm,
                        f"{statistics.median(rates):,.0f}",
                        f"{statistics.median(one['tokens_per_second'][arm]):,.0f}",
                        f"{one['share_of_ceiling'][arm]:.0%}",
                    )
                    for arm, rates in one["tokens_per_cpu_second"].items()
                ],
            )
        )
        found.append(
            Table(
                f"{shape}: ratios of tokens per CPU-second",
                ("ratio", "median", "least", "most"),
                [
                    (name, *(f"{ratio[key]:.2f}" for key in ("median", "least", "most")))
                    for name, ratio in one["ratios"].items()
                ],
            )
        )
        versions = {**record["versions"], **one["versions"]}
        found.append(Table("Versions", ("package", "version"), list(versions.items())))
    return found


if __name__ == "__main__":
    main()
