"""Training on one GPU: model FLOPs utilisation of three sizes, beside a plain transformers loop.

python -m benchmarks.gpu_training [--shapes 124M 1.2B 8B] [--arms NAME …] [--seconds 40] [--json]

Every arm is a process of its own, one after the other, on random tokens. Ours are what `groundup
bench train` does with other options. The peer (left out where transformers is not installed) is
transformers' model in bf16 autocast with SDPA and a fused AdamW: the same sizes, batch and
micro-batches. Utilisation is told by both conventions, attention counted as causal (half the
scores) and whole, of the peak that `groundup` has for this chip in bf16. The last table says where
the time of our fastest went. `--device cpu --shapes tiny` shows that all of it runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import importlib.util
import json
import platform
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from groundup.architecture.counts import parameters, training_flops_per_token
from groundup.architecture.families import build
from groundup.errors import GroundupError
from groundup.hardware import available_cores
from groundup.plan.hardware import find_chip
from groundup.tables import Table, print_json, print_tables
from groundup.train.config import PretrainConfig
from groundup.train.resources import peak_memory_bytes
from groundup.train.throughput import RawTokens, bench_settings, measure_training

WARMUP_STEPS = 2
N_TOKENS = 4_000_000
SHAPES: dict[str, dict[str, Any]] = {
    "124M": {"family": "gpt2", "layers": 12, "dim": 768, "heads": 12, "ctx": 1024,
             "vocab": 50304, "batch": 64, "micro-batch": 32},
    "1.2B": {"family": "llama", "layers": 20, "dim": 2048, "heads": 16, "ctx": 2048,
             "vocab": 50304, "batch": 32, "micro-batch": 8},
    "8B": {"family": "llama", "layers": 36, "dim": 4096, "heads": 32, "ctx": 8192,
           "vocab": 50304, "batch": 4, "micro-batch": 1},
    "tiny": {"family": "llama", "layers": 2, "dim": 64, "heads": 4, "ctx": 64,
             "vocab": 512, "batch": 4, "micro-batch": 2},
}  # fmt: skip
AIMS = {"124M": 0.42, "1.2B": 0.50, "8B": 0.47}
RECOMPUTED = ("8B",)  # shapes whose activations are computed again, with moments in bf16
ARMS: dict[str, dict[str, Any]] = {
    "eager": {},
    "compiled": {"compile": True},
    "CUDA graphs": {"compile": "cuda_graphs"},
    "compiled, Muon": {"compile": True, "optimizer": "muon"},
    "compiled, fp8": {"compile": True, "precision": "fp8"},
}
PEER = "transformers"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["124M", "1.2B", "8B"])
    parser.add_argument("--arms", nargs="+", choices=[*ARMS, PEER], default=[*ARMS, PEER])
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # arm, shape, tokens: here
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.one:
        arm, shape, tokens = given.one
        train = peer if arm == PEER else partial(ours, ARMS.get(arm, {}))
        print(json.dumps(train(shape, tokens, given.seconds, given.device)))
        return
    if given.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no GPU here: --device cpu --shapes tiny shows that the benchmark runs")
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for shape in given.shapes:
            tokens = Path(folder) / f"{shape}.bin"
            drawn = np.random.default_rng(0).integers(0, SHAPES[shape]["vocab"], N_TOKENS)
            drawn.astype("<u2").tofile(tokens)
            results[shape] = {}
            for arm in given.arms:
                found = one_arm(arm, shape, tokens, given)
                results[shape][arm] = {**found, **utilisation(shape, found, given.device)}
                print(f"{shape}, {arm}: {cells(results[shape][arm])}", file=sys.stderr, flush=True)
    record = {
        "device": torch.cuda.get_device_name() if given.device == "cuda" else "cpu",
        "versions": versions(),
        "seconds": given.seconds,
        "shapes": results,
    }
    if given.json:
        print_json(record)
    else:
        print_tables(tables(record))


def one_arm(arm: str, shape: str, tokens: Path, given: argparse.Namespace) -> dict[str, Any]:
    """One arm once, in a process of its own; ``error`` where it cannot be."""
    if arm == PEER and importlib.util.find_spec("transformers") is None:
        return {"error": "transformers is not installed"}
    command = [sys.executable, "-m", "benchmarks.gpu_training", "--one", arm, shape, str(tokens),
               "--device", given.device, "--seconds", str(given.seconds)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        errors = [line for line in said if "rror" in line] or said
        return {"error": errors[-1] if errors else f"exit code {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def ours(options: dict[str, Any], shape: str, tokens: str, seconds: float, device: str) -> Any:
    """`groundup bench train` of the shape."""
    model, size = model_of(shape), SHAPES[shape]
    keys = {"precision": "bf16", "optimizer": "adamw", **options}
    if shape in RECOMPUTED:
        keys["recompute"] = "full"
        keys |= {"optimizer_dtype": "bf16"} if keys["optimizer"] == "adamw" else {}
    config = PretrainConfig.model_validate(
        {"batch_size": size["batch"], "micro_batch_size": size["micro-batch"], "device": device,
         **keys}
    )  # fmt: skip
    settings = bench_settings(config, model, available_cores())
    found = measure_training(
        RawTokens(Path(tokens), size["vocab"], size["ctx"]), model, settings, seconds
    )
    return dataclasses.asdict(found)


def peer(shape: str, tokens: str, seconds: float, device: str) -> dict[str, Any]:
    """transformers' model of the same sizes in a plain loop: AdamW, clipping, the loss read."""
    model, size = peer_model(shape).to(device), SHAPES[shape]
    if shape in RECOMPUTED:
        model.gradient_checkpointing_enable()
    optimizer = torch.optim.AdamW(
        model.parameters(), 1e-3, (0.8, 0.95), weight_decay=0.0, fused=True
    )
    read, random = np.memmap(tokens, dtype="<u2", mode="r"), np.random.default_rng(0)
    n_micro = size["batch"] // size["micro-batch"]
    steps, began = 0, 0.0
    while True:
        for _ in range(n_micro):
            starts = random.integers(0, len(read) - size["ctx"] - 1, size["micro-batch"])
            rows = np.stack([read[start : start + size["ctx"] + 1] for start in starts])
            batch = torch.from_numpy(rows.astype(np.int64)).to(device)
            with torch.autocast(device, dtype=torch.bfloat16):
                logits = model(batch[:, :-1]).logits
                loss = F.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())
            (loss / n_micro).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        told = loss.item()  # waits for the device
        steps += 1
        if steps == WARMUP_STEPS:
            began = time.perf_counter()
        elif steps > WARMUP_STEPS and (passed := time.perf_counter() - began) >= seconds:
            return {
                "tokens": (steps - WARMUP_STEPS) * size["batch"] * size["ctx"],
                "seconds": passed,
                "loss": told,
                "peak_memory_bytes": peak_memory_bytes(device),
            }


