"""The decoders: each family a function that fills `ModelConfig` as its paper or code does.

    family     positions        norm                 feed-forward   notable
    nanochat   rotary, turned   RMS, no weight       ReLU², 4·d     normalised q, k, embeddings; cap
    llama      rotary           RMS                  SwiGLU         grouped heads; window; experts
    gpt2       learned          layer                GELU, 4·d      tied; biases everywhere
    gpt-j      rotary, part     layer, one           GELU           parallel; biases of the network
    gpt-neox   rotary, part     layer, two           GELU           parallel; biases everywhere
    opt        learned, +2      layer                ReLU           tied; Galactica: no biases, GELU
    bloom      ALiBi            layer                GELU           tied; normalised embeddings
    palm       rotary           layer, one           SwiGLU, 4·d    parallel; one key/value head
    lamda      T5's buckets     layer                gated GELU     heads wider than the model
    gopher     Transformer-XL   RMS                  4·d            Chinchilla has the same
    qwen2      rotary           RMS                  SwiGLU         biases on q, k, v
    qwen3      rotary           RMS                  SwiGLU         normalised q, k; experts
    olmo       rotary           layer, no weights    SwiGLU         no parameters in norms
    olmo2      rotary           RMS after a branch   SwiGLU         normalised q, k, whole width
    ctrl       sinusoidal       layer                ReLU           tied head with a bias
    mpt        ALiBi            layer, no bias       GELU           no biases; tied

Models that are one network under several names share a function (`families.FAMILIES`).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from groundup.architecture.config import GATED, Activation, ModelConfig, Norm, Positions
from groundup.architecture.sizes import LAYER_NORM, RMS_NORM, Sizes
from groundup.errors import ConfigError


def nanochat(
    sizes: Sizes,
    *,
    activation: Activation = "relu2",
    logit_softcap: float | None = 15.0,
) -> ModelConfig:
    """Karpathy's nanochat as of its release: no weights in norms, no biases, normalised q and k.

    github.com/karpathy/nanochat. With a gate the network is 8/3·d wide, to whole tiles: its three
    matrices have about the weights of the two at 4·d (arXiv:2002.05202, section 2).
    """
    tile = 64 if sizes.d_model >= 512 else 8  # of a narrow one 64 would be a large part
    gated = max(1, round(8 * sizes.d_model / (3 * tile))) * tile
    return sizes.model(
        "nanochat",
        attention=sizes.attention(bias=False, qk_norm=True),
        positions=Positions("rotary", rotary_base=10_000.0, rotary_sign=-1),
        norm=Norm("rms", eps=1e-6, weight=False, bias=False),
        feed_forward=sizes.feed_forward(
            activation, bias=False, d_ff=gated if activation in GATED else None
        ),
        tie_embeddings=False,
        embedding_norm=True,
        logit_softcap=logit_softcap,
        init="nanochat",
    )


def llama(
    sizes: Sizes,
    *,
    rotary_base: float = 10_000.0,
    eps: float = 1e-6,
    tie_embeddings: bool = False,
    window: int | None = None,
    n_experts: int = 0,
    n_experts_per_token: int = 0,
) -> ModelConfig:
    """LLaMA 1 to 3 (arXiv:2302.13971, 2307.09288, 2407.21783) and the Mistrals.

    Fewer key/value heads than query heads: LLaMA 2 70B and all later ones (arXiv:2305.13245). With
    a window: Mistral (arXiv:2310.06825). With experts: Mixtral (arXiv:2401.04088).
    """
    d_ff = -(-8 * sizes.d_model // (3 * 64)) * 64  # 8/3·d keeps 8·d² parameters; up to full tiles
    experts = {"n_experts": n_experts, "n_experts_per_token": n_experts_per_token}
    return sizes.model(
        "llama",
        attention=sizes.attention(bias=False, window=window),
        positions=Positions("rotary", rotary_base=rotary_base, rotary_sign=1),
        norm=Norm("rms", eps=eps, weight=True, bias=False),
        feed_forward=sizes.feed_forward("swiglu", bias=False, d_ff=d_ff, **experts),
        tie_embeddings=tie_embeddings,
        init="normal",
    )


def gpt2(sizes: Sizes) -> ModelConfig:
    """GPT-2 (Radford et al. 2019), without its dropout.

    Megatron's GPT (arXiv:2104.04473), MT-NLG (2201.11990) and Jurassic-1 are the same network.

    Raises:
        ConfigError: fewer key/value heads than query heads, which its format cannot hold.
    """
    if sizes.n_kv_heads != sizes.n_heads:
        raise ConfigError(
            "GPT-2 has one key/value head for each query head",
            where="model.n_kv_heads",
            fix="leave n_kv_heads out, or use the family llama",
        )
    return sizes.model(
        "gpt2",
        attention=sizes.attention(bias=True),
        positions=Positions("learned", rotary_base=10_000.0, rotary_sign=1),
        norm=LAYER_NORM,
        feed_forward=sizes.feed_forward("gelu_new", bias=True),
        tie_embeddings=True,
        init="gpt2",
    )


def gpt3(sizes: Sizes, *, window: int | None = None) -> ModelConfig:
    """GPT-3 (arXiv:2005.14165 section 2.1): GPT-2, every second layer of which sees a band.

    The paper does not say how wide the band is; without ``window`` every layer sees everything.
    """
    config = gpt2(sizes)
    if window is None:
        return config
    banded = dataclasses.replace(config.attention, window=window, pattern="alternating")
    return dataclasses.replace(config, attention=banded)


def gpt_j(sizes: Sizes, *, rotary_dim: int = 64) -> ModelConfig:
    """GPT-J (github.com/kingoflolz/mesh-transformer-jax): one norm feeds both branches.

    Only the network and the untied head have biases.
    """
    return sizes.model(
        "gpt-j",
        attention=sizes.attention(bias=False),
        positions=Positions(
            "rotary",
            rotary_fraction=min(rotary_dim / sizes.head_dim, 1.0),
            rotary_interleaved=True,
        ),
        norm=LAYER_NORM,
        feed_forward=sizes.feed_forward("gelu_new", bias=True),
        tie_embeddings=False,
        parallel_residual=True,
        shared_norm=True,
        head_bias=True,
    )


def codegen(sizes: Sizes, *, rotary_dim: int = 64) -> ModelConfig:
    """CodeGen (arXiv:2203.13474): GPT-J's network; its files have another order."""
    return dataclasses.replace(gpt_j(sizes, rotary_dim=rotary_dim), family="codegen")


