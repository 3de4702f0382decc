"""Where a token stands: rotary (arXiv:2104.09864) or a learned vector per place.

Both answer the same two calls: ``add(x, places)`` on the embeddings, and ``rotation(places)``,
the turn that every block applies to its queries and keys. Each leaves one of the two undone.

Legend: B sequences, T tokens, D width, H heads, E head size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from groundup.architecture.config import ModelConfig

Places = slice | Tensor  # T places that all sequences share, or [B, T] places of each
Rotation = Callable[[Tensor], Tensor]  # [B, H, T, E] -> [B, H, T, E]


class Learned(nn.Embedding):
    """One trained vector per place, added to the token's."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config.context_length, config.d_model)

    def add(self, x: Tensor, places: Places) -> Tensor:
        """``x`` [B, T, D] with the vectors of ``places`` added."""
        return x + self.weight[places]

    def rotation(self, places: Places) -> Rotation:
        """No turn."""
        return _unturned


class Rotary(nn.Module):
    """Turn each pair of features by an angle proportional to the place.

    The pairs are (i, i + E/2); pair i turns by place · base^(-2i/E), counter-clockwise for sign
    +1 (LLaMA), clockwise for -1 (NanoChat). Tables are float32, made once, never saved.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        head_dim = config.attention.head_dim
        exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
        speeds = 1.0 / config.positions.rotary_base**exponents
        angles = torch.arange(config.context_length, dtype=torch.float32)[:, None] * speeds
        cos, sin = angles.cos(), angles.sin() * config.positions.rotary_sign
        self.register_buffer("cos", torch.cat((cos, cos), -1), persistent=False)
        self.register_buffer("sin", torch.cat((-sin, sin), -1), persistent=False)

    def add(self, x: Tensor, places: Places) -> Tensor:
        """Nothing is added."""
        return x

    def rotation(self, places: Places) -> Rotation:
        """The turn for ``places``, in the type of what is turned."""
        cos, sin = self.cos[places], self.sin[places]  # [T, E] or [B, T, E]
        if cos.dim() == 3:
            cos, sin = cos[:, None], sin[:, None]  # one for all heads
        return lambda x: _Turn.apply(x, cos.to(x.dtype), sin.to(x.dtype))


def _unturned(x: Tensor) -> Tensor:
    return x


class _Turn(torch.autograd.Function):
    """x·cos + swap(x)·sin; a rotation's transpose is the turn back, so nothing of x is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turn(gradients[0], cos, -sin), None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return torch.addcmul(x * cos, torch.cat((second, first), -1), sin)
