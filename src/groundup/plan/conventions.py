"""What people mean by the training FLOPs of a model: each convention, by name.

    6n                     6 N (Kaplan et al. 2020): no attention scores, embeddings counted
    exact-causal           all matrix products, a token against those before it
    exact                  all matrix products, every token against the whole context
    palm                   6 N + 12 l w s (PaLM, arXiv:2204.02311, app. B); MFU is usually this
    palm-causal            6 N + 6 l w s: half of the keys, as flash attention computes
    hardware-selective     exact, with the forward pass of scores and weighted values done again
    korthikanti-selective  the same as Korthikanti et al. 2022 (eq. 9) count it
    hardware-full          with every block's forward pass done again: HFU of Megatron's 2021 runs

N is the parameters that a token uses: of experts those it is sent to, of an encoder with a decoder
half (it passes one of them), as in the table of GPT-3 (arXiv:2005.14165, D.1).

For GPT, `exact` is Megatron's 72 B s l h² (1 + s/6h + V/12lh) and `hardware-full` its
96 B s l h² (1 + s/6h + V/16lh) (Narayanan et al. 2021, arXiv:2104.04473, appendix). Equation 9 of
arXiv:2205.05198 adds 12 l w s for selective recomputation, three times the forward products that
are done again (4 l w s), so on long sequences it exceeds `hardware-full`; published HFUs use it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from groundup.architecture.config import ModelConfig
from groundup.architecture.counts import (
    attention_flops_per_token,
    flops_6n,
    forward_flops_per_token,
    palm_flops_per_token,
    training_flops_per_token,
)


@dataclass(frozen=True)
class Convention:
    """FLOPs of forward and backward for one token."""

    id: str
    per_token: int
    counts: str  # in words


def flops_by_convention(config: ModelConfig, context_length: int) -> list[Convention]:
    """Training FLOPs of one token by each convention; work done again only in the last three.

    Args:
        config: the model.
        context_length: tokens per sequence.

    Raises:
        InputError: a length below 1.
    """
    exact = training_flops_per_token(config, context_length, causal=False)
    palm, six_n = palm_flops_per_token(config, context_length), flops_6n(config)
    again = round(attention_flops_per_token(config, context_length, causal=False))
    return [
        Convention("6n", six_n, "6 for each parameter that the token uses"),
        Convention(
            "exact-causal",
            training_flops_per_token(config, context_length, causal=True),
            "all products; attention to the tokens before",
        ),
        Convention("exact", exact, "all products; attention to the whole context"),
        Convention("palm", palm, "6 N + 12 · layers · attention width · context"),
        Convention(
            "palm-causal",
            palm_flops_per_token(config, context_length, causal=True),
            "6 N + 6 · layers · attention width · context",
        ),
        Convention("hardware-selective", exact + again, "exact + scores and weighted values again"),
        Convention(
            "korthikanti-selective",
            exact + palm - six_n,
            "exact + three times that, as Megatron's published HFUs count",
        ),
        Convention(
            "hardware-full",
            exact + _forward_of_blocks(config, context_length),
            "exact + all blocks' forward pass again",
        ),
    ]


def _forward_of_blocks(config: ModelConfig, context_length: int) -> int:
    """Forward FLOPs of a token without head and pooler, which are not computed again."""
    blocks = replace(config, head="none", head_bias=False, head_transform=False, pooler=False)
    return forward_flops_per_token(blocks, context_length, causal=False)
