"""One model over several processes: FSDP2, the one data-parallel path.

`parallelise` cuts every weight by its first dimension over the ranks of a replica. The weights of a
block are put together when it runs, and let go again; those outside the blocks (embeddings, head,
last norm) stay together during one forward and backward pass. Gradients are *summed* over the
ranks, since a loss is already divided by the counts of the whole step.

Notable: what runs between a model and its loss differs by objective (`hidden` and the head, two
streams, a pair of models). So FSDP's root is not the model but a module beside it, whose forward is
any function of the model: see `forward_pass`. Names and classes of the model's own modules stay.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from groundup.errors import ConfigError
from groundup.train.distributed import Ranks
from groundup.train.parallel.pieces import is_cut, local_tensor, whole_tensor


@dataclass(frozen=True)
class Cut:
    """What a cut model needs beside itself.

    Attributes:
        root: FSDP's root, which calls a function with the model.
        blueprint: the model as it was, with weights on torch's meta device.
    """

    root: Any  # nn.Module and FSDPModule
    blueprint: nn.Module


class _Root(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return work(self.model, *arguments)


def parallelise(model: nn.Module, ranks: Ranks) -> None:
    """Cut ``model``, in place, and move it to the ranks' device; before its optimizers are built.

    Every rank brings the same weights, whole, on the CPU: so they are those of one process. A GPU
    gets them block by block and never holds more than its pieces and one block.

    Raises:
        ConfigError: a model whose numbers would depend on how a batch is divided.
    """
    if ranks.size == 1:
        return
    if any(isinstance(module, nn.BatchNorm1d) for module in model.modules()):
        raise ConfigError(
            "a batch norm averages over the rows of one process, not over the batch",
            where="model.norm",
            fix="train in one process, or choose a family with another norm",
        )
    from torch.distributed.fsdp import FSDPModule, fully_shard

    # Linear gives a view; nothing writes to the keys and values that two units of `units` give.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)
    blueprint = with_weights(
        model, {name: p.detach().to("meta") for name, p in model.named_parameters()}
    )
    root = _Root(model)
    for unit in units(model):
        fully_shard(unit, mesh=ranks.mesh)
    fully_shard(root, mesh=ranks.mesh)
    for module in root.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo can do nothing else
    holder: Any = model
    holder.cut = Cut(root, blueprint)  # no module, so no weight gets a second name


def units(model: nn.Module) -> Iterator[nn.Module]:
    """What is put together for itself: each block.

    The keys and values of an encoder's output are made before the blocks run
    (`Transformer.memory`), so what makes them is no part of its block.
    """
    from groundup.model.transformer import Block, ParallelBlock

    for module in model.modules():
        if isinstance(module, Block) and module.crosses:
            cross = module.cross_attention
            yield from (part for part in (cross.k, cross.v, cross.k_norm) if [*part.parameters()])
        if isinstance(module, Block | ParallelBlock):
            yield module


def forward_pass(work: Callable[..., Any], model: nn.Module, *arguments: Any) -> Any:
    """``work(model, *arguments)`` as one forward pass of a model that may be cut.

    Args:
        work: any function that computes with the model, a loss for example; all ranks call it.
    """
    cut: Cut | None = getattr(model, "cut", None)
    if cut is None:
        return work(model, *arguments)
    result = cut.root(work, *arguments)
    if not torch.is_grad_enabled():
        cut.root.reshard()  # otherwise the backward pass does it
    return result


@contextmanager
def whole_model(model: nn.Module) -> Iterator[nn.Module]:
    """A model to look at: ``model`` itself, or of a cut one a copy with whole weights.

    On the copy everything works that works in one process: all methods, by one rank or by all. All
    ranks must enter together. What is changed in the copy is lost; its buffers are the model's own.
    """
    cut: Cut | None = getattr(model, "cut", None)
    if cut is None:
        yield model
        return
    weights = {name: whole_tensor(p.detach()) for name, p in model.named_parameters()}
    yield with_weights(cut.blueprint, weights, model).train(model.training)


def blueprints(model: nn.Module) -> list[nn.Module]:
    """``model``, and what copies of it are made from: what is not a weight is changed in both."""
    cut: Cut | None = getattr(model, "cut", None)
    return [model] if cut is None else [model, cut.blueprint]


def with_weights(
    model: nn.Module, weights: dict[str, Tensor], buffers_of: nn.Module | None = None
) -> nn.Module:
    """A copy of ``model`` with other weights, by name, tied and shared as they were."""
    others: dict[int, Any] = {
        id(p): nn.Parameter(weights[name], p.requires_grad) for name, p in model.named_parameters()
    }
    own = dict((buffers_of or model).named_buffers())
    others |= {id(buffer): own[name] for name, buffer in model.named_buffers()}
    return copy.deepcopy(model, others)


@torch.no_grad()
def gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    """L2 norm of all gradients as one vector, float32 scalar: the same bits on all ranks."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([local_tensor(gradient) for gradient in gradients])
    cut = next((gradient for gradient in gradients if is_cut(gradient)), None)
    if cut is None:
        return norm
    # Each replica holds all pieces; in float64, so that dividing by their number costs no digit.
    n_copies = 1
    for dimension, placement in enumerate(cut.placements):
        n_copies *= cut.device_mesh.size(dimension) if placement.is_replicate() else 1
    square = norm.double().square() / n_copies
    torch.distributed.all_reduce(square)
    return square.sqrt().float()
