"""FLOPs against published formulas, torch's counter on other people's models, and one by one."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from groundup.architecture.config import ModelConfig
from groundup.architecture.counts import (
    flops_6n,
    forward_flops_per_token,
    palm_flops_per_token,
    parameters,
    training_flops_per_token,
)
from groundup.architecture.families import build
from groundup.architecture.presets import PRESETS, find_model
from groundup.errors import InputError
from tests.architecture.oracle import built

TINY: dict[str, Any] = {
    "vocab_size": 101,
    "n_layers": 2,
    "d_model": 32,
    "context_length": 16,
    "n_heads": 4,
}


@pytest.mark.parametrize("name", ["megatron-1.7b", "megatron-145.6b", "korthikanti-1t"])
def test_megatrons_closed_forms_are_ours(name: str) -> None:
    config, s = find_model(name), 2048
    h, layers, vocabulary = config.d_model, config.n_layers, config.vocab_size
    ours = training_flops_per_token(config, s, causal=False)
    # arXiv:2205.05198 equation 7: model FLOPs of a batch, here of one token.
    model = 72 * layers * h**2 * (1 + s / (6 * h) + vocabulary / (12 * layers * h))
    assert ours == pytest.approx(model, rel=1e-12)
    # arXiv:2104.04473 equation 3: with the layers, not the head, computed a second time.
    hardware = 96 * layers * h**2 * (1 + s / (6 * h) + vocabulary / (16 * layers * h))
    again = forward_flops_per_token(config, s, causal=False) - 2 * vocabulary * h
    assert ours + again == pytest.approx(hardware, rel=1e-12)


def test_palms_run_needs_the_flops_it_printed() -> None:
    config = find_model("palm-540b")
    assert 780e9 * palm_flops_per_token(config, 2048) == pytest.approx(2.56e24, rel=0.005)
    assert palm_flops_per_token(config, 2048) == 6 * 540_354_281_472 + 12 * 118 * 48 * 256 * 2048


def test_6n_counts_active_parameters() -> None:
    assert flops_6n(find_model("llama-7b")) == 6 * 6_738_415_616
    assert flops_6n(find_model("mixtral-8x7b")) == 6 * 12_879_925_248


def test_gpt3s_run_needs_the_flops_it_printed() -> None:
    # arXiv:2005.14165 table D.1: 3.14e23 for 300 billion tokens, 6 N without embeddings.
    config = find_model("gpt3-175b")
    assert 300e9 * 6 * parameters(config).non_embedding == pytest.approx(3.14e23, rel=0.01)


COUNTED = ["gpt-j", "gpt-neox", "opt", "bloom", "codegen", "mistral", "qwen", "qwen3", "olmo",
           "olmo2", "ctrl", "mpt", "bert", "roberta", "distilbert", "electra", "albert", "t5",
           "t5-v1.1", "bart", "marian", "xlnet"]  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "opt": {"embedding_dim": 24},
    "qwen": {"n_kv_heads": 2},
    "gpt-j": {"rotary_dim": 4},
    "codegen": {"rotary_dim": 4},
    "albert": {"embedding_dim": 24},
    "electra": {"embedding_dim": 24, "head": "tokens"},
    "bert": {"head": "tokens"},
    "t5": {"n_encoder_layers": 3},
}


@pytest.mark.parametrize("family", COUNTED)
def test_full_attention_is_what_torch_counts_in_transformers(family: str) -> None:
    config = build(family, **TINY, **VARIANTS.get(family, {}))
    n_source, n_target = 12, 5 if config.n_encoder_layers else None
    flops = _counted(config, n_source, n_target)
    n_tokens = n_source + (n_target or 0)
    ours = forward_flops_per_token(config, n_source, False, n_target)
    assert flops / n_tokens == pytest.approx(ours, abs=0.5)


def _counted(config: ModelConfig, n_source: int, n_target: int | None) -> int:
    """One sequence through the other library's model, its products counted."""
    model = built(config, "cpu").eval()
    ids = torch.ones(1, n_source, dtype=torch.int64)
    inputs: dict[str, Any] = {"input_ids": ids}
    if n_target is not None:
        inputs["decoder_input_ids"] = torch.ones(1, n_target, dtype=torch.int64)
    if config.stack != "encoder":
        inputs["use_cache"] = False
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(**inputs)
    return counter.get_total_flops()


