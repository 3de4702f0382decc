from __future__ import annotations

import pytest

from groundup.architecture.config import ModelConfig
from groundup.architecture.families import build
from groundup.errors import InputError
from groundup.plan.conventions import flops_by_convention


def gpt(n_layers: int, d_model: int, n_heads: int) -> ModelConfig:
    return build("gpt2", vocab_size=51200, n_layers=n_layers, d_model=d_model,
                 context_length=2048, n_heads=n_heads)  # fmt: skip


def by_id(config: ModelConfig, length: int) -> dict[str, int]:
    return {found.id: found.per_token for found in flops_by_convention(config, length)}


@pytest.mark.parametrize(
    ("l", "h", "a"), [(24, 2304, 24), (96, 12288, 96), (105, 20480, 128), (128, 25600, 160)]
)
def test_megatrons_formulas(l: int, h: int, a: int) -> None:  # noqa: E741
    """Narayanan et al. 2021 (appendix) and Korthikanti et al. 2022 (equations 7 to 9)."""
    s, vocab, found = 2048, 51200, by_id(gpt(l, h, a), 2048)
    assert found["exact"] == pytest.approx(72 * l * h * h * (1 + s / 6 / h + vocab / 12 / l / h))
    assert found["hardware-full"] == pytest.approx(
        96 * l * h * h * (1 + s / 6 / h + vocab / 16 / l / h)
    )
    assert found["hardware-selective"] == pytest.approx(
        72 * l * h * h * (1 + s / 3 / h + vocab / 12 / l / h)
    )


def test_palm_has_attention_on_top_of_6n() -> None:
    found = by_id(gpt(96, 12288, 96), 2048)
    assert found["palm"] - found["6n"] == 12 * 96 * 12288 * 2048


def test_causal_attention_is_half_of_full() -> None:
    short, long = (by_id(gpt(2, 512, 8), s) for s in (1, 2048))
    weights = short["exact"] - 12 * 2 * 512
    assert 2 * (long["exact-causal"] - weights) == pytest.approx(long["exact"] - weights, rel=1e-3)


def test_a_length_below_1_is_refused() -> None:
    with pytest.raises(InputError, match="context_length is 0"):
        flops_by_convention(gpt(2, 512, 8), 0)
