from __future__ import annotations

import pytest

from groundup.architecture.config import ModelConfig
from groundup.architecture.families import build
from groundup.architecture.presets import find_model
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
    assert found["korthikanti-selective"] == pytest.approx(
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


@pytest.mark.parametrize(
    "name", ["gpt3-175b", "llama3.1-405b", "mistral-7b", "t5-11b", "bert-base", "xlnet-base"]
)
@pytest.mark.parametrize("length", [1, 2048, 131072])
def test_selective_recomputation_does_less_again_than_full(name: str, length: int) -> None:
    found = by_id(find_model(name), length)
    assert found["exact"] < found["hardware-selective"] < found["hardware-full"]


def test_selective_recomputation_does_two_products_again() -> None:
    found = by_id(gpt(96, 12288, 96), 2048)
    assert found["hardware-selective"] - found["exact"] == 4 * 96 * 12288 * 2048


def test_llama_2s_three_conventions_of_mfu() -> None:
    """One run has an MFU of 39.1, 42.2 or 45.3 % by 6N, causal and full attention."""
    found = by_id(find_model("llama2-7b"), 4096)
    assert 39.1 * found["palm-causal"] / found["6n"] == pytest.approx(42.2, abs=0.05)
    assert 39.1 * found["palm"] / found["6n"] == pytest.approx(45.3, abs=0.05)


@pytest.mark.parametrize("name", ["t5-11b", "t5-3b", "byt5-small", "bart-large"])
@pytest.mark.parametrize("causal", [True, False])
def test_palm_and_exact_agree_on_the_attention_of_an_encoder_and_decoder(
    name: str, causal: bool
) -> None:
    config = find_model(name)
    of_palm, of_exact = ("palm-causal", "exact-causal") if causal else ("palm", "exact")
    short, long = by_id(config, 2048), by_id(config, 65536)
    grown = long[of_exact] - short[of_exact]
    assert long[of_palm] - short[of_palm] == pytest.approx(grown, rel=1e-3)
