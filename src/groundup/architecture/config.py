"""The closed list of fields that says which network is computed: five small frozen dataclasses.

Everything here changes the function from token ids to logits; precision, kernels and sharding do
not and live in `train`. `families` fills the fields, `counts` counts, `model` computes.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from groundup.errors import ConfigError


@dataclass(frozen=True)
class Attention:
    """Causal self-attention. Query heads share key/value heads in equal groups (GQA)."""

    n_heads: int
    n_kv_heads: int
    head_dim: int
    bias: bool  # on query, key and value
    output_bias: bool
    qk_norm: bool  # RMS norm without weight on queries and keys, after the rotation (NanoChat)


@dataclass(frozen=True)
class Positions:
    """Where a token stands: a rotation of queries and keys, or a learned vector per place."""

    kind: Literal["rotary", "learned"]
    rotary_base: float
    rotary_sign: int  # +1: LLaMA; -1: NanoChat, which turns the other way


@dataclass(frozen=True)
class Norm:
    """The normalisation before each sub-layer and at the end."""

    kind: Literal["rms", "layer"]
    eps: float
    weight: bool
    bias: bool


@dataclass(frozen=True)
class FeedForward:
    """The two-matrix (relu2, gelu_new) or three-matrix (swiglu) network of each block."""

    d_ff: int
    activation: Literal["relu2", "swiglu", "gelu_new"]
    bias: bool


@dataclass(frozen=True)
class ModelConfig:
    """A decoder-only Transformer.

    Raises:
        ConfigError: sizes that do not fit together; all problems at once.
    """

    family: str
    vocab_size: int
    n_layers: int
    d_model: int
    context_length: int
    attention: Attention
    positions: Positions
    norm: Norm
    feed_forward: FeedForward
    tie_embeddings: bool
    embedding_norm: bool  # normalise the embeddings before the first block (NanoChat)
    logit_softcap: float | None  # logits become cap · tanh(logits / cap)
    init: Literal["nanochat", "gpt2", "llama"]

    def __post_init__(self) -> None:
        problems = tuple(_problems(self))
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


def _problems(config: ModelConfig) -> list[str]:
    """What does not fit together, one sentence each."""
    attention = config.attention
    sizes = {
        "vocab_size": config.vocab_size,
        "n_layers": config.n_layers,
        "d_model": config.d_model,
        "context_length": config.context_length,
        "n_heads": attention.n_heads,
        "n_kv_heads": attention.n_kv_heads,
        "head size": attention.head_dim,
        "d_ff": config.feed_forward.d_ff,
    }
    found = [
        f"{name} is {size!r}, but must be a whole number of at least 1"
        for name, size in sizes.items()
        if not isinstance(size, int) or size < 1
    ]
    if found:
        return found
    if attention.n_heads % attention.n_kv_heads:
        found.append(
            f"{attention.n_heads} query heads cannot share {attention.n_kv_heads} key/value heads "
            "evenly: n_heads must be a multiple of n_kv_heads"
        )
    if config.positions.kind == "rotary" and attention.head_dim % 2:
        found.append(
            f"the head size is {attention.head_dim}, but must be even: rotary positions turn pairs"
        )
    return found


def _checked_keys(group: Any, values: Any, prefix: str, problems: list[str]) -> dict[str, Any]:
    """A copy of ``values``; what is unknown or missing goes to ``problems``."""
    if not isinstance(values, dict):
        problems.append(f"{prefix.rstrip('.') or 'the model'} is not a table of keys")
        return {}
    names = [field.name for field in dataclasses.fields(group)]
    problems += [f"unknown key {prefix}{key}" for key in values if key not in names]
    problems += [f"missing key {prefix}{name}" for name in names if name not in values]
    return dict(values)
