from __future__ import annotations

import math

import pytest
import torch

from groundup.architecture.families import TRAINABLE, build
from groundup.model.init import init_weights
from groundup.model.transformer import Transformer


def fresh(family: str, seed: int = 0) -> Transformer:
    model = Transformer(
        build(family, vocab_size=500, n_layers=3, d_model=128, context_length=64), "sdpa"
    )
    init_weights(model, torch.Generator().manual_seed(seed))
    return model


# Standard deviations of the table in the docstring, from the sources named there.
WANTED = {
    "nanochat": {
        "embed.weight": 1.0,
        "head.weight": 0.001,
        "blocks.1.attention.q.weight": 1 / math.sqrt(128),
        "blocks.1.feed_forward.up.weight": 1 / math.sqrt(128),
        "blocks.1.attention.o.weight": 0.0,
        "blocks.1.feed_forward.down.weight": 0.0,
    },
    "gpt2": {
        "embed.weight": 0.02,
        "position.weight": 0.02,
        "blocks.1.attention.v.weight": 0.02,
        "blocks.1.attention.o.weight": 0.02 / math.sqrt(6),
        "blocks.1.feed_forward.down.weight": 0.02 / math.sqrt(6),
    },
    "llama": {
        "embed.weight": 0.02,
        "head.weight": 0.02,
        "blocks.1.attention.k.weight": 0.02,
        "blocks.1.feed_forward.gate.weight": 0.02,
        "blocks.1.feed_forward.down.weight": 0.02,
    },
}


@pytest.mark.parametrize("family", TRAINABLE)
def test_weights_have_the_spread_of_the_table(family: str) -> None:
    weights = {name: w.detach() for name, w in fresh(family).named_parameters()}
    for name, std in WANTED[family].items():
        assert float(weights[name].std()) == pytest.approx(std, rel=0.05), name
        assert abs(float(weights[name].mean())) <= 5 * std / math.sqrt(weights[name].numel())
    for name, weight in weights.items():
        if name.endswith(".bias"):
            assert not weight.any(), name
        if name.endswith("norm.weight"):
            assert bool((weight == 1).all()), name


def test_nanochat_starts_at_the_loss_of_guessing() -> None:
    ids = torch.randint(0, 500, (4, 64), generator=torch.Generator().manual_seed(1))
    logits = fresh("nanochat")(ids).detach()
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten())
    assert float(loss) == pytest.approx(math.log(500), abs=0.01)


def test_the_draws_depend_on_the_generator_alone() -> None:
    first = fresh("llama").state_dict()
    torch.manual_seed(99)
    second, other = fresh("llama").state_dict(), fresh("llama", seed=1).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["embed.weight"], other["embed.weight"])
