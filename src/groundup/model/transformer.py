"""The decoder-only Transformer of every family: x + attention(norm(x)), then x + network(norm(x)).

What differs between families is chosen at construction, so the forward pass has no branches:
norms (RMS or LayerNorm, with or without weight), positions (rotary or learned), activation
(ReLU², SwiGLU, GELU), tied or untied head, soft-capped logits. Notable:

- parameters have the same names in all families (``blocks.3.attention.q.weight``);
- how attention is computed is an argument, which is how `generate` brings its key/value cache;
- RMS norm, ReLU² and the soft cap have backward passes of their own that keep one big tensor: on
  one core 1.4, 1.4 and 1.4 times as fast as torch's (forward and backward);
- under autocast the residual stream and the norms' statistics stay float32.

Legend: B sequences, T tokens, D width, H query heads, G key/value heads, E head size, F d_ff,
V vocabulary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundup.architecture.config import ModelConfig
from groundup.errors import ConfigError, InputError
from groundup.model.attention import ATTENTION, Attend
from groundup.model.positions import Learned, Places, Rotary, Rotation

LayerAttend = Callable[[int, Tensor, Tensor, Tensor], Tensor]  # (layer, q, k, v), for a cache


class Transformer(nn.Module):
    """Token ids to logits.

    Weights are torch's defaults until `init.init_weights` or `convert.load_exported` sets them.

    Args:
        config: the architecture.
        attention: a key of `attention.ATTENTION`; no weight depends on it.

    Raises:
        ConfigError: the config asks for what is not computed here (all of it is named).
    """

    def __init__(self, config: ModelConfig, attention: str = "sdpa") -> None:
        super().__init__()
        _require_computed(config)
        self.config = config
        self.attend: Attend = ATTENTION[attention]
        self.embed = nn.Embedding(config.vocab_size, config.d_model)
        self.position = POSITIONS[config.positions.kind](config)
        self.embedding_norm = make_norm(config) if config.embedding_norm else nn.Identity()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = make_norm(config)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.head.weight = self.embed.weight
        cap = config.logit_softcap
        self.softcap: Callable[[Tensor], Tensor] = (
            nn.Identity() if cap is None else partial(softcap, cap=cap)
        )

    def forward(
        self, input_ids: Tensor, attend: LayerAttend | None = None, start: int | Tensor = 0
    ) -> Tensor:
        """Logits [B, T, V] of the token after each of ``input_ids`` [B, T] int64.

        See `hidden` for the arguments and what is raised.
        """
        return self.logits(self.hidden(input_ids, attend, start))

    def hidden(
        self, input_ids: Tensor, attend: LayerAttend | None = None, start: int | Tensor = 0
    ) -> Tensor:
        """The normalised output [B, T, D] of the last block.

        Args:
            input_ids: [B, T] int64, each below vocab_size (not checked here: it would cost a
                synchronisation per step).
            attend: called as ``attend(layer, q, k, v)`` instead of the model's own attention.
            start: place of the first token, or [B] of each sequence's first token; places below
                zero (left padding) count as zero.

        Raises:
            InputError: more tokens than the context length.
        """
        places = self._places(input_ids, start)
        rotate = self.position.rotation(places)
        x = self.embedding_norm(self.position.add(self.embed(input_ids), places))
        for layer, block in enumerate(self.blocks):
            x = block(x, rotate, partial(attend, layer) if attend else self.attend)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """The head: [..., D] to [..., V], in the type the head's product gives.

        Under autocast that is bfloat16 (the tanh of the soft cap is still computed in float32,
        then rounded): take the log-softmax in float32, chunk by chunk if memory is short.
        """
        return self.softcap(self.head(hidden))

    def _places(self, input_ids: Tensor, start: int | Tensor) -> Places:
        n_tokens = input_ids.shape[1]
        if isinstance(start, Tensor):
            return (start[:, None] + torch.arange(n_tokens, device=start.device)).clamp_(min=0)
        if start + n_tokens > self.config.context_length:
            raise InputError(
                f"{start + n_tokens} tokens are more than this model's context of "
                f"{self.config.context_length}",
                fix="give it shorter windows, or train with a larger model.context_length",
            )
        return slice(start, start + n_tokens)


class Block(nn.Module):
    """One layer: attention, then the feed-forward network, each added to the residual stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = make_norm(config)
        self.attention = SelfAttention(config)
        self.feed_forward_norm = make_norm(config)
        self.feed_forward = FEED_FORWARD[config.feed_forward.activation](config)

    def forward(self, x: Tensor, rotate: Rotation, attend: Attend) -> Tensor:
        """[B, T, D] to [B, T, D]."""
        x = x + self.attention(self.attention_norm(x), rotate, attend)
        return x + self.feed_forward(self.feed_forward_norm(x))


