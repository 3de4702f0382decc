from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.architecture.counts import parameters
from groundup.errors import ConfigError, InputError
from groundup.plan.shape import shape_for


@settings(max_examples=40, deadline=None)
@given(st.floats(7.5, 12.3))
def test_the_shape_has_the_parameters_asked_for(log_params: float) -> None:
    params = 10**log_params
    vocab_size = 32_000 if params > 3e8 else 1_000
    config = shape_for(params, vocab_size=vocab_size)
    assert parameters(config).total == pytest.approx(params, rel=0.1)
    assert config.d_model % config.attention.n_heads == 0
    assert params < 5e9 or config.attention.n_heads % 8 == 0  # tensor parallelism within a node


@pytest.mark.parametrize(
    ("params", "n_layers", "d_model"), [(6.74e9, 32, 4096), (13.0e9, 40, 5120), (65.3e9, 80, 8192)]
)
def test_sizes_of_llama_come_out_near_its_shapes(
    params: float, n_layers: int, d_model: int
) -> None:
    config = shape_for(params)
    assert config.n_layers == pytest.approx(n_layers, rel=0.25)
    assert config.d_model == pytest.approx(d_model, rel=0.25)


def test_a_vocabulary_larger_than_the_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="vocabulary of 256,000"):
        shape_for(1e6, vocab_size=256_000)
    with pytest.raises(InputError):
        shape_for(-1)