def one_by_one(n_tokens: int, window: int | None) -> int:
    return sum(min(place + 1, window or n_tokens) for place in range(n_tokens))


@pytest.mark.parametrize(("n_tokens", "window"), [(7, 3), (3, 7), (5, 5), (6, 1)])
def test_a_window_limits_the_keys_of_each_token(n_tokens: int, window: int) -> None:
    config = build("mistral", **TINY, window=window)
    plain = build("llama", **TINY)
    width = 4 * config.attention.n_heads * config.attention.head_dim * config.n_layers
    for causal, seen in (
        (True, one_by_one(n_tokens, window)),
        (False, n_tokens * min(window, n_tokens)),
    ):
        of_all = one_by_one(n_tokens, None) if causal else n_tokens**2
        fewer = forward_flops_per_token(plain, n_tokens, causal) - forward_flops_per_token(
            config, n_tokens, causal
        )
        assert fewer * n_tokens == pytest.approx(width * (of_all - seen), abs=n_tokens)


def test_alternating_layers_have_the_window_in_every_second() -> None:
    windowed = build("mistral", **TINY, window=4)
    every_second = dataclasses.replace(
        windowed, attention=dataclasses.replace(windowed.attention, pattern="alternating")
    )
    full, band, half = (
        forward_flops_per_token(config, 16)
        for config in (build("llama", **TINY), windowed, every_second)
    )
    assert half == (full + band) / 2


def test_an_encoder_has_no_causal_discount() -> None:
    config = find_model("bert-base")
    assert forward_flops_per_token(config, 512, True) == forward_flops_per_token(config, 512, False)


def test_a_tokens_experts_are_counted_not_all() -> None:
    dense, sparse = (
        build("mixtral", **TINY),
        build("mixtral", **TINY, n_experts=8, n_experts_per_token=2),
    )
    network = 2 * 3 * dense.d_model * dense.feed_forward.d_ff * dense.n_layers
    router = 2 * 8 * dense.d_model * dense.n_layers
    more = forward_flops_per_token(sparse, 16) - forward_flops_per_token(dense, 16)
    assert more == network + router


def test_source_and_target_of_an_encoder_decoder_are_averaged() -> None:
    config = find_model("t5-11b")
    assert training_flops_per_token(config, 512, True, 114) == 3 * forward_flops_per_token(
        config, 512, True, 114
    )
    assert training_flops_per_token(config, 512) == pytest.approx(flops_6n(config), rel=0.15)


# arXiv:2005.14165 table D.1: total training FLOPs for 1,000 billion tokens; its N are rounded.
@pytest.mark.parametrize(
    ("name", "printed"),
    [("t5-small", 1.80e20), ("t5-base", 6.60e20), ("t5-large", 2.31e21), ("t5-3b", 9.00e21),
     ("t5-11b", 3.30e22)],
)  # fmt: skip
def test_t5_in_the_table_of_gpt3(name: str, printed: float) -> None:
    config = find_model(name)
    assert 1e12 * flops_6n(config) == pytest.approx(printed, rel=0.06)
    assert flops_6n(config) == pytest.approx(3 * parameters(config).total, rel=1e-6)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_flops_are_near_6n_where_every_parameter_is_used_once(preset: Any) -> None:
    config = preset.config
    if config.n_encoder_layers or config.shared_layers or config.query_stream:
        return  # XLNet's projection of places is used twice: before and behind
    counted = parameters(config)
    looked_up = counted.embedding * (not config.tie_embeddings or config.head == "none")
    estimate = flops_6n(config) - 6 * looked_up
    exact = training_flops_per_token(config, 1, causal=False)
    assert exact == pytest.approx(estimate, rel=0.05)


def test_lengths_that_are_none_are_refused() -> None:
    config = find_model("gpt2")
    with pytest.raises(InputError, match="context_length is 0"):
        forward_flops_per_token(config, 0)
    with pytest.raises(InputError, match="one decoder has no target"):
        forward_flops_per_token(config, 8, target_length=8)
    with pytest.raises(InputError, match="target_length is -1"):
        forward_flops_per_token(find_model("t5"), 8, target_length=-1)
