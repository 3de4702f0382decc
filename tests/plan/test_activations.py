from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.architecture.config import ModelConfig
from groundup.architecture.families import FAMILIES, build
from groundup.errors import InputError
from groundup.plan.activations import layer_activation_bytes, layer_terms
from groundup.plan.states import PRECISIONS

GPT_ERA: dict[str, Any] = {"flash_attention": False, "dropout": True}


def gpt(d_model: int = 12288, n_heads: int = 96, n_layers: int = 2) -> ModelConfig:
    return build(
        "gpt2", vocab_size=51200, n_layers=n_layers, d_model=d_model, context_length=2048,
        n_heads=n_heads,
    )  # fmt: skip


def llama(n_kv_heads: int = 32, **variant: Any) -> ModelConfig:
    return build(
        "llama", vocab_size=32000, n_layers=2, d_model=4096, context_length=2048, n_heads=32,
        n_kv_heads=n_kv_heads, d_ff=11008, **variant,
    )  # fmt: skip


def per_sbh(config: ModelConfig, s: int, b: int, **asked: Any) -> float:
    found = layer_activation_bytes(config, context_length=s, micro_batch_size=b, **asked)
    return found / (s * b * config.d_model)


@given(
    heads=st.sampled_from([8, 16, 64, 96]),
    head_dim=st.sampled_from([64, 96, 128]),
    s=st.sampled_from([512, 1024, 2048]),
    b=st.integers(1, 8),
    t=st.sampled_from([1, 2, 4, 8]),
)
def test_gpt_is_korthikantis_table(heads: int, head_dim: int, s: int, b: int, t: int) -> None:
    """Korthikanti et al. 2022, table 2, every row, for any size."""
    h = heads * head_dim
    config, scores = gpt(h, heads), 5 * heads * s / h
    split = {"sequence_parallel": True, **GPT_ERA}
    rows = [
        (34 + scores, {**GPT_ERA, "tp": 1}),
        (10 + 24 / t + scores / t, {**GPT_ERA, "tp": t}),
        ((34 + scores) / t, {**split, "tp": t}),
        (10 + 24 / t, {**GPT_ERA, "tp": t, "recompute": "selective"}),
        (34 / t, {**split, "tp": t, "recompute": "selective"}),
        (2, {**GPT_ERA, "tp": t, "recompute": "full"}),
        (2 / t, {**split, "tp": t, "recompute": "full"}),
    ]
    for expected, asked in rows:
        assert per_sbh(config, s, b, **asked) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("n_kv_heads", "expected"),
    [
        # 10 attention + 4 norms + 2 input + 6 ff/h, and an fp32 log-sum-exp per head
        (32, 10 + 4 + 2 + 6 * 11008 / 4096 + 4 * 32 / 4096),
        (8, 10 - 3 + 4 + 2 + 6 * 11008 / 4096 + 4 * 32 / 4096),
    ],
    ids=["llama", "a quarter of the key/value heads"],
)
def test_swiglu_without_dropout_under_flash_attention(n_kv_heads: int, expected: float) -> None:
    assert per_sbh(llama(n_kv_heads), 2048, 1) == pytest.approx(expected, rel=1e-12)


def test_flash_attention_leaves_selective_recomputation_nothing_but_the_log_sum_exp() -> None:
    none = per_sbh(llama(), 2048, 1)
    selective = per_sbh(llama(), 2048, 1, recompute="selective")
    assert none - selective == pytest.approx(4 * 32 / 4096)


def test_masks_are_what_dropout_adds() -> None:
    scores = 96 * 2048 / 12288
    with_masks = per_sbh(gpt(), 2048, 1, **GPT_ERA)
    without = per_sbh(gpt(), 2048, 1, flash_attention=False)
    # A byte after attention and feed-forward; for each score a mask and what it leaves.
    assert with_masks - without == pytest.approx(2 + 3 * scores)


