from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.architecture.config import ModelConfig
from groundup.architecture.families import FAMILIES, TRAINABLE, build
from groundup.errors import ConfigError

TINY = {"vocab_size": 100, "n_layers": 2, "d_model": 64, "context_length": 32}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_config_survives_json(family: str) -> None:
    config = build(family, **TINY)
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_all_unknown_and_missing_keys_are_named_at_once() -> None:
    values = build("nanochat", **TINY).to_dict()
    del values["vocab_size"]
    values["depth"] = 3
    values["attention"]["windows"] = 8
    del values["norm"]["eps"]
    values["positions"] = "rotary"
    with pytest.raises(ConfigError) as error:
        ModelConfig.from_dict(values)
    assert set(error.value.problems) == {
        "unknown key depth",
        "missing key vocab_size",
        "unknown key attention.windows",
        "missing key norm.eps",
        "positions is not a table of keys",
    }


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"d_model": 96, "n_heads": 32}, "the head size is 3, but must be even"),
        ({"n_heads": 4, "n_kv_heads": 3}, "4 query heads cannot share 3 key/value heads"),
        ({"n_layers": 0}, "n_layers is 0, but must be a whole number of at least 1"),
        ({"d_ff": 0}, "d_ff is 0"),
        ({"d_model": 0}, "d_model is 0"),
        ({"d_model": 33}, "the head size is 33"),
        ({"vocab_size": "many"}, "vocab_size is 'many'"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, int], problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        build("llama", **TINY | changes)
    assert any(text.startswith(problem) for text in error.value.problems)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="64 cannot be divided into 3 heads"):
        build("llama", **TINY, n_heads=3)


def test_gpt2_refuses_shared_key_value_heads() -> None:
    with pytest.raises(ConfigError, match="one key/value head for each query head"):
        build("gpt2", **TINY, n_heads=4, n_kv_heads=2)


def test_an_unknown_family_names_the_nearest() -> None:
    with pytest.raises(ConfigError) as error:
        build("nanochatt", **TINY)
    assert error.value.fix == "did you mean nanochat?"
    with pytest.raises(ConfigError) as error:
        build("zzz", **TINY)
    assert str(error.value.fix).startswith("use one of nanochat, llama, gpt2, gpt3, ")


QUARTER = ("gpt-neox", "pythia", "dolly")  # of each head turns: a head of 8, 16, … is needed


@given(st.sampled_from(list(FAMILIES)), st.integers(1, 2048).map(lambda half: 2 * half))
def test_every_even_width_gets_even_heads_of_at_most_64(family: str, d_model: int) -> None:
    family = "llama" if family in QUARTER else family
    attention = build(family, **TINY | {"d_model": d_model}).attention
    assert attention.n_heads * attention.head_dim == d_model
    assert attention.head_dim <= 64
    assert attention.head_dim % 2 == 0
    assert attention.head_dim == 64 or d_model % 64


@given(st.integers(1, 256), st.sampled_from(QUARTER))
def test_a_quarter_of_a_head_is_turned_in_pairs(head_dim: int, family: str) -> None:
    sizes = TINY | {"d_model": 2 * head_dim, "n_heads": 2}
    if head_dim % 8 in (0, 2) and head_dim >= 8:  # 10 / 4 is cut to 2
        assert build(family, **sizes).attention.head_dim == head_dim
    elif head_dim % 2 == 0:
        with pytest.raises(ConfigError) as error:
            build(family, **sizes)
        assert "must turn an even number of at least 2" in error.value.problems[0]


def test_widths_of_the_feed_forward_network_follow_each_family() -> None:
    widths = {f: build(f, **TINY | {"d_model": 768}).feed_forward.d_ff for f in TRAINABLE}
    assert widths == {"nanochat": 3072, "gpt2": 3072, "llama": 2048}


@pytest.mark.parametrize("d_model", [64, 128, 256, 384, 512, 768, 1024, 4096])
def test_nanochat_with_a_gate_has_the_weights_of_two_matrices_at_4_d(d_model: int) -> None:
    network = build("nanochat", **TINY | {"d_model": d_model}, activation="swiglu").feed_forward
    assert 3 * network.d_ff * d_model == pytest.approx(2 * 4 * d_model**2, rel=0.02)
    assert network.d_ff % 8 == 0


