"""The families: each a function that fills `ModelConfig` the way its paper or code does.

    family    positions        norm                 feed-forward     embeddings
    nanochat  rotary, turned   RMS without weight   ReLU², 4·d       untied, normalised; softcap 15
    llama     rotary           RMS                  SwiGLU, 8/3·d    untied
    gpt2      learned          LayerNorm            GELU, 4·d        tied; biases everywhere

Sources: github.com/karpathy/nanochat; arXiv:2302.13971 (LLaMA) and 2305.13245 (GQA);
Radford et al. 2019 (GPT-2). `transformers` has each as a class of its own; the exports open there.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from groundup.architecture.config import Attention, FeedForward, ModelConfig, Norm, Positions
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
    d_ff: int | None = None,
) -> ModelConfig:
    """The config of one family at one size.

    Args:
        family: a key of `FAMILIES`.
        vocab_size: number of token ids.
        n_layers: number of blocks.
        d_model: width of the residual stream.
        context_length: most tokens the model sees at once.
        n_heads: query heads; None derives heads of size 64, or the largest even divisor below.
        n_kv_heads: key/value heads; None means as many as query heads.
        d_ff: width of the feed-forward network; None takes the family's rule.

    Raises:
        ConfigError: an unknown family (the nearest is named) or sizes that do not fit together.
    """
    if family not in FAMILIES:
        nearest = difflib.get_close_matches(family, FAMILIES, n=1, cutoff=0.4)
        raise ConfigError(
            f"unknown model family {family!r}",
            where="model.family",
            fix=f"did you mean {nearest[0]}?" if nearest else f"use one of {', '.join(FAMILIES)}",
        )
    if n_heads is None:
        n_heads = max(d_model // _head_dim(d_model), 1)
    elif n_heads < 1 or d_model % n_heads:
        raise ConfigError(
            f"a width of {d_model} cannot be divided into {n_heads} heads",
            where="model.n_heads",
            fix="choose n_heads so that it divides d_model, or leave it out",
        )
    return FAMILIES[family](
        vocab_size=vocab_size,
        n_layers=n_layers,
        d_model=d_model,
        context_length=context_length,
        n_heads=n_heads,
        n_kv_heads=n_heads if n_kv_heads is None else n_kv_heads,
        d_ff=d_ff,
    )


def nanochat(
    *,
    vocab_size: int,
    n_layers: int,
    d_model: int,
    context_length: int,
    n_heads: int,
    n_kv_heads: int,
    d_ff: int | None = None,
) -> ModelConfig:
    """Karpathy's nanochat as of its release: no weights in norms, no biases, normalised q and k."""
    return ModelConfig(
        family="nanochat",
        vocab_size=vocab_size,
        n_layers=n_layers,
        d_model=d_model,
        context_length=context_length,
        attention=Attention(
            n_heads, n_kv_heads, d_model // n_heads, bias=False, output_bias=False, qk_norm=True
        ),
        positions=Positions("rotary", rotary_base=10_000.0, rotary_sign=-1),
        norm=Norm("rms", eps=1e-6, weight=False, bias=False),
        feed_forward=FeedForward(4 * d_model if d_ff is None else d_ff, "relu2", bias=False),
        tie_embeddings=False,
        embedding_norm=True,
        logit_softcap=15.0,
        init="nanochat",
    )


def llama(
    *,
    vocab_size: int,
    n_layers: int,
    d_model: int,
    context_length: int,
    n_heads: int,
    n_kv_heads: int,
    d_ff: int | None = None,
) -> ModelConfig:
    """LLaMA; with fewer key/value heads than query heads, LLaMA 2 70B and 3."""
    derived = -(-8 * d_model // (3 * 64)) * 64  # 8/3·d keeps 8·d² parameters; up to full tiles
    return ModelConfig(
        family="llama",
        vocab_size=vocab_size,
        n_layers=n_layers,
        d_model=d_model,
        context_length=context_length,
        attention=Attention(
            n_heads, n_kv_heads, d_model // n_heads, bias=False, output_bias=False, qk_norm=False
        ),
        positions=Positions("rotary", rotary_base=10_000.0, rotary_sign=1),
        norm=Norm("rms", eps=1e-6, weight=True, bias=False),
        feed_forward=FeedForward(derived if d_ff is None else d_ff, "swiglu", bias=False),
        tie_embeddings=False,
        embedding_norm=False,
        logit_softcap=None,
        init="llama",
    )


def gpt2(
    *,
    vocab_size: int,
    n_layers: int,
    d_model: int,
    context_length: int,
    n_heads: int,
    n_kv_heads: int,
    d_ff: int | None = None,
) -> ModelConfig:
    """GPT-2, without its dropout.

    Raises:
        ConfigError: fewer key/value heads than query heads, which its format cannot hold.
    """
    if n_kv_heads != n_heads:
        raise ConfigError(
            "GPT-2 has one key/value head for each query head",
            where="model.n_kv_heads",
            fix="leave n_kv_heads out, or use the family llama",
        )
    return ModelConfig(
        family="gpt2",
        vocab_size=vocab_size,
        n_layers=n_layers,
        d_model=d_model,
        context_length=context_length,
        attention=Attention(
            n_heads, n_kv_heads, d_model // n_heads, bias=True, output_bias=True, qk_norm=False
        ),
        positions=Positions("learned", rotary_base=10_000.0, rotary_sign=1),
        norm=Norm("layer", eps=1e-5, weight=True, bias=True),
        feed_forward=FeedForward(4 * d_model if d_ff is None else d_ff, "gelu_new", bias=True),
        tie_embeddings=True,
        embedding_norm=False,
        logit_softcap=None,
        init="gpt2",
    )


FAMILIES: dict[str, Callable[..., ModelConfig]] = {
    "nanochat": nanochat,
    "llama": llama,
    "gpt2": gpt2,
}


def _head_dim(d_model: int) -> int:
    """The largest even divisor of the width up to `HEAD_DIM` (for an odd width, the width)."""
    sizes = (size for size in range(HEAD_DIM, 1, -2) if d_model % size == 0)
    return next(sizes, max(d_model, 1))
