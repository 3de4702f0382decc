"""The closed list of fields that says which network is computed: five frozen dataclasses.

Everything here changes the function from token ids to logits; precision, kernels and sharding do
not and live in `train`. `families` fills the fields, `rules` says what fits together, `counts`
counts, `model` computes.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from groundup.architecture.rules import problems_of
from groundup.errors import ConfigError

Activation = Literal["relu2", "relu", "gelu", "gelu_new", "silu", "swiglu", "geglu"]
Init = Literal["nanochat", "normal", "gpt2", "neox", "t5", "t-fixup", "mup"]


@dataclass(frozen=True)
class Attention:
    """Self-attention. Query heads share key/value heads in equal groups (GQA, MQA)."""

    n_heads: int
    n_kv_heads: int
    head_dim: int
    bias: bool  # on query, key and value
    output_bias: bool
    qk_norm: bool  # queries and keys are normalised (NanoChat: after the rotation)
    qk_norm_weight: Literal["none", "head", "all"] = "none"  # one per head size, or per width
    window: int | None = None  # the last so many tokens are seen, itself among them (Mistral)
    pattern: Literal["full", "alternating"] = "full"  # alternating: the window in every 2nd layer
    scale: float | None = None  # of the scores; None: head_dim^-0.5 (T5: 1)


@dataclass(frozen=True)
class Positions:
    """Where a token stands: a rotation of queries and keys, a vector per place, or a bias."""

    kind: Literal["rotary", "learned", "sinusoidal", "alibi", "t5", "t5-layers", "relative", "none"]
    """t5: buckets of distances, one table for a stack; t5-layers: one in each layer (UMT5)."""
    rotary_base: float = 10_000.0
    rotary_sign: int = 1  # +1: LLaMA; -1: NanoChat, which turns the other way
    rotary_fraction: float = 1.0  # share of each head that turns (GPT-NeoX: a quarter)
    rotary_interleaved: bool = False  # neighbours turn together (GPT-J), not the two halves
    n_extra: int = 0  # rows of a learned table beyond the context (OPT, RoBERTa: 2)
    n_buckets: int = 0  # of T5's relative distances
    max_distance: int = 128  # beyond which T5's distances share the last bucket
    rotary_scaling: Literal["none", "linear", "llama3"] = "none"  # to reach beyond a first context
    rotary_factor: float = 1.0  # how much slower pairs turn (linear), or the slow ones (llama3)
    rotary_low: float = 1.0  # llama3: pairs that turn less often than this in the first context,
    rotary_high: float = 4.0  # … are slow; more often than that, untouched; between, in between
    rotary_original: int = 8192  # llama3: tokens of the first context
    padding_id: int | None = None
    """Learned: a token that has no place of its own; the others are counted without it (RoBERTa
    from elsewhere). None: every token has one."""


@dataclass(frozen=True)
class Norm:
    """The normalisation of each sub-layer and at the end."""

    kind: Literal["rms", "layer", "batch", "none"]  # none: T-Fixup trains without
    eps: float
    weight: bool
    bias: bool
    placement: Literal["pre", "post", "output"] = "pre"
    """Before a sub-layer; after its sum (BERT); or on its result before the sum (OLMo 2)."""


# What a trained network's activation may become: the gated ones have a matrix more.
GATED = ("swiglu", "geglu")
UNGATED = ("relu2", "relu", "gelu", "gelu_new", "silu")


@dataclass(frozen=True)
class FeedForward:
    """The two-matrix or (gated: swiglu, geglu) three-matrix network of each block."""

    d_ff: int
    activation: Activation
    bias: bool
    n_experts: int = 0  # 0: one dense network; else a router chooses (Mixtral)
    n_experts_per_token: int = 0

    @property
    def n_matrices(self) -> int:
        """Weight matrices of one network: up and down, or gate, up and down."""
        return 3 if self.activation in GATED else 2


@dataclass(frozen=True)
class ModelConfig:
    """A Transformer: decoder, prefix decoder, encoder, or encoder and decoder.

    Raises:
        ConfigError: sizes that do not fit together; all problems at once.
    """

    family: str
    vocab_size: int
    n_layers: int  # of the decoder, or of an encoder that stands alone
    d_model: int
    context_length: int
    attention: Attention
    positions: Positions
    norm: Norm
    feed_forward: FeedForward
    tie_embeddings: bool
    embedding_norm: bool  # normalise the embeddings before the first block (NanoChat, BLOOM, BERT)
    logit_softcap: float | None  # logits become cap · tanh(logits / cap)
    init: Init  # see `model.init`
    stack: Literal["decoder", "prefix", "encoder", "encoder-decoder"] = "decoder"
    n_encoder_layers: int = 0  # of an encoder beside the decoder
    parallel_residual: bool = False  # attention and feed-forward read the same x (GPT-J, PaLM)
    shared_norm: bool = False  # of parallel branches: one norm for both (GPT-J)
    final_norm: bool = True
    head: Literal["tokens", "none", "detection"] = "tokens"
    """none: hidden states are the result (BERT); detection: was this token replaced? (ELECTRA)"""
    head_bias: bool = False
    head_transform: bool = False  # a dense layer and a norm before the head (BERT's masked tokens)
    embedding_dim: int | None = None  # of factorised embeddings (ALBERT); None: d_model
    embedding_projection: Literal["sum", "tokens"] = "sum"
    """What is brought to d_model: the sum of all embeddings (ALBERT), or the tokens (OPT 350M)."""
    n_token_types: int = 0  # segment embeddings (BERT: 2)
    pooler: bool = False  # a dense layer on the first token (BERT)
    sentence_head: bool = False  # two classes from the pooler: next sentence, or sentence order
    shared_layers: bool = False  # all layers have one set of weights (ALBERT)
    query_stream: bool = False  # a 2nd stream that knows its place, not its token (XLNet)
    embedding_scale: float = 1.0  # of the tokens' vectors (CTRL, Marian: √d_model)
    logit_scale: float = 1.0  # of what the head reads (T5 with a tied head: d_model^-0.5)
    init_std: float = 0.02  # of the Gaussian of `init` normal and gpt2
    mup_base_width: int | None = None  # init mup: the width whose learning rate is known

    def __post_init__(self) -> None:
        problems = tuple(problems_of(self))
        if problems:
            raise ConfigError("this model cannot be built", where="model", problems=problems)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionaries, as written to JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """The inverse of `to_dict`.

        Raises:
            ConfigError: keys that are unknown or missing, named with their group.
        """
        problems: list[str] = []
        plain = _checked_keys(cls, values, "", problems)
        for name, group in _GROUPS.items():
            if name in plain:
                plain[name] = _checked_keys(group, plain[name], f"{name}.", problems)
        if problems:
            raise ConfigError(
                "not the description of a model", where="model", problems=tuple(problems)
            )
        groups = {name: group(**plain.pop(name)) for name, group in _GROUPS.items()}
        return cls(**plain, **groups)


_GROUPS: dict[str, Any] = {
    "attention": Attention,
    "positions": Positions,
    "norm": Norm,
    "feed_forward": FeedForward,
}


def _checked_keys(group: Any, values: Any, prefix: str, problems: list[str]) -> dict[str, Any]:
    """A copy of ``values``; keys that are unknown, or needed and missing, go to ``problems``."""
    if not isinstance(values, dict):
        problems.append(f"{prefix.rstrip('.') or 'the model'} is not a table of keys")
        return {}
    fields = dataclasses.fields(group)
    names = [field.name for field in fields]
    needed = [field.name for field in fields if field.default is dataclasses.MISSING]
    problems += [f"unknown key {prefix}{key}" for key in values if key not in names]
    problems += [f"missing key {prefix}{name}" for name in needed if name not in values]
    return dict(values)
