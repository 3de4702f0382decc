from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from groundup.architecture.counts import (
    forward_flops_per_token,
    parameters,
    training_flops_per_token,
)
from groundup.architecture.families import TRAINABLE, build
from groundup.model.transformer import Transformer

SHAPES: list[dict[str, Any]] = [
    {"vocab_size": 101, "n_layers": 2, "d_model": 64, "context_length": 48},
    {"vocab_size": 64, "n_layers": 3, "d_model": 96, "context_length": 16, "n_heads": 6},
]


def test_published_parameter_counts_are_reproduced() -> None:
    gpt2 = build("gpt2", vocab_size=50257, n_layers=12, d_model=768, context_length=1024)
    assert parameters(gpt2).total == 124_439_808  # the released file (Radford et al. 2019)
    assert gpt2.attention.n_heads == 12
    llama = build(
        "llama",
        vocab_size=32000,
        n_layers=32,
        d_model=4096,
        context_length=2048,
        n_heads=32,
        d_ff=11008,
    )
    assert parameters(llama).total == 6_738_415_616  # the released file (arXiv:2302.13971)
    llama3 = build(
        "llama",
        vocab_size=128256,
        n_layers=32,
        d_model=4096,
        context_length=8192,
        n_heads=32,
        n_kv_heads=8,
        d_ff=14336,
    )
    assert parameters(llama3).total == 8_030_261_248  # the released Llama 3 8B


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", TRAINABLE)
def test_each_part_equals_the_built_model(family: str, shape: dict[str, Any]) -> None:
    config = build(family, **shape)
    model = Transformer(config)
    built = dict.fromkeys(("embedding", "attention", "feed_forward", "norm", "head"), 0)
    for name, weight in model.named_parameters():
        part = name.split(".")[2] if name.startswith("blocks") else name.split(".")[0]
        part = "norm" if part.endswith("norm") else part
        built["embedding" if part in ("embed", "position") else part] += weight.numel()
    counted = parameters(config)
    assert {part: getattr(counted, part) for part in built} == built
    assert counted.total == sum(p.numel() for p in model.parameters())
    assert counted.non_embedding == counted.total - built["embedding"] - built["head"]


def test_shared_key_value_heads_are_counted() -> None:
    config = build("llama", **SHAPES[1], n_kv_heads=2)
    assert parameters(config).total == sum(p.numel() for p in Transformer(config).parameters())


def whole_matrix(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention that computes the whole score matrix, as torch's counter assumes."""
    return (q @ k.mT).tril().softmax(-1) @ v


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", TRAINABLE)
def test_flops_without_the_causal_discount_equal_torchs_counter(
    family: str, shape: dict[str, Any]
) -> None:
    config = build(family, **shape)
    model, n_tokens = Transformer(config), config.context_length
    ids = torch.zeros(2, n_tokens, dtype=torch.int64)
    with FlopCounterMode(display=False) as forward:
        logits = model(ids, attend=whole_matrix)
    per_token = forward_flops_per_token(config, n_tokens, causal=False)
    assert forward.get_total_flops() == 2 * n_tokens * per_token
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    both = forward.get_total_flops() + backward.get_total_flops()
    assert both == 2 * n_tokens * training_flops_per_token(config, n_tokens, causal=False)


def test_the_causal_convention_counts_one_key_at_a_time() -> None:
    config = build("llama", **SHAPES[0])
    n_tokens = 7
    width = config.attention.n_heads * config.attention.head_dim
    one_by_one = sum(4 * width * n_keys for n_keys in range(1, n_tokens + 1)) * config.n_layers
    whole = 4 * width * n_tokens * n_tokens * config.n_layers
    difference = n_tokens * (
        forward_flops_per_token(config, n_tokens, causal=False)
        - forward_flops_per_token(config, n_tokens, causal=True)
    )
    assert difference == whole - one_by_one