def gpt_neox(sizes: Sizes, *, activation: Literal["gelu", "gelu_new"] = "gelu") -> ModelConfig:
    """GPT-NeoX (arXiv:2204.06745), Pythia (2304.01373) and Dolly 2.0, which is a tuned Pythia.

    The 20B's fused kernel computes GELU by tanh (its configs/20B.yml: bias-gelu-fusion).
    """
    return sizes.model(
        "gpt-neox",
        attention=sizes.attention(bias=True),
        positions=Positions("rotary", rotary_fraction=0.25),
        norm=LAYER_NORM,
        feed_forward=sizes.feed_forward(activation, bias=True),
        tie_embeddings=False,
        parallel_residual=True,
        init="neox",
    )


def opt(sizes: Sizes, *, embedding_dim: int | None = None) -> ModelConfig:
    """OPT (arXiv:2205.01068): two unused rows in the table of places.

    With ``embedding_dim`` it is the 350M model, which alone has narrow tokens, norms after the sum
    and no final norm. The spread of the first weights is that of section 2.2.
    """
    narrow = embedding_dim is not None
    return sizes.model(
        "opt",
        attention=sizes.attention(bias=True),
        positions=Positions("learned", n_extra=2),
        norm=Norm("layer", 1e-5, True, True, placement="post" if narrow else "pre"),
        feed_forward=sizes.feed_forward("relu", bias=True),
        tie_embeddings=True,
        final_norm=not narrow,
        embedding_dim=embedding_dim,
        embedding_projection="tokens" if narrow else "sum",
        init_std=0.006,
    )


def galactica(sizes: Sizes) -> ModelConfig:
    """Galactica (arXiv:2211.09085 section 4): OPT without biases, with GELU.

    Its norms have neither weight nor bias in the code it was trained with. The files that
    `transformers` opens hold them all the same, as ones and zeros that were never trained.
    """
    return sizes.model(
        "galactica",
        attention=sizes.attention(bias=False),
        positions=Positions("learned", n_extra=2),
        norm=Norm("layer", eps=1e-5, weight=False, bias=False),
        feed_forward=sizes.feed_forward("gelu", bias=False),
        tie_embeddings=True,
    )


def bloom(sizes: Sizes) -> ModelConfig:
    """BLOOM (arXiv:2211.05100): ALiBi, and a norm right after the embeddings.

    Its first weights have a spread of √(1/(3·d)), 0.0048 at 176B (github.com/bigscience-workshop).
    """
    return sizes.model(
        "bloom",
        attention=sizes.attention(bias=True),
        positions=Positions("alibi"),
        norm=LAYER_NORM,
        feed_forward=sizes.feed_forward("gelu_new", bias=True),
        tie_embeddings=True,
        embedding_norm=True,
        init_std=math.sqrt(1 / (3 * sizes.d_model)),
    )


