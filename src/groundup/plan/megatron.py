"""Training FLOPs and days as Megatron's papers count them, and the MFU of a measured rate."""

from __future__ import annotations

from groundup.plan.limits import (
    require_count,
    require_parameters,
    require_positive,
    require_tokens,
)
from groundup.plan.parallelism import Recompute


def megatron_flops(
    n_layers: int,
    d_model: int,
    context_length: int,
    vocab_size: int,
    tokens: float,
    recompute: Recompute = "none",
) -> float:
    """FLOPs of ``tokens`` tokens as Megatron's papers count them.

    full 96·l·h²(1 + s/6h + V/16lh) a token (arXiv:2104.04473, eq. 3); none 72·l·h²(1 + s/6h +
    V/12lh) and selective 72·l·h²(1 + s/3h + V/12lh) (arXiv:2205.05198, eq. 8 and 9).

    Raises:
        InputError: a size that is no whole number of at least 1, or tokens that are not positive.
    """
    for name, size in (("n_layers", n_layers), ("d_model", d_model), ("vocab_size", vocab_size)):
        require_count(size, name)
    require_positive(tokens, "tokens")
    factor, scores, head = {"full": (96, 6, 16), "none": (72, 6, 12), "selective": (72, 3, 12)}[
        recompute
    ]
    rest = 1 + context_length / (scores * d_model) + vocab_size / (head * n_layers * d_model)
    return factor * tokens * n_layers * d_model**2 * rest


def mfu_from_throughput(
    flops_per_token: float, tokens_per_second: float, peak_flops: float, n_chips: int = 1
) -> float:
    """Share of the peak: FLOPs a token · tokens/s / (chips · peak). Hardware's FLOPs give the HFU.

    Raises:
        InputError: a number that is not positive.
    """
    require_positive(flops_per_token, "flops_per_token")
    require_positive(tokens_per_second, "tokens_per_second")
    require_positive(peak_flops, "peak_flops")
    return flops_per_token * tokens_per_second / require_count(n_chips, "n_chips") / peak_flops


def days_by_8tp(params: float, tokens: float, n_chips: int, flops_per_second: float) -> float:
    """8·T·P/(n·X): Narayanan et al.'s estimate with full recomputation (arXiv:2104.04473, eq. 4).

    Args:
        params: P.
        tokens: T.
        n_chips: n.
        flops_per_second: X, what one chip does.
    """
    require_positive(flops_per_second, "flops_per_second")
    flops = 8 * require_tokens(tokens) * require_parameters(params)
    return flops / require_count(n_chips, "n_chips") / flops_per_second / 86400