def peer_model(shape: str) -> Any:
    """GPT-2's or LLaMA's class with random weights of the shape."""
    import transformers

    size = SHAPES[shape]
    torch.manual_seed(0)
    if size["family"] == "gpt2":
        config: Any = transformers.GPT2Config(
            vocab_size=size["vocab"], n_positions=size["ctx"], n_embd=size["dim"],
            n_layer=size["layers"], n_head=size["heads"], resid_pdrop=0.0, embd_pdrop=0.0,
            attn_pdrop=0.0, use_cache=False, bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
        return transformers.GPT2LMHeadModel(config)
    config = transformers.LlamaConfig(
        vocab_size=size["vocab"], hidden_size=size["dim"], num_hidden_layers=size["layers"],
        num_attention_heads=size["heads"], max_position_embeddings=size["ctx"],
        intermediate_size=model_of(shape).feed_forward.d_ff, use_cache=False,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


def model_of(shape: str) -> Any:
    size = SHAPES[shape]
    return build(
        size["family"],
        vocab_size=size["vocab"],
        n_layers=size["layers"],
        d_model=size["dim"],
        n_heads=size["heads"],
        context_length=size["ctx"],
    )


def utilisation(shape: str, found: dict[str, Any], device: str) -> dict[str, float]:
    """Shares of the chip's bf16 peak, by both conventions; nothing for a chip that is not known."""
    if "error" in found or device == "cpu":
        return {}
    try:
        peak = find_chip(torch.cuda.get_device_name()).peak_flops["bf16"]
    except (GroundupError, KeyError):
        return {}
    rate, model = found["tokens"] / found["seconds"], model_of(shape)
    return {
        name: rate * training_flops_per_token(model, SHAPES[shape]["ctx"], causal=causal) / peak
        for name, causal in (("mfu_causal", True), ("mfu_whole", False))
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for package in ("transformers", "triton"):
        if importlib.util.find_spec(package):
            found[package] = importlib.metadata.version(package)
    return found


def tables(record: dict[str, Any]) -> list[Table]:
    found = []
    for shape, arms in record["shapes"].items():
        aim = f", aim {AIMS[shape]:.0%}" if shape in AIMS else ""
        found.append(
            Table(
                f"{shape} ({parameters(model_of(shape)).total / 1e6:,.0f}M parameters) on "
                f"{record['device']}{aim}",
                ("arm", "tokens per second", "MFU, causal", "MFU, whole", "peak GiB", "loss"),
                [(arm, *cells(one)) for arm, one in arms.items()],
            )
        )
        parts = best_parts(arms)
        if parts:
            total = sum(parts.values())
            rows = [(part, f"{taken / total:.1%}") for part, taken in parts.items()]
            found.append(
                Table(f"{shape}: where the time of our fastest went", ("part", "share"), rows)
            )
    found.append(Table("Versions", ("package", "version"), list(record["versions"].items())))
    return found


def cells(one: dict[str, Any]) -> tuple[str, ...]:
    """What a row of the table has behind the arm."""
    if "error" in one:
        return (one["error"], "", "", "", "")
    shares = (f"{one[key]:.1%}" if key in one else "-" for key in ("mfu_causal", "mfu_whole"))
    rate, memory = one["tokens"] / one["seconds"], one["peak_memory_bytes"] / 2**30
    return (f"{rate:,.0f}", *shares, f"{memory:.1f}", f"{one['loss']:.3f}")


def best_parts(arms: dict[str, Any]) -> dict[str, float]:
    """Seconds by part of the fastest arm of ours."""
    ours = [one for arm, one in arms.items() if arm != PEER and "error" not in one]
    if not ours:
        return {}
    fastest = max(ours, key=lambda one: one["tokens"] / one["seconds"])
    return dict(fastest.get("part_seconds", {}))


if __name__ == "__main__":
    main()
