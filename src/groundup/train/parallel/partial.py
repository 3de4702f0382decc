"""Weights that several processes hold whole, each with a part of their gradient.

A norm between layers whose tokens are divided, keys that all heads share, an embedding that the
first stage reads and the last one writes: every process computes the gradient from what it has, and
the weight's gradient is the sum. FSDP does that for its own mesh; what is marked here is summed
behind it, once a step (as Megatron-LM does with its norms: arXiv:2205.05198, section 4.2.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from groundup.train.distributed import Ranks
from groundup.train.parallel.pieces import local_tensor

SumAxis = Literal["tp", "pp", "ends"]  # ends: first and last stage of a pipeline of more


@dataclass(frozen=True)
class Mark:
    """How a weight's gradient is put together.

    Attributes:
        axes: its parts are on the processes along these.
        counts: whether this process counts it in norms over all weights; with ``pp`` one stage
            alone does.
    """

    axes: tuple[SumAxis, ...]
    counts: bool = True


def mark(model: nn.Module, name: str, axis: SumAxis, *, counts: bool = True) -> None:
    """The gradient of the parameter ``name`` is to be summed along ``axis`` too."""
    marks: dict[str, Mark] = model.__dict__.setdefault("partial_gradients", {})
    before = marks.get(name, Mark(()))
    axes = before.axes if axis in before.axes else (*before.axes, axis)
    marks[name] = Mark(axes, before.counts and counts)


def marked(model: nn.Module) -> Mapping[str, Mark]:
    """All marks, by parameter name; the same on all processes that share a weight."""
    marks: Any = model.__dict__.get("partial_gradients", {})
    return dict(marks)


@torch.no_grad()
def sum_partial(model: nn.Module, ranks: Ranks) -> None:
    """Sum the gradients that are marked; all ranks call it after the backward pass."""
    marks = marked(model)
    for name, parameter in model.named_parameters():
        if name not in marks:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)  # another's part may not be nothing
        gradient = local_tensor(parameter.grad)
        for axis in marks[name].axes:
            if axis == "ends":
                add_other_end(gradient, ranks)
            else:
                torch.distributed.all_reduce(gradient, group=ranks.group(axis))


def add_other_end(gradient: torch.Tensor, ranks: Ranks) -> None:
    """Add what the other end of the pipeline has: a + b here, b + a there, the same bits."""
    group, there = ranks.group("pp"), ranks.pp - 1 - ranks.at("pp")
    theirs = torch.empty_like(gradient)
    operations = [
        torch.distributed.P2POp(torch.distributed.isend, gradient, group=group, group_peer=there),
        torch.distributed.P2POp(torch.distributed.irecv, theirs, group=group, group_peer=there),
    ]
    for work in torch.distributed.batch_isend_irecv(operations):
        work.wait()
    gradient.add_(theirs)