def palm(sizes: Sizes) -> ModelConfig:
    """PaLM (arXiv:2204.02311 section 2): parallel branches, one key/value head, no biases.

    The norms' scales are left out, as in the published 540.35 billion: 118 · 18,432 and one more
    width would make it 540.36. Logits are scaled by 1/√d, for the tied embeddings start at a spread
    of one (section 5).
    """
    return sizes.model(
        "palm",
        attention=sizes.attention(bias=False),
        positions=Positions("rotary"),
        norm=Norm("layer", eps=1e-6, weight=False, bias=False),
        feed_forward=sizes.feed_forward("swiglu", bias=False),
        tie_embeddings=True,
        parallel_residual=True,
        shared_norm=True,
        init="t5",
        logit_scale=sizes.d_model**-0.5,
    )


def lamda(sizes: Sizes) -> ModelConfig:
    """LaMDA (arXiv:2201.08239 section 3): heads twice as wide as the model, T5's positions."""
    return sizes.model(
        "lamda",
        attention=sizes.attention(bias=False),
        positions=Positions("t5", n_buckets=32),
        norm=Norm("layer", eps=1e-6, weight=True, bias=False),
        feed_forward=sizes.feed_forward("geglu", bias=False),
        tie_embeddings=True,
    )


def gopher(sizes: Sizes) -> ModelConfig:
    """Gopher (arXiv:2112.11446 section 3.1) and Chinchilla (2203.15556): Transformer-XL positions.

    The papers' parameter counts contain the projection of relative places and one table of tokens.
    """
    return sizes.model(
        "gopher",
        attention=sizes.attention(bias=True),
        positions=Positions("relative"),
        norm=RMS_NORM,
        feed_forward=sizes.feed_forward("gelu", bias=True),
        tie_embeddings=True,
    )


def qwen2(sizes: Sizes, *, tie_embeddings: bool = False) -> ModelConfig:
    """Qwen 1 to 2.5 (arXiv:2309.16609, 2407.10671, 2412.15115): LLaMA with biases on q, k, v."""
    return sizes.model(
        "qwen2",
        attention=sizes.attention(bias=True, output_bias=False),
        positions=Positions("rotary", rotary_base=1_000_000.0),
        norm=RMS_NORM,
        feed_forward=sizes.feed_forward("swiglu", bias=False),
        tie_embeddings=tie_embeddings,
    )


def qwen3(
    sizes: Sizes,
    *,
    tie_embeddings: bool = False,
    n_experts: int = 0,
    n_experts_per_token: int = 0,
) -> ModelConfig:
    """Qwen3 (arXiv:2505.09388): no biases, queries and keys normalised head by head."""
    experts = {"n_experts": n_experts, "n_experts_per_token": n_experts_per_token}
    return sizes.model(
        "qwen3",
        attention=sizes.attention(bias=False, qk_norm=True, qk_norm_weight="head"),
        positions=Positions("rotary", rotary_base=1_000_000.0),
        norm=RMS_NORM,
        feed_forward=sizes.feed_forward("swiglu", bias=False, **experts),
        tie_embeddings=tie_embeddings,
    )


def olmo(sizes: Sizes, *, tie_embeddings: bool = False) -> ModelConfig:
    """OLMo (arXiv:2402.00838): layer norms without parameters."""
    return sizes.model(
        "olmo",
        attention=sizes.attention(bias=False),
        positions=Positions("rotary"),
        norm=Norm("layer", eps=1e-5, weight=False, bias=False),
        feed_forward=sizes.feed_forward("swiglu", bias=False),
        tie_embeddings=tie_embeddings,
    )


def olmo2(sizes: Sizes) -> ModelConfig:
    """OLMo 2 (arXiv:2501.00656): norms on the result of each branch, normalised q and k."""
    return sizes.model(
        "olmo2",
        attention=sizes.attention(bias=False, qk_norm=True, qk_norm_weight="all"),
        positions=Positions("rotary", rotary_base=500_000.0),
        norm=Norm("rms", eps=1e-6, weight=True, bias=False, placement="output"),
        feed_forward=sizes.feed_forward("swiglu", bias=False),
        tie_embeddings=False,
    )


def ctrl(sizes: Sizes) -> ModelConfig:
    """CTRL (arXiv:1909.05858): sinusoidal places, which are computed and hold no parameters.

    Beside them the embeddings are scaled by √d (its section 3.2, and the released code).
    """
    return sizes.model(
        "ctrl",
        attention=sizes.attention(bias=True),
        positions=Positions("sinusoidal"),
        norm=Norm("layer", eps=1e-6, weight=True, bias=True),
        feed_forward=sizes.feed_forward("relu", bias=True),
        tie_embeddings=True,
        head_bias=True,
        init="normal",
        embedding_scale=math.sqrt(sizes.d_model),
    )


def mpt(sizes: Sizes) -> ModelConfig:
    """MPT (github.com/mosaicml/llm-foundry): no biases anywhere, ALiBi."""
    return sizes.model(
        "mpt",
        attention=sizes.attention(bias=False),
        positions=Positions("alibi"),
        norm=Norm("layer", eps=1e-5, weight=True, bias=False),
        feed_forward=sizes.feed_forward("gelu", bias=False),
        tie_embeddings=True,
    )
