"""A machine whose times and memory follow known formulas, and runs that follow a known law."""

from __future__ import annotations

import math
import random

from groundup.architecture.counts import parameters, training_flops_per_token
from groundup.architecture.families import build
from groundup.plan.local.candidates import Corpus, Job
from groundup.plan.local.law import Coefficients, Run
from groundup.plan.local.machine import Machine, MeasuredStep

JOB = Job(family="nanochat", vocab_size=4096, context_length=256, batch_size=16)
STDLIB = Corpus(n_tokens=3_330_000, n_bytes=9_720_000)  # 2.92 bytes a token
MEASURED = ((2, 128), (3, 192), (4, 256), (6, 256), (6, 384))
FIXED_SECONDS, LAYER_SECONDS, FLOPS_PER_SECOND = 0.02, 0.004, 4e11

TRUTH = Coefficients(0.45, 18.0, 0.3, 60.0, 0.3, 5e4)
SIZES_AND_TOKENS = [
    (4e5, 5e5), (4e5, 2e6), (4e5, 8e6), (1.3e6, 2e5), (1.3e6, 1e6), (1.3e6, 5e6),
    (3.1e6, 1e5), (3.1e6, 5e5), (3.1e6, 4e6), (1.06e7, 3e5), (1.06e7, 1e6), (1.06e7, 3e6),
]  # fmt: skip


def step_seconds(n_layers: int, d_model: int) -> float:
    config = build(
        "nanochat", vocab_size=4096, n_layers=n_layers, d_model=d_model, context_length=256
    )
    flops = training_flops_per_token(config, 256) * 4096
    return FIXED_SECONDS + LAYER_SECONDS * n_layers + flops / FLOPS_PER_SECOND


def measured(n_layers: int, d_model: int) -> MeasuredStep:
    config = build(
        "nanochat", vocab_size=4096, n_layers=n_layers, d_model=d_model, context_length=256
    )
    n = parameters(config).total
    seconds = step_seconds(n_layers, d_model)
    return MeasuredStep(
        n_layers=n_layers,
        d_model=d_model,
        parameters=n,
        flops_per_token=training_flops_per_token(config, 256),
        tokens_per_step=4096,
        seconds_per_step=seconds,
        seconds_per_forward=seconds / 4,
        peak_memory_bytes=400_000_000 + 16 * n + 60_000 * n_layers * d_model,
        seconds_per_checkpoint=0.01 + n * 1e-8,
        seconds_per_sample=0.33,
    )


def machine(**changes: object) -> Machine:
    values: dict[str, object] = {
        "device": "cpu",
        "device_name": "some CPU",
        "n_threads": 2,
        "precision": "bf16",
        "float32_matmul_precision": "medium",
        "attention": "bmm",
        "matmul_flops_per_second": 1e12,
        "memory_bytes": 8 * 2**30,
        "base_memory_bytes": 300_000_000,
        "steps": tuple(measured(*size) for size in MEASURED),
    }
    return Machine(**{**values, **changes})  # type: ignore[arg-type]


def runs(noise: float = 0.0, seed: int = 0, truth: Coefficients = TRUTH) -> list[Run]:
    draw = random.Random(seed)
    return [
        Run(n, d, truth.loss(n, d) * math.exp(draw.gauss(0, noise)), corpus="synthetic")
        for n, d in SIZES_AND_TOKENS
    ]
