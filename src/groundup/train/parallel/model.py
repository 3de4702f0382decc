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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from groundup.model.transformer import Transformer
from groundup.train.config import Settings
from groundup.train.distributed import Ranks
from groundup.train.noise.config import ObjectiveConfig
from groundup.train.parallel.context import share_rows
from groundup.train.parallel.everywhere import whole_tensors
from groundup.train.parallel.layout import LayoutConfig
from groundup.train.parallel.offload import mesh_of_one, offload_policy
from groundup.train.parallel.partial import marked
from groundup.train.parallel.pieces import is_cut, local_tensor
from groundup.train.parallel.pipeline import Pipeline
from groundup.train.parallel.possible import require_possible
from groundup.train.parallel.stages import cut_layers, stages_of
from groundup.train.parallel.tensor import divide


@dataclass(frozen=True)
class Cut:
    """What a cut model needs beside itself.

    Attributes:
        root: FSDP's root, which calls a function with the model.
        blueprint: the model as it was, with weights on torch's meta device.
        ranks: who divides it.
        pipeline: where its layers are divided too.
        device: where it computes; with offloading its weights lie elsewhere.
    """

    root: Any  # nn.Module, and FSDPModule where batches or rows are shared
    blueprint: nn.Module
    ranks: Ranks
    pipeline: Pipeline | None = None
    device: str = "cpu"


class _Root(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return work(self.model, *arguments)


def parallelise(model: nn.Module, ranks: Ranks, settings: Settings) -> None:
    """Divide ``model``, in place, and move it to the ranks' device; before its optimizers are made.

    Every rank brings the same weights, whole, on the CPU: so they are those of one process. A GPU
    gets them block by block and never holds more than its pieces and one block.

    Raises:
        ConfigError: a model that this layout cannot divide, or whose numbers would depend on how a
            batch is divided.
    """
    if ranks.size == 1 and not settings.offload_optimizer:
        return
    layout = LayoutConfig(**settings.layout)
    require_possible(model, settings, ranks)
    blueprint = with_weights(
        model, {name: p.detach().to("meta") for name, p in model.named_parameters()}
    )
    stages = None
    if ranks.pp > 1:
        whole = cast(Transformer, model)
        stages = stages_of(whole.config, layout)
        cut_layers(whole, stages, ranks)
    if ranks.cp > 1:
        share_rows(cast(Transformer, model), ranks)
    if ranks.tp > 1:
        divide(
            cast(Transformer, model),
            ranks,
            sequence=layout.sp,
            vocabulary=ObjectiveConfig(**settings.objective).teacher is None,
        )
    root: nn.Module = _Root(model)
    if ranks.n_shares * ranks.cp > 1 or settings.offload_optimizer:
        shard(model, root, ranks, settings)
    else:
        root.to(settings.device)
    holder: Any = model
    pipeline = None if stages is None else Pipeline(stages, ranks, root)
    # No module, so no weight gets a second name.
    holder.cut = Cut(root, blueprint, ranks, pipeline, settings.device)


def shard(model: nn.Module, root: nn.Module, ranks: Ranks, settings: Settings) -> None:
    """FSDP2 over the processes that share the rows of a batch, or each row."""
    from torch.distributed.fsdp import fully_shard

    # Linear gives a view; nothing writes to the keys and values that two units of `units` give.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)
    whole = ranks.mesh or mesh_of_one(settings.device)
    mesh = whole["dp_replicate", "shard"] if ranks.dp_replicate > 1 else whole["shard"]
    reshard, offload = LayoutConfig(**settings.layout).zero == 3, offload_policy(settings)
    for unit in units(model):
        fully_shard(unit, mesh=mesh, reshard_after_forward=reshard, offload_policy=offload)
    fully_shard(root, mesh=mesh, offload_policy=offload)
    for module in sharded(root):
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)  # gloo can do nothing else


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
        for module in sharded(cut.root):
            module.reshard()  # otherwise the backward pass does it
    return result


def sharded(root: nn.Module) -> list[Any]:
    """The modules whose weights FSDP puts together, the root first."""
    return [module for module in root.modules() if hasattr(module, "reshard")]


def exchange_gradients(model: nn.Module, now: bool) -> None:
    """Whether the next backward pass sums the gradients over the ranks, or keeps them (ZeRO-1)."""
    cut: Cut | None = getattr(model, "cut", None)
    for module in sharded(cut.root) if cut is not None else ():
        module.set_requires_gradient_sync(now, recurse=False)


def pipeline_of(model: nn.Module) -> Pipeline | None:
    """How its micro-batches pass through stages; None: it is not cut into stages."""
    cut: Cut | None = getattr(model, "cut", None)
    return None if cut is None else cut.pipeline


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
    with torch.no_grad():
        named = whole_tensors(model, dict(model.named_parameters()))
        weights = {name: tensor.to(cut.device) for name, tensor in named}
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
def gradient_norm(model: nn.Module) -> Tensor:
    """L2 norm of all gradients as one vector, float32 scalar: the same bits on all ranks."""
    cut: Cut | None = getattr(model, "cut", None)
    if cut is None:
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        return torch.nn.utils.get_total_norm(gradients)
    by_copies: dict[int, list[Tensor]] = {}
    marks = marked(model)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and (name not in marks or marks[name].counts):
            n = n_copies(parameter.grad, cut.ranks)
            by_copies.setdefault(n, []).append(local_tensor(parameter.grad))
    # In float64, so that dividing by the number of copies costs no digit.
    squares = [
        torch.nn.utils.get_total_norm(pieces).double().square() / n
        for n, pieces in by_copies.items()
    ]
    device = next(model.parameters()).device
    total = sum(squares, torch.zeros((), dtype=torch.float64, device=device))
    torch.distributed.all_reduce(total)
    return total.sqrt().float()


@torch.no_grad()
def gradient_norms(model: nn.Module) -> dict[str, float]:
    """L2 norm of the gradient of every parameter that has one, other stages' too, by name.

    The device is waited for once; all ranks get the same numbers.
    """
    cut: Cut | None = getattr(model, "cut", None)
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    if cut is None:
        norms = torch.stack([torch.linalg.vector_norm(g) for g in gradients.values()])
        return dict(zip(gradients, norms.tolist(), strict=True))
    names = [name for name, _ in cut.blueprint.named_parameters()]
    device, marks = next(model.parameters()).device, marked(model)
    squares = torch.zeros(len(names), dtype=torch.float64, device=device)
    for place, name in enumerate(names):
        gradient = gradients.get(name)
        if gradient is not None and (name not in marks or marks[name].counts):
            norm = torch.linalg.vector_norm(local_tensor(gradient))
            squares[place] = norm.double().square() / n_copies(gradient, cut.ranks)
    torch.distributed.all_reduce(squares)
    return dict(zip(names, squares.sqrt().float().tolist(), strict=True))


def n_copies(tensor: Tensor, ranks: Ranks) -> int:
    """How many processes of a stage hold each piece of it."""
    n_pieces = 1
    if is_cut(tensor):
        for dimension, placement in enumerate(tensor.placements):
            n_pieces *= 1 if placement.is_replicate() else tensor.device_mesh.size(dimension)
    return ranks.size // ranks.pp // n_pieces
