from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from groundup.architecture.families import FAMILIES, TRAINABLE, build
from groundup.errors import ConfigError, InputError
from groundup.model.init import init_weights
from groundup.model.transformer import (
    RmsNorm,
    Transformer,
    WeightlessRmsNorm,
    relu_squared,
    softcap,
)

TINY: dict[str, Any] = {
    "vocab_size": 50,
    "n_layers": 2,
    "d_model": 32,
    "context_length": 24,
    "n_heads": 4,
}


def random_model(family: str, attention: str = "sdpa", **sizes: Any) -> Transformer:
    """Every weight is random, so that no part of the network is silent."""
    model = Transformer(build(family, **TINY | sizes), attention)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2)
    return model


def ids(n_sequences: int = 2, n_tokens: int = 24) -> Tensor:
    return torch.randint(0, 50, (n_sequences, n_tokens), generator=torch.Generator().manual_seed(5))


NOT_COMPUTED = [f for f in FAMILIES if FAMILIES[f] not in {FAMILIES[t] for t in TRAINABLE}]
MODELS = {(f, a): random_model(f, a) for f in TRAINABLE for a in ("sdpa", "bmm")}


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(list(MODELS)), st.integers(1, 23), st.integers(0, 49))
def test_a_later_token_never_changes_earlier_logits(
    which: tuple[str, str], place: int, token: int
) -> None:
    model, before, after = MODELS[which], ids(1), ids(1)
    after[0, place] = token
    with torch.no_grad():
        torch.testing.assert_close(
            model(before)[:, :place], model(after)[:, :place], rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("family", TRAINABLE)
def test_every_parameter_gets_the_same_gradient_from_both_attentions(family: str) -> None:
    gradients = []
    for attention in ("sdpa", "bmm"):
        model = copy.deepcopy(MODELS[family, attention])
        F.cross_entropy(model(ids()).flatten(0, 1), ids().flatten()).backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient is not None
        assert gradient.abs().sum() > 0 or name.endswith("k.bias"), name  # softmax ignores k's bias
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", TRAINABLE)
def test_hidden_and_logits_in_two_steps_are_the_forward_pass(family: str) -> None:
    model = MODELS[family, "sdpa"]
    hidden = model.hidden(ids())
    assert hidden.shape == (2, 24, 32)
    torch.testing.assert_close(model.logits(hidden[:, 3:5]), model(ids())[:, 3:5])


def test_parameter_names_are_the_same_in_all_families() -> None:
    names = {f: {n for n, _ in MODELS[f, "sdpa"].named_parameters()} for f in TRAINABLE}
    block = [f"blocks.0.{x}.weight" for x in ("attention.q", "attention.o", "feed_forward.down")]
    for found in names.values():
        assert {"embed.weight", *block} <= found
    assert names["nanochat"] < names["llama"]
    assert {"position.weight", "norm.weight", "blocks.1.attention_norm.bias"} <= names["gpt2"]
    assert "head.weight" in names["llama"] - names["gpt2"]


def test_too_many_tokens_are_refused() -> None:
    with pytest.raises(InputError, match="25 tokens are more than this model's context of 24"):
        MODELS["nanochat", "sdpa"](ids(1, 25))
    with pytest.raises(InputError, match="context"):
        MODELS["nanochat", "sdpa"](ids(1, 4), start=21)


@pytest.mark.parametrize("family", TRAINABLE)
def test_autocast_stays_near_float32_and_trains_float32_weights(family: str) -> None:
    wanted = MODELS[family, "sdpa"](ids())
    model = copy.deepcopy(MODELS[family, "bmm"])
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(ids())
    assert logits.dtype == torch.bfloat16
    assert (logits.float() - wanted).norm() < 0.03 * wanted.norm()
    F.cross_entropy(logits.flatten(0, 1).float(), ids().flatten()).backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())


def test_logits_never_leave_the_soft_cap() -> None:
    model = random_model("nanochat")
    with torch.no_grad():
        model.head.weight.mul_(1000)
        assert model(ids()).abs().max() <= 15


def plain_rms(x: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], eps=1e-6)


@pytest.mark.parametrize(
    ("ours", "plain"),
    [
        (WeightlessRmsNorm(1e-6), plain_rms),
        (RmsNorm(16, 1e-6), plain_rms),
        (relu_squared, lambda x: F.relu(x).square()),
        (lambda x: softcap(x, 3.0), lambda x: 3.0 * torch.tanh(x / 3.0)),
    ],
)
@pytest.mark.parametrize("scale", [1e-4, 1.0, 30.0])
def test_our_backward_passes_equal_torchs(ours: Any, plain: Any, scale: float) -> None:
    x = (torch.randn(6, 16, generator=torch.Generator().manual_seed(2)) * scale).requires_grad_()
    weight = torch.randn(6, 16, generator=torch.Generator().manual_seed(4))
    (found,) = torch.autograd.grad((ours(x) * weight).sum(), x)
    (wanted,) = torch.autograd.grad((plain(x) * weight).sum(), x)
    torch.testing.assert_close(ours(x), plain(x), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("family", ["nanochat", "llama"])
def test_rotary_scores_depend_on_the_distance_only(family: str) -> None:
    rotary = Transformer(build(family, **TINY)).position
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def score(q_place: int, k_place: int) -> Tensor:
        turned_q = rotary.rotation(slice(q_place, q_place + 1))(q)
        return (turned_q * rotary.rotation(slice(k_place, k_place + 1))(k)).sum()

    torch.testing.assert_close(score(9, 4), score(20, 15), rtol=1e-4, atol=1e-5)


def test_a_model_from_scratch_learns_to_copy() -> None:
    model = Transformer(build("nanochat", **TINY), "bmm")
    init_weights(model, torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    inputs = ids(8)
    for _ in range(40):
        loss = F.cross_entropy(model(inputs).flatten(0, 1), inputs.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


@pytest.mark.parametrize("family", NOT_COMPUTED)
def test_a_family_that_is_not_computed_is_refused_not_computed_wrongly(family: str) -> None:
    with pytest.raises(ConfigError, match="can be planned with but not be computed") as error:
        Transformer(build(family, **TINY))
    assert error.value.problems


def test_every_field_that_is_not_computed_is_named() -> None:
    config = build("mistral", **TINY, window=4, n_experts=4, n_experts_per_token=2)
    with pytest.raises(ConfigError) as error:
        Transformer(config)
    assert error.value.problems == (
        "attention.window 4 is not computed here; None is",
        "feed_forward.n_experts 4 is not computed here; 0 is",
        "feed_forward.n_experts_per_token 2 is not computed here; 0 is",
    )
