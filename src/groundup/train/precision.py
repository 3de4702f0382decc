"""Which arithmetic and which attention this machine is best at: a short probe of speed and error.

Decided once, stored in the machine artifact, never again on resume. bf16 autocast keeps fp32 master
weights. fp16 is never chosen on a CPU (20 times slower than bf16 where that was measured).
``float32_matmul_precision="medium"`` hands fp32 products to oneDNN, which doubles them on some
processors and would round to bf16 on others: hence the error is measured too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from groundup.model.attention import ATTENTION
from groundup.model.masks import Mask
from groundup.train.fp8 import E4M3, product, quantised, require_fp8

ROWS, INNER, COLUMNS = 2048, 256, 1024  # a product of the size a small model makes
PROBE_SECONDS = 0.5
LONGEST_KEPT = 1024  # tokens: beyond, attention that keeps its T × T probabilities always lost
# Largest error of a product that auto takes, relative to its largest number.
FP32_ERROR = 1e-5  # fp32 products are near 4e-7, bf16 ones near 4e-3
BF16_ERROR = 0.02


@dataclass(frozen=True)
class Arithmetic:
    """What the probe chose, and the rate it reached with it."""

    precision: str
    float32_matmul_precision: str
    matmul_flops_per_second: float


@contextmanager
def autocast(device: str, precision: str) -> Iterator[None]:
    """bf16 autocast, also around what is fp8; nothing for fp32."""
    with torch.autocast(device, dtype=torch.bfloat16, enabled=precision != "fp32"):
        yield


def beside_training(precision: str) -> str:
    """What a model is computed in without gradients: 8-bit products are of training alone."""
    return "bf16" if precision == "fp8" else precision


def choose_arithmetic(device: str, wanted: str) -> Arithmetic:
    """Probe matrix products; ``wanted`` is ``auto``, ``bf16``, ``fp32`` or ``fp8``.

    Exact fp32 ("highest") is always a candidate; the others are under ``auto`` if their error is
    within `FP32_ERROR` or `BF16_ERROR`, but for fp8, whose error it is to be asked for.

    Raises:
        ConfigError: fp8 on a device that has none.
    """
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(ROWS, INNER, generator=generator).to(device)
    right = torch.randn(INNER, COLUMNS, generator=generator).to(device)
    exact = left.double() @ right.double()

    def error(product: Tensor) -> float:
        return float((product.double() - exact).abs().max() / exact.abs().max())

    before = torch.get_float32_matmul_precision()
    rates: dict[tuple[str, str], float] = {}
    # What the project file writes down must not hang on a clock: only auto looks for the faster.
    for setting in ("highest", "medium") if wanted == "auto" else ("highest",):
        torch.set_float32_matmul_precision(setting)
        if setting == "highest" or error(left @ right) < FP32_ERROR:
            rates["fp32", setting] = flops_per_second(lambda: left @ right, device)
    torch.set_float32_matmul_precision(before)
    fp32 = max(rates, key=lambda key: rates[key])

    if wanted == "fp8":
        require_fp8(device)
        left8, (right8, scale) = quantised(left, E4M3), quantised(right.t(), E4M3)
        rate = flops_per_second(lambda: product(left8, (right8.t(), scale), torch.bfloat16), device)
        return Arithmetic("fp8", fp32[1], rate)
    left16, right16 = left.bfloat16(), right.bfloat16()
    bf16 = ("bf16", fp32[1])
    rates[bf16] = flops_per_second(lambda: left16 @ right16, device)
    if wanted == "auto":
        # A step is not all products and autocast casts, so a small gain would be lost again.
        gains = rates[bf16] > 1.5 * rates[fp32]
        chosen = bf16 if gains and error(left16 @ right16) < BF16_ERROR else fp32
    else:
        chosen = bf16 if wanted == "bf16" else fp32
    return Arithmetic(*chosen, rates[chosen])


def flops_per_second(product: Callable[[], Tensor], device: str) -> float:
    """The best rate of the probe's product over a few tries."""
    return 2 * ROWS * INNER * COLUMNS / best_seconds(product, device)


def choose_attention(
    device: str,
    precision: str,
    *,
    batch_size: int,
    n_heads: int,
    context_length: int,
    head_dim: int,
) -> str:
    """The implementation of attention that is fastest forward and backward at this shape."""
    if device != "cpu":
        return "sdpa"  # its fused kernels win at every length on a GPU
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    shape = (min(batch_size, 4), n_heads, context_length, head_dim)  # rows scale all alike
    q, k, v = (torch.randn(shape).to(dtype).requires_grad_() for _ in range(3))

    def seconds(name: str) -> float:
        def work() -> object:
            seen = ATTENTION[name](q, k, v, Mask(causal=True))
            return torch.autograd.grad(seen.sum(), q)

        return best_seconds(work, device)

    names = ("bmm", "sdpa") if context_length <= LONGEST_KEPT else ("sdpa",)
    return min(names, key=seconds)


def best_seconds(work: Callable[[], object], device: str) -> float:
    """The shortest of up to ten timed calls, as many as fit in `PROBE_SECONDS` (one at least).

    One thread of a CPU is timed by its own seconds: those of others do not count.
    """
    alone = device == "cpu" and torch.get_num_threads() == 1
    clock = time.thread_time if alone else time.perf_counter
    work()
    times: list[float] = []
    while not times or (len(times) < 10 and sum(times) < PROBE_SECONDS):
        synchronize(device)
        started = clock()
        work()
        synchronize(device)
        times.append(clock() - started)
    return min(times)


def synchronize(device: str) -> None:
    """Wait for the device to finish what was queued."""
    if device == "cuda":
        torch.cuda.synchronize()
