"""Collectives that gradients pass through, for processes that share a layer or a row.

Each does one thing forward and another backward (Shoeybi et al. 2019, arXiv:1909.08053, section 3:
f and g; Korthikanti et al. 2022, arXiv:2205.05198, section 4.2.2: those that divide tokens):

    function     forward                  backward                 its result is used
    copied       nothing                  sum                      for a part of the work
    reduced      sum                      nothing                  alike by all
    gathered     pieces put together      sum, own piece of it     for a part of the work
    scattered    sum, own piece of it     pieces put together      as a piece
    own_piece    own piece                pieces put together      as a piece
    whole        pieces put together      own piece                alike by all

What is used alike by all has the same gradient on all; of what is used for a part each process has
a part of the gradient, and the sum belongs to all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Work = Callable[[Tensor, "ProcessGroup", int], Tensor]


def copied(x: Tensor, group: ProcessGroup) -> Tensor:
    """``x``, which all have alike."""
    return _Collective.apply(x, group, 0, nothing, total)


def reduced(x: Tensor, group: ProcessGroup) -> Tensor:
    """The sum of what each has."""
    return _Collective.apply(x, group, 0, total, nothing)


def gathered(x: Tensor, group: ProcessGroup, dim: int) -> Tensor:
    """All pieces along ``dim``."""
    return _Collective.apply(x, group, dim, together, piece_of_total)


def scattered(x: Tensor, group: ProcessGroup, dim: int) -> Tensor:
    """The process's own piece along ``dim`` of the sum."""
    return _Collective.apply(x, group, dim, piece_of_total, together)


def own_piece(x: Tensor, group: ProcessGroup, dim: int) -> Tensor:
    """Its own piece along ``dim`` of what all have alike."""
    return _Collective.apply(x, group, dim, piece, together)


def whole(x: Tensor, group: ProcessGroup, dim: int) -> Tensor:
    """All pieces along ``dim``, with which all do the same."""
    return _Collective.apply(x, group, dim, together, piece)


def nothing(x: Tensor, group: ProcessGroup, dim: int) -> Tensor:
    """``x``."""
    return x


def total(x: Tensor, group: ProcessGroup, dim: int = 0) -> Tensor:
    """A new tensor, the sum over the processes: the same bits on all."""
    result = x.detach().clone(memory_format=torch.contiguous_format)
    torch.distributed.all_reduce(result, group=group)
    return result


def together(x: Tensor, group: ProcessGroup, dim: int) -> Tensor:
    """What every process has, along ``dim`` in the order of their numbers."""
    x = x.detach().contiguous()
    parts = [torch.empty_like(x) for _ in range(group.size())]
    torch.distributed.all_gather(parts, x, group=group)
    return torch.cat(parts, dim)


def piece(x: Tensor, group: ProcessGroup, dim: int) -> Tensor:
    """A process's share of ``dim``, which divides evenly."""
    return x.detach().tensor_split(group.size(), dim)[group.rank()].contiguous()


def piece_of_total(x: Tensor, group: ProcessGroup, dim: int) -> Tensor:
    """`piece` of `total`; no process ever has the whole sum."""
    parts = [part.contiguous() for part in x.detach().tensor_split(group.size(), dim)]
    result = torch.empty_like(parts[0])
    torch.distributed.reduce_scatter(result, parts, group=group)
    return result


class _Collective(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, group: ProcessGroup, dim: int, there: Work, back: Work
    ) -> Tensor:
        ctx.group, ctx.dim, ctx.back = group, dim, back
        result = there(x, group, dim)
        return x.view_as(x) if result is x else result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        return ctx.back(gradients[0], ctx.group, ctx.dim), None, None, None, None
