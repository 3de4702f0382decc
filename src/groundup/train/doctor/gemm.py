"""Matrix products whose every element is known beforehand, and how fast they are.

Both factors repeat with period 8 along the summed index k, with signs s, t that repeat nowhere:

    A[i, k] = s(i) p[(i + k) mod 8]        B[k, j] = t(j) q[(k + j) mod 8]
    C[i, j] = s(i) t(j) (K / 8) r[(j - i) mod 8],    r[d] = sum over m of p[m] q[(m + d) mod 8]

All entries are small integers, every partial sum stays below 2^24 and K / 8 is a power of two: C is
exact in fp32, tf32 and bf16, whatever the order of summation. One wrong bit in one product shows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from torch import Tensor

from groundup.train.doctor import faults
from groundup.train.doctor.result import Result

P = (3, -1, 4, 1, -5, 2, -6, 3)
Q = (2, 7, -1, -4, 2, 0, -5, 1)
SIZES = {"cpu": (256, 512, 1024), "cuda": (1024, 4096, 8192)}  # powers of two
LEAST_REPEATS = 3  # of each size; the fastest counts, so that another process hardly shows
SIGN = 0x9E3779B1  # odd: the parity of the bits of i times it has no short period


def check_gemm(device: str, host: str, seconds: float) -> list[Result]:
    """Correctness and speed of every precision of ``device``, in about ``seconds``."""
    kinds = precisions(device)
    return [
        result
        for precision in kinds
        for result in check_precision(device, precision, host, seconds / len(kinds))
    ]


def check_precision(device: str, precision: str, host: str, seconds: float) -> Iterator[Result]:
    """Multiply at growing sizes until the time is used; the smallest size is always done."""
    n_wrong = n_products = 0
    best_rate = 0.0
    started, sizes = time.monotonic(), SIZES[torch.device(device).type]
    for count, size in enumerate(sizes, start=1):
        end = started + seconds * count / len(sizes)
        if n_products and time.monotonic() + 2 * size**3 / best_rate > end:
            break
        a, b, expected = (matrix.to(device) for matrix in known_product(size))
        if precision == "bf16":
            a, b, expected = a.bfloat16(), b.bfloat16(), expected.bfloat16()
        least = n_products + LEAST_REPEATS
        while n_products < least or time.monotonic() < end:
            product, took = timed_product(a, b, precision)
            if n_products == 0 and faults.asked("gemm", host):
                product[0, 0] += 4096
            n_wrong += int((product != expected).sum())
            n_products += 1
            best_rate = max(best_rate, 2 * size**3 / took)
    if faults.asked("slow", host):
        best_rate /= 10
    yield Result(
        f"gemm {precision} {device}",
        "fail" if n_wrong else "ok",
        n_wrong,
        "wrong values",
        f"0 in {n_products} products",
        f"{n_wrong} values differ from the known answer" if n_wrong else "",
    )
    if precision in native(device):
        yield Result(f"speed {precision} {device}", "ok", best_rate / 1e9, "Gflop/s")


def known_product(size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Factors and product of ``size`` × ``size``, fp32: exact integers."""
    index = torch.arange(size)
    row, column = index[:, None], index[None, :]
    p, q = torch.tensor(P), torch.tensor(Q)
    r = torch.tensor([sum(P[m] * Q[(m + d) % 8] for m in range(8)) for d in range(8)])
    s, t = parity_sign(index * SIGN)[:, None], parity_sign(index * SIGN + 1)[None, :]
    a = s * p[(row + column) % 8]
    b = t * q[(row + column) % 8]
    c = s * t * (size // 8) * r[(column - row) % 8]
    return a.float(), b.float(), c.float()


def parity_sign(numbers: Tensor) -> Tensor:
    """+1 where the number of one bits among the lower 32 is even, −1 where it is odd."""
    for shift in (16, 8, 4, 2, 1):
        numbers = numbers ^ (numbers >> shift)
    return 1 - 2 * (numbers & 1)


def timed_product(a: Tensor, b: Tensor, precision: str) -> tuple[Tensor, float]:
    """The product and its seconds; fp32 is exact or tf32 as asked, whatever the process has set."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        synchronise(a.device)
        started = time.perf_counter()
        product = a @ b
        synchronise(a.device)
        return product, max(time.perf_counter() - started, 1e-9)
    finally:
        torch.set_float32_matmul_precision(before)


def precisions(device: str) -> list[str]:
    """What the device multiplies in; tf32 since Ampere (compute capability 8)."""
    if torch.device(device).type == "cpu":
        return ["fp32", "bf16"]
    major, _ = torch.cuda.get_device_capability(device)
    return ["fp32", "tf32", "bf16"] if major >= 8 else ["fp32"]


def native(device: str) -> list[str]:
    """The precisions that the hardware has: of the others the answer counts, not the speed."""
    if device == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return ["fp32"]
    return precisions(device)


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