def test_what_a_family_does_not_take_is_refused() -> None:
    with pytest.raises(ConfigError, match="the family gpt2 has no window") as error:
        build("gpt2", **TINY, window=4)
    assert error.value.fix == "it takes sizes only"
    with pytest.raises(ConfigError) as error:
        build("t5", **TINY, n_encoder_layer=4)
    assert error.value.fix == "it takes n_encoder_layers"


def test_heads_may_be_wider_than_the_model_if_their_size_is_given() -> None:
    attention = build("lamda", **TINY, n_heads=3, head_dim=40).attention
    assert (attention.n_heads, attention.head_dim) == (3, 40)


@pytest.mark.parametrize(
    ("family", "group", "changes", "problem"),
    [
        ("llama", "feed_forward", {"n_experts": 4}, "n_experts_per_token is 0, but must be 1 to n"),
        (
            "llama",
            "feed_forward",
            {"n_experts_per_token": 2},
            "n_experts_per_token is 2, but n_exp",
        ),
        (
            "llama",
            "feed_forward",
            {"n_experts": 2, "n_experts_per_token": 3},
            "n_experts_per_token",
        ),
        ("llama", "feed_forward", {"n_experts": -1}, "feed_forward.n_experts is -1"),
        ("llama", "feed_forward", {"activation": "swish"}, "feed_forward.activation is 'swish'"),
        ("llama", "attention", {"window": 0}, "attention.window is 0"),
        ("llama", "attention", {"pattern": "alternating"}, "attention.pattern is alternating"),
        ("llama", "attention", {"qk_norm_weight": "head"}, "attention.qk_norm_weight is head"),
        ("llama", "attention", {"bias": 1}, "attention.bias is 1, but must be true or false"),
        ("llama", "positions", {"rotary_fraction": 1.5}, "positions.rotary_fraction is 1.5"),
        ("llama", "positions", {"rotary_base": float("nan")}, "positions.rotary_base is nan"),
        ("llama", "positions", {"kind": "t5"}, "positions.n_buckets is 0"),
        ("llama", "positions", {"n_buckets": 32}, "positions.n_buckets is 32"),
        ("llama", "norm", {"bias": True}, "norm.bias is on, but only a layer or"),
        ("llama", "norm", {"eps": 0}, "norm.eps is 0"),
        ("gpt-j", "norm", {"placement": "post"}, "parallel_residual needs norm.placement pre"),
        ("llama", None, {"shared_norm": True}, "shared_norm needs parallel_residual"),
        ("llama", None, {"stack": "encoder-decoder"}, "stack is encoder-decoder, but n_encoder"),
        ("llama", None, {"n_encoder_layers": 2}, "n_encoder_layers is 2, but stack is decoder"),
        ("llama", None, {"pooler": True}, "pooler is for an encoder"),
        ("llama", None, {"query_stream": True}, "query_stream needs relative positions"),
        ("llama", None, {"n_token_types": -1}, "n_token_types is -1"),
        ("llama", None, {"embedding_dim": 0}, "embedding_dim is 0"),
        ("llama", None, {"embedding_projection": "tokens"}, "embedding_projection is tokens"),
        ("llama", None, {"logit_softcap": -1.0}, "logit_softcap is -1.0"),
        ("bert", None, {"head_bias": True}, "head_bias is on, but head is none"),
        ("t5", None, {"shared_layers": True}, "shared_layers is for one stack"),
        ("t5", "positions", {"n_buckets": 3}, "positions.n_buckets is 3, but must be an even"),
        ("t5", "positions", {"n_buckets": 2}, "positions.n_buckets is 2, but must be an even"),
        ("t5", "positions", {"max_distance": 16}, "positions.max_distance is 16, but must be abo"),
        ("t5", "positions", {"max_distance": 0}, "positions.max_distance is 0, but must be a who"),
        ("t5", "attention", {"scale": 0.0}, "attention.scale is 0.0, but must be a number above"),
        ("t5", "attention", {"scale": True}, "attention.scale is True"),
        ("gpt2", "positions", {"rotary_scaling": "linear"}, "positions.rotary_scaling is linear"),
        ("llama", "positions", {"rotary_scaling": "yarn"}, "positions.rotary_scaling is 'yarn'"),
        ("llama", "positions", {"rotary_factor": 8.0}, "positions.rotary_factor is 8, but rotary"),
        (
            "llama",
            "positions",
            {"rotary_scaling": "llama3", "rotary_low": 4.0},
            "positions.rotary_low is 4, but must be below rotary_high",
        ),
        ("llama", "positions", {"rotary_original": 0}, "positions.rotary_original is 0"),
        ("llama", "positions", {"rotary_sign": 2}, "positions.rotary_sign is 2, but must be 1 or"),
        ("roberta", "positions", {"padding_id": -1}, "positions.padding_id is -1"),
        ("roberta", "positions", {"padding_id": 10**6}, "positions.padding_id is 1000000, but"),
        ("bert", "positions", {"padding_id": 1}, "positions.padding_id is for an encoder with"),
        ("bart", "positions", {"padding_id": 1}, "positions.padding_id is for an encoder with"),
        ("llama", "norm", {"kind": "none"}, "norm.weight is on, but norm.kind is none"),
        ("llama", "norm", {"kind": "group"}, "norm.kind is 'group'"),
        ("llama", "norm", {"eps": True}, "norm.eps is True"),
        ("llama", None, {"head": "detection"}, "head is detection, which is for an encoder"),
        ("electra", None, {"head": "detection"}, "head is detection, which has head_bias and"),
        ("electra", None, {"sentence_head": True}, "sentence_head is on, but there is no pooler"),
        ("llama", None, {"init": "mup"}, "init is mup, but mup_base_width does not say"),
        ("llama", None, {"mup_base_width": 64}, "mup_base_width is 64, but init is normal"),
        ("llama", None, {"init": "mup", "mup_base_width": 0}, "mup_base_width is 0"),
        ("llama", None, {"init": "xavier"}, "init is 'xavier'"),
        ("llama", None, {"init_std": 0}, "init_std is 0, but must be a number above 0"),
        ("llama", None, {"embedding_scale": float("inf")}, "embedding_scale is inf"),
        ("llama", None, {"logit_scale": "1"}, "logit_scale is '1'"),
        ("llama", None, {"family": 3}, "family is 3, but must be a name"),
        ("t5", None, {"n_layers": True}, "n_layers is True"),
        ("t5", None, {"n_layers": 10**400}, "n_layers is above 10,000"),
        ("t5", None, {"n_encoder_layers": 10_001}, "n_encoder_layers is above 10,000"),
        ("t5", None, {"d_model": 10**400}, "d_model is above 1,000,000,000,000"),
        ("lamda", None, {"stack": "prefix"}, "positions are t5, but stack is prefix"),
        ("t5", None, {"logit_scale": 10**400}, "logit_scale is 1000"),
    ],
)
def test_fields_that_need_one_another_are_checked(
    family: str, group: str | None, changes: dict[str, Any], problem: str
) -> None:
    config = build(family, **TINY)
    if group is not None:
        changes = {group: dataclasses.replace(getattr(config, group), **changes)}
    with pytest.raises(ConfigError) as error:
        dataclasses.replace(config, **changes)
    assert [text for text in error.value.problems if text.startswith(problem)]


@pytest.mark.parametrize(
    ("family", "group", "changes"),
    [
        ("llama", "positions", {"rotary_scaling": "llama3", "rotary_factor": 8.0}),
        ("llama", "positions", {"rotary_scaling": "linear", "rotary_factor": 2.0}),
        ("llama", "norm", {"kind": "batch", "bias": True}),
        ("marian", "norm", {"kind": "none", "weight": False, "bias": False}),
        ("lamda", "positions", {"n_buckets": 64, "max_distance": 256}),
        ("bert", None, {"sentence_head": True}),
        ("llama", None, {"init": "mup", "mup_base_width": 64}),
        ("marian", None, {"init": "t-fixup"}),
    ],
)
def test_what_fits_together_is_taken_and_survives_json(
    family: str, group: str | None, changes: dict[str, Any]
) -> None:
    config = build(family, **TINY)
    if group is not None:
        changes = {group: dataclasses.replace(getattr(config, group), **changes)}
    config = dataclasses.replace(config, **changes)
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
