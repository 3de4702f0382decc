from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.architecture.config import ModelConfig
from groundup.architecture.families import FAMILIES, build
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
    assert error.value.fix == "use one of nanochat, llama, gpt2"


@given(st.sampled_from(list(FAMILIES)), st.integers(1, 2048).map(lambda half: 2 * half))
def test_every_even_width_gets_even_heads_of_at_most_64(family: str, d_model: int) -> None:
    attention = build(family, **TINY | {"d_model": d_model}).attention
    assert attention.n_heads * attention.head_dim == d_model
    assert attention.head_dim <= 64
    assert attention.head_dim % 2 == 0
    assert attention.head_dim == 64 or d_model % 64


def test_widths_of_the_feed_forward_network_follow_each_family() -> None:
    widths = {f: build(f, **TINY | {"d_model": 768}).feed_forward.d_ff for f in FAMILIES}
    assert widths == {"nanochat": 3072, "gpt2": 3072, "llama": 2048}
