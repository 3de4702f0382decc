from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from groundup.architecture.config import ModelConfig
from groundup.architecture.counts import parameters
from groundup.architecture.families import build
from groundup.errors import ConfigError, InputError
from groundup.plan.serving_memory import kv_bytes_per_sequence, kv_bytes_per_token, serving_memory


def llama(n_kv_heads: int, n_layers: int = 80, d_model: int = 8192) -> ModelConfig:
    return build("llama", vocab_size=32000, n_layers=n_layers, d_model=d_model,
                 context_length=4096, n_heads=64, n_kv_heads=n_kv_heads, d_ff=28672)  # fmt: skip


def test_cache_of_a_token() -> None:
    assert kv_bytes_per_token(llama(8)) == 327_680  # Llama 2 70B: 320 KiB
    assert kv_bytes_per_token(llama(64)) == 8 * 327_680
    opt = build("opt", vocab_size=50272, n_layers=40, d_model=5120, context_length=2048)
    assert kv_bytes_per_token(opt) == 819_200  # OPT-13B: 800 KB (PagedAttention, arXiv:2309.06180)
    assert kv_bytes_per_token(llama(8), kv_bits=8) == 163_840


def test_ranks_share_one_head_at_least() -> None:
    assert kv_bytes_per_token(llama(8), tp=8) == 327_680 / 8
    assert kv_bytes_per_token(llama(8), tp=16) == 327_680 / 8
    assert kv_bytes_per_token(llama(1), tp=4) == kv_bytes_per_token(llama(1))


def test_a_window_bounds_the_cache() -> None:
    config = llama(8)
    windowed = replace(config, attention=replace(config.attention, window=1024))
    assert kv_bytes_per_sequence(windowed, 4096) == kv_bytes_per_sequence(config, 1024)
    half = replace(windowed, attention=replace(windowed.attention, pattern="alternating"))
    assert kv_bytes_per_sequence(half, 4096) == 327_680 * (4096 + 1024) / 2


def test_encoders_keep_no_cache_and_pairs_keep_two() -> None:
    bert = build("bert", vocab_size=30522, n_layers=12, d_model=768, context_length=512)
    found = serving_memory(bert, context_length=512)
    assert found.kv_cache == 0
    assert found.most_sequences(80e9) is None
    t5 = build("t5", vocab_size=32128, n_layers=12, d_model=768, context_length=512)
    assert kv_bytes_per_sequence(t5, 512) == 2 * 512 * 12 * 2 * 768 * 2


@pytest.mark.parametrize(("bits", "bytes_each"), [(32, 4), (16, 2), (8, 1), (4, 4.15625 / 8)])
def test_matrices_of_blocks_are_quantised_and_nothing_else(bits: int, bytes_each: float) -> None:
    config = llama(8)
    counts = parameters(config)
    matrices = counts.attention + counts.feed_forward
    plain = 4 if bits == 32 else 2
    expected = matrices * bytes_each + (counts.total - matrices) * plain
    assert serving_memory(config, context_length=8, weight_bits=bits).weights == expected


def test_as_many_sequences_fit_as_are_said_to() -> None:
    config, capacity = llama(8), 80e9
    found = serving_memory(config, context_length=4096, tp=4)
    most = found.most_sequences(capacity)
    assert most
    assert serving_memory(config, context_length=4096, tp=4, batch=most).used == pytest.approx(
        0.9 * capacity, rel=0.03
    )
    assert not serving_memory(config, context_length=4096, tp=4, batch=2 * most).fits(capacity)
    assert serving_memory(config, context_length=4096).most_sequences(capacity) == 0  # 138 GB


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"batch": 0}, "batch is 0"),
        ({"context_length": -1}, "context_length is -1"),
        ({"weight_bits": 3}, "not 3"),
        ({"kv_bits": 2}, "not 2"),
    ],
)
def test_wrong_values_are_named(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        serving_memory(llama(8), **{"context_length": 128, **asked})


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        serving_memory(llama(8), context_length=128, tp=3)
    assert "64 heads do not divide over 3" in str(caught.value)