def test_parallel_branches_share_what_they_read() -> None:
    sizes = {"vocab_size": 50400, "n_layers": 2, "d_model": 4096, "context_length": 2048,
             "n_heads": 16}  # fmt: skip
    sequential = per_sbh(build("gpt2", **sizes), 2048, 1)
    assert sequential - per_sbh(build("gpt-neox", **sizes), 2048, 1) == 2  # the input of the norms
    assert sequential - per_sbh(build("gpt-j", **sizes), 2048, 1) == 4  # and its one output


def test_relu_is_undone_from_its_output() -> None:
    sizes = {"vocab_size": 50272, "n_layers": 2, "d_model": 4096, "context_length": 2048}
    difference = per_sbh(build("gpt2", **sizes), 2048, 1) - per_sbh(build("opt", **sizes), 2048, 1)
    assert difference == 8  # 2 bytes of 4 h hidden values


def test_shared_heads_are_not_split_further_than_one() -> None:
    one = layer_activation_bytes(llama(n_kv_heads=1), context_length=2048, tp=8)
    eight = layer_activation_bytes(llama(n_kv_heads=8), context_length=2048, tp=8)
    assert one == eight


def test_experts_hold_what_each_token_sends_them() -> None:
    dense = llama()
    mixture = replace(
        dense, feed_forward=replace(dense.feed_forward, n_experts=8, n_experts_per_token=2)
    )
    per_token = 4096 * (per_sbh(mixture, 2048, 1) - per_sbh(dense, 2048, 1))
    # Once more the hidden values; two inputs and two outputs; eight fp32 probabilities.
    assert per_token == pytest.approx(6 * 11008 + 2 * 2 * 4096 + 2 * 2 * 4096 + 4 * 8)


def test_a_decoder_beside_an_encoder_keeps_both_attentions() -> None:
    sizes = {"vocab_size": 32128, "n_layers": 2, "d_model": 1024, "context_length": 512,
             "n_heads": 16}  # fmt: skip
    pair = build("t5", **sizes)
    alone = replace(pair, stack="decoder", n_encoder_layers=0)
    both = layer_activation_bytes(pair, context_length=512, encoder_length=256)
    own = layer_activation_bytes(alone, context_length=512)
    # Norm's input, query's input, queries and output of 512 tokens, log-sum-exp; k and v of 256.
    assert both - own == 512 * (4 * 2 * 1024 + 4 * 16) + 256 * 2 * 2 * 1024


def test_precision_sets_the_width() -> None:
    bf16 = per_sbh(llama(), 2048, 1, recompute="selective")
    assert per_sbh(llama(), 2048, 1, recompute="selective", precision="fp32") == 2 * bf16
    # fp8: a byte less for the inputs of qkv, output, up and down matrices.
    fp8 = per_sbh(llama(), 2048, 1, recompute="selective", precision="fp8")
    assert bf16 - fp8 == pytest.approx(3 + 11008 / 4096)


def test_context_ranks_divide_tokens_and_not_keys() -> None:
    alone = layer_activation_bytes(gpt(), context_length=2048, **GPT_ERA)
    assert layer_activation_bytes(gpt(), context_length=2048, cp=4, **GPT_ERA) == alone / 4


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_keeps_less_the_more_is_computed_again(family: str) -> None:
    config = build(family, vocab_size=1000, n_layers=2, d_model=256, context_length=128, n_heads=4)
    none, selective, full = (
        layer_activation_bytes(config, context_length=128, recompute=mode, flash_attention=False)  # type: ignore[arg-type]
        for mode in ("none", "selective", "full")
    )
    assert none > selective > full == 128 * 256 * 2


def test_terms_have_names_and_add_up() -> None:
    terms = layer_terms(llama(), precision=PRECISIONS["bf16"])
    assert len({term.name for term in terms if term.part == "attention"}) == 6
    total = sum(term.bytes_per_token for term in terms)
    assert 2048 * total == layer_activation_bytes(llama(), context_length=2048)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(InputError, match="recompute is 'some'"):
        layer_activation_bytes(llama(), context_length=8, recompute="some")  # type: ignore[arg-type]