class SelfAttention(nn.Module):
    """Project, turn, attend, project back."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        attention, d_model = config.attention, config.d_model
        self.head_dim = attention.head_dim
        q_width = attention.n_heads * attention.head_dim
        kv_width = attention.n_kv_heads * attention.head_dim
        self.q = nn.Linear(d_model, q_width, bias=attention.bias)
        self.k = nn.Linear(d_model, kv_width, bias=attention.bias)
        self.v = nn.Linear(d_model, kv_width, bias=attention.bias)
        self.o = nn.Linear(q_width, d_model, bias=attention.output_bias)
        self.qk_norm = WeightlessRmsNorm(config.norm.eps) if attention.qk_norm else nn.Identity()

    def forward(self, x: Tensor, rotate: Rotation, attend: Attend) -> Tensor:
        """[B, T, D] to [B, T, D]."""
        q, k, v = self._heads(self.q(x)), self._heads(self.k(x)), self._heads(self.v(x))
        q, k = self.qk_norm(rotate(q)), self.qk_norm(rotate(k))
        return self.o(attend(q, k, v).transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        """[B, T, H·E] to [B, H, T, E]."""
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


class FeedForward(nn.Module):
    """down(activation(up(x)))."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d_model, d_ff, bias = config.d_model, config.feed_forward.d_ff, config.feed_forward.bias
        self.up = nn.Linear(d_model, d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_model, bias=bias)
        self.activation = ACTIVATION[config.feed_forward.activation]

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] to [B, T, D]."""
        return self.down(self.activation(self.up(x)))


class SwiGlu(nn.Module):
    """down(silu(gate(x)) · up(x)): Shazeer, arXiv:2002.05202."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d_model, d_ff, bias = config.d_model, config.feed_forward.d_ff, config.feed_forward.bias
        self.gate = nn.Linear(d_model, d_ff, bias=bias)
        self.up = nn.Linear(d_model, d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] to [B, T, D]."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


class WeightlessRmsNorm(nn.Module):
    """x / √(mean(x²) + eps) over the last dimension: arXiv:1910.07467 without its gain."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Same shape and type."""
        return _RmsNorm.apply(x, self.eps)


class RmsNorm(WeightlessRmsNorm):
    """The same with a gain for each feature."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__(eps)
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape and type."""
        return self.weight * super().forward(x)


def make_norm(config: ModelConfig) -> nn.Module:
    """The norm of the residual stream."""
    norm = config.norm
    if norm.kind == "layer":
        return nn.LayerNorm(config.d_model, norm.eps, norm.weight, norm.bias)
    return RmsNorm(config.d_model, norm.eps) if norm.weight else WeightlessRmsNorm(norm.eps)


def softcap(logits: Tensor, cap: float) -> Tensor:
    """Cap · tanh(logits / cap): near the identity for small logits, never beyond ± cap."""
    return _SoftCap.apply(logits, cap)


def relu_squared(x: Tensor) -> Tensor:
    """max(x, 0)²: So et al., arXiv:2109.08668."""
    return _ReluSquared.apply(x)


POSITIONS: dict[str, Callable[[ModelConfig], Learned | Rotary]] = {
    "learned": Learned,
    "rotary": Rotary,
}
ACTIVATION: dict[str, Callable[[Tensor], Tensor]] = {
    "relu2": relu_squared,
    "gelu_new": partial(F.gelu, approximate="tanh"),
}
FEED_FORWARD: dict[str, Callable[[ModelConfig], nn.Module]] = {
    "relu2": FeedForward,
    "gelu_new": FeedForward,
    "swiglu": SwiGlu,
}


# Fields that have a default and are computed at any value; of the others the default is.
_COMPUTED = ("positions.rotary_base", "positions.rotary_sign")


def _require_computed(config: ModelConfig) -> None:
    """Raise `ConfigError` for every field that would make this another function than asked for."""
    tables: dict[str, tuple[str, dict[str, Any]]] = {
        "positions.kind": (config.positions.kind, POSITIONS),
        "feed_forward.activation": (config.feed_forward.activation, FEED_FORWARD),
    }
    problems = [
        f"{name} {value} is not computed here; {', '.join(table)} are"
        for name, (value, table) in tables.items()
        if value not in table
    ]
    problems += [
        f"{name} {value} is not computed here; {default} is"
        for name, value, default in _with_defaults(config)
        if value != default and name not in _COMPUTED
    ]
    if config.init == "none":
        problems.append("init none: how its weights start is not known here")
    if problems:
        raise ConfigError(
            f"the family {config.family}, as configured, can be planned with but not be computed",
            where="model",
            fix="use one of the families nanochat, llama and gpt2",
            problems=tuple(problems),
        )


def _with_defaults(group: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted name, value and default of each field that has a default, groups included."""
    for field in dataclasses.fields(group):
        value = getattr(group, field.name)
        if dataclasses.is_dataclass(value):
            yield from _with_defaults(value, f"{field.name}.")
        elif field.default is not dataclasses.MISSING:
            yield prefix + field.name, value, field.default


class _RmsNorm(torch.autograd.Function):
    """y = x·r; dx = r·(dy - y·mean(y·dy)), with r = 1/√(mean(x²) + eps) in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = size.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        y = (x * scale).to(x.dtype)
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        y, scale = ctx.saved_tensors
        gradient = gradients[0]
        along = (gradient * y).mean(-1, keepdim=True, dtype=torch.float32)
        return ((gradient - y * along) * scale).to(y.dtype), None


class _ReluSquared(torch.autograd.Function):
    """y = r²; dx = 2·r·dy, with r = max(x, 0)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = x.relu()
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return (gradients[0] * positive).mul_(2)


class _SoftCap(torch.autograd.Function):
    """y = cap·t; dx = (1 - t²)·dy, with t = tanh(x / cap)."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, cap: float) -> Tensor:
        squashed = (logits * (1 / cap)).tanh_()
        ctx.save_for_backward(squashed)
        return squashed * cap

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (squashed,) = ctx.saved_tensors
        return torch.ops.aten.tanh_backward(gradients[0], squashed), None
