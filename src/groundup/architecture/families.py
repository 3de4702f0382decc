"""The families by name, and `build`, which makes one of them at any size.

A family is a function from sizes to `ModelConfig` (`decoders`, `encoders`, `encoder_decoders`, each
with its table of differences). Models that are one network under several names share a function.
All families are counted (`counts`), planned with and computed (`model.transformer`); those in
`TRAINABLE` have been trained to learn what to expect of them (docs/experiments.md).
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from groundup.architecture import decoders, encoder_decoders, encoders
from groundup.architecture.config import ModelConfig
from groundup.architecture.sizes import Sizes
from groundup.errors import ConfigError

HEAD_DIM = 64  # GPT-2's and the small LLaMAs' head size; larger heads are for widths beyond 2,000


def build(
    family: str,
    *,
    vocab_size: int,
    n_layers: int,
    d_model: int,
    context_length: int,
    n_heads: int | None = None,
    n_kv_heads: int | None = None,
    head_dim: int | None = None,
    d_ff: int | None = None,
    **variant: Any,
) -> ModelConfig:
    """The config of one family at one size.

    Args:
        family: a key of `FAMILIES`.
        vocab_size: number of token ids.
        n_layers: number of blocks (of the decoder, where there is an encoder beside it).
        d_model: width of the residual stream.
        context_length: most tokens the model sees at once.
        n_heads: query heads; None derives heads of size 64, or the largest even divisor below.
        n_kv_heads: key/value heads; None means as many as query heads.
        head_dim: size of a head; None divides the width among the heads.
        d_ff: width of the feed-forward network; None takes the family's rule.
        variant: what else the family's function takes, for example ``tie_embeddings``.

    Raises:
        ConfigError: an unknown family (the nearest is named) or variant, or sizes that do not fit
            together.
    """
    require_variant(family, variant)
    function = FAMILIES[family]
    if n_heads is None:
        n_heads = max(d_model // (head_dim or _head_dim(d_model)), 1)
    elif n_heads < 1 or (head_dim is None and d_model % n_heads):
        raise ConfigError(
            f"a width of {d_model} cannot be divided into {n_heads} heads",
            where="model.n_heads",
            fix="choose n_heads so that it divides d_model, or leave it out",
        )
    sizes = Sizes(
        vocab_size=vocab_size,
        n_layers=n_layers,
        d_model=d_model,
        context_length=context_length,
        n_heads=n_heads,
        n_kv_heads=n_heads if n_kv_heads is None else n_kv_heads,
        head_dim=d_model // n_heads if head_dim is None else head_dim,
        d_ff=d_ff,
    )
    return function(sizes, **variant)


def require_variant(family: str, variant: Iterable[str]) -> None:
    """Check that a family's function takes these beside the sizes.

    Raises:
        ConfigError: it does not, or there is no such family.
    """
    require_family(family)
    known = [name for name in inspect.signature(FAMILIES[family]).parameters if name != "sizes"]
    if unknown := [name for name in variant if name not in known]:
        raise ConfigError(
            f"the family {family} has no {' and no '.join(unknown)}",
            where=f"model.{unknown[0]}",
            fix=f"it takes {', '.join(known)}" if known else "it takes sizes only",
        )


def require_family(name: str) -> None:
    """Check that there is such a family.

    Raises:
        ConfigError: there is none; the nearest is named.
    """
    if name not in FAMILIES:
        nearest = difflib.get_close_matches(name, FAMILIES, n=1, cutoff=0.4)
        raise ConfigError(
            f"unknown model family {name!r}",
            where="model.family",
            fix=f"did you mean {nearest[0]}?" if nearest else f"use one of {', '.join(FAMILIES)}",
        )


TRAINABLE = ("nanochat", "llama", "gpt2")  # those with runs behind the plan's law

FAMILIES: dict[str, Callable[..., ModelConfig]] = {
    "nanochat": decoders.nanochat,
    "llama": decoders.llama,
    "gpt2": decoders.gpt2,
    "gpt3": decoders.gpt3,
    "megatron": decoders.gpt2,
    "mt-nlg": decoders.gpt2,
    "jurassic": decoders.gpt2,
    "llm-foundry": decoders.gpt2,
    "gpt-j": decoders.gpt_j,
    "codegen": decoders.codegen,
    "gpt-neox": decoders.gpt_neox,
    "pythia": decoders.gpt_neox,
    "dolly": decoders.gpt_neox,
    "opt": decoders.opt,
    "galactica": decoders.galactica,
    "bloom": decoders.bloom,
    "palm": decoders.palm,
    "lamda": decoders.lamda,
    "gopher": decoders.gopher,
    "chinchilla": decoders.gopher,
    "mistral": decoders.llama,
    "mixtral": decoders.llama,
    "qwen": decoders.qwen2,
    "qwen2": decoders.qwen2,
    "qwen3": decoders.qwen3,
    "olmo": decoders.olmo,
    "olmo2": decoders.olmo2,
    "ctrl": decoders.ctrl,
    "mpt": decoders.mpt,
    "bert": encoders.bert,
    "ernie": encoders.ernie,
    "roberta": encoders.roberta,
    "ernie-m": encoders.roberta,
    "distilbert": encoders.distilbert,
    "electra": encoders.electra,
    "albert": encoders.albert,
    "xlnet": encoders.xlnet,
    "t5": encoder_decoders.t5,
    "t5-v1.1": encoder_decoders.t5_v1_1,
    "mt5": encoder_decoders.mt5,
    "umt5": encoder_decoders.umt5,
    "byt5": encoder_decoders.t5_v1_1,
    "ul2": encoder_decoders.t5_v1_1,
    "bart": encoder_decoders.bart,
    "marian": encoder_decoders.marian,
}


def _head_dim(d_model: int) -> int:
    """The largest even divisor of the width up to `HEAD_DIM` (for an odd width, the width)."""
    sizes = (size for size in range(HEAD_DIM, 1, -2) if d_model % size == 0)
    return next(sizes, max(d_model, 1))
