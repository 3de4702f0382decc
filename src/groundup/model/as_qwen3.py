"""nanochat's network with SwiGLU and without a cap, written as the Qwen3 that computes the same.

No class of `transformers` has that network, but Qwen3 has all of its parts in another form:

- the norm of embeddings, which knows no place, is applied to the table;
- norms without weights are norms with weights of one;
- a head that turns the other way is the one whose halves have changed places, in queries and keys.
  The norm of queries and keys may then stand before the turn, which keeps its size.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from groundup.architecture.config import ModelConfig
from groundup.model.formats.configs import OWN, write_config
from groundup.model.transformer import Transformer
from groundup.model.weights import weights_of


def as_qwen3(model: Transformer) -> Transformer:
    """The same function as a Qwen3 where only that can be written for others; else the model.

    Args:
        model: not quantised; weights that stay the same are shared, not copied.
    """
    config = written_as(model.config)
    if config is model.config:
        return model
    with torch.device("meta"):
        found = Transformer(config)
    given = weights_of(model)
    weights = {
        name: _turned(given[name], config) if _turns(name) else given[name]
        for name in weights_of(found)
        if name in given
    }
    with torch.no_grad():
        weights["embed.weight"] = model.embedding_norm(given["embed.weight"])
    norms = {
        name: torch.ones_like(weight, device=weights["embed.weight"].device)
        for name, weight in weights_of(found).items()
        if name not in given
    }
    found.load_state_dict(weights | norms, assign=True)
    return found.train(model.training)


def written_as(config: ModelConfig) -> ModelConfig:
    """The config of `as_qwen3`."""
    suits = config.embedding_norm and config.attention.qk_norm and not config.tie_embeddings
    if config.family != "nanochat" or not suits or write_config(config)[0].model_type != OWN:
        return config
    found = dataclasses.replace(
        config,
        family="qwen3",
        attention=dataclasses.replace(config.attention, qk_norm_weight="head"),
        positions=dataclasses.replace(config.positions, rotary_sign=1),
        norm=dataclasses.replace(config.norm, weight=True),
        embedding_norm=False,
    )
    is_held = write_config(found)[0].model_type == "qwen3"  # without a cap, with SwiGLU
    return found if is_held else config


def _turns(name: str) -> bool:
    return name.endswith(("attention.q.weight", "attention.k.weight"))


def _turned(weight: Tensor, config: ModelConfig) -> Tensor:
    """[heads · E, D] with the halves of each head exchanged."""
    halves = weight.detach().unflatten(0, (-1, 2, config.attention.head_dim // 2))
    return halves.flip(1).flatten(0, 2)
