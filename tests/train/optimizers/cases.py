"""What each rank of a world does: a few steps of an optimizer on tensors that are cut by hand."""

from collections import Counter
from dataclasses import replace

import torch

from groundup.architecture.families import build
from groundup.model.transformer import Transformer
from groundup.train.distributed import join, leave
from groundup.train.optimizers.adafactor import Adafactor
from groundup.train.optimizers.adamw import LeanAdamW
from groundup.train.optimizers.groups import build_optimizers
from groundup.train.optimizers.layouts import place_of
from groundup.train.optimizers.muon import Muon
from groundup.train.optimizers.sgd import SGD
from groundup.train.parallel.pieces import whole_tensor
from tests.train.small import SETTINGS

STEPS = 3
# Fewer rows than ranks, uneven rows and columns, wide and tall.
SHAPES = [(7, 12), (16, 8), (3, 12), (8, 32), (7, 12), (32, 8), (9, 10), (16, 8)]
EVEN = [(8, 12), (16, 8), (4, 12), (8, 32), (32, 8), (16, 8)]  # along both dimensions, by 4
OPTIMIZERS = {
    "muon": lambda p: Muon(p, 0.02, 0.95, 0.1, torch.float32),
    "muon, bf16": lambda p: Muon(p, 0.02, 0.95, 0.1, torch.bfloat16, torch.bfloat16),
    "adafactor": lambda p: Adafactor(p, 0.05, 0.1),
    "sgd": lambda p: SGD(p, 0.1, 0.9, nesterov=True, weight_decay=0.1),
    "adamw, bf16": lambda p: LeanAdamW(p, 0.01, weight_decay=0.1, stochastic=False),
}


def drawn(shapes, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def walk(name, shapes, cut=lambda tensor: tensor):
    """The weights after some steps, by the same numbers on every rank."""
    weights = [torch.nn.Parameter(cut(each)) for each in drawn(shapes, 1)]
    optimizer = OPTIMIZERS[name](weights)
    for step in range(STEPS):
        for p, gradient in zip(weights, drawn(shapes, 10 + step), strict=True):
            p.grad = cut(gradient)
        optimizer.step()
    return weights


def cut_as(mesh, placements):
    """Cuts a tensor that every rank has whole; no rank sends anything."""
    from torch.distributed.tensor import DTensor

    def cut(whole):
        like = DTensor.from_local(
            torch.empty(0), mesh, placements, run_check=False, shape=whole.shape,
            stride=whole.stride(),
        )  # fmt: skip
        return DTensor.from_local(
            whole[place_of(like)].contiguous(), mesh, placements, run_check=False,
            shape=whole.shape, stride=whole.stride(),
        )  # fmt: skip

    return cut


def layouts(size):
    """Name → (mesh, placements, shapes) for so many ranks."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.placement_types import _StridedShard

    line = init_device_mesh("cpu", (size,), mesh_dim_names=("shard",))
    found = {
        "rows": (line, [Shard(0)], SHAPES),
        "columns": (line, [Shard(1)], SHAPES),
        "copies": (line, [Replicate()], SHAPES),
    }
    if size == 4:
        square = init_device_mesh("cpu", (2, 2), mesh_dim_names=("outer", "inner"))
        strided = _StridedShard(0, split_factor=2)
        found |= {
            "copies of rows": (square, [Replicate(), Shard(0)], SHAPES),
            "rows and columns": (square, [Shard(0), Shard(1)], EVEN),
            "rows of rows": (square, [strided, Shard(0)], EVEN),
        }
    return found


def walk_all():
    """Each optimizer on each layout: the whole weights, and how often messages were exchanged."""
    ranks = join(SETTINGS)
    found = {}
    for layout, (mesh, placements, shapes) in layouts(ranks.size).items():
        for name in OPTIMIZERS:
            with counted() as calls:
                weights = walk(name, shapes, cut_as(mesh, placements))
            whole = [whole_tensor(p.detach()).tolist() for p in weights]
            found[f"{name}, {layout}"] = {"weights": whole, "calls": dict(calls)}
    leave(ranks)
    return found


class counted:
    """Counts torch's collectives by name."""

    NAMES = ("all_to_all_single", "all_reduce", "all_gather_into_tensor", "all_gather")

    def __enter__(self):
        self.calls, self.own = Counter(), {}
        for name in self.NAMES:
            self.own[name] = getattr(torch.distributed, name)
            setattr(torch.distributed, name, self.counting(name))
        return self.calls

    def counting(self, name):
        def call(*arguments, **named):
            self.calls[name] += 1
            return self.own[name](*arguments, **named)

        return call

    def __exit__(self, *_):
        for name, own in self.own.items():
            setattr(torch.distributed, name, own)


def mixed(optimizer, dtype="fp32"):
    """A model with weights cut over two dimensions of a mesh, over one, and whole ones."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard

    ranks = join(SETTINGS)
    both = init_device_mesh("cpu", (1, ranks.size), mesh_dim_names=("shard", "tp"))
    line = init_device_mesh("cpu", (ranks.size,), mesh_dim_names=("shard",))
    cuts = {
        "q": cut_as(both, [Shard(0), Shard(0)]),
        "o": cut_as(both, [Shard(0), Shard(1)]),
        "k": cut_as(both, [Replicate(), Shard(0)]),
        "up": cut_as(line, [Shard(0)]),
        "embed": cut_as(line, [Shard(0)]),
    }
    settings = replace(
        SETTINGS, optimizer=optimizer, learning_rate=0.01, weight_decay=0.1, optimizer_dtype=dtype,
        nesterov=optimizer == "sgd",
    )  # fmt: skip
    sizes = {"vocab_size": 64, "n_layers": 2, "d_model": 32, "context_length": 16}
    walked = []
    for is_cut in (False, True):
        model = Transformer(build("llama", **sizes))
        names = [name for name, _ in model.named_parameters()]
        shapes = [tuple(p.shape) for p in model.parameters()]
        chosen = [cuts.get(name.split(".")[-2]) if is_cut else None for name in names]
        for name, whole, cut in zip(names, drawn(shapes, 1), chosen, strict=True):
            holder = model.get_submodule(name.rpartition(".")[0])
            value = cut(whole) if cut else whole
            setattr(holder, name.rpartition(".")[2], torch.nn.Parameter(value))
        optimizers = build_optimizers(model, settings)
        for step in range(STEPS):
            gradients = drawn(shapes, 10 + step)
            for p, gradient, cut in zip(model.parameters(), gradients, chosen, strict=True):
                p.grad = cut(gradient) if cut else gradient
            for each in optimizers:
                each.step()
        walked.append([whole_tensor(p.detach()).flatten() for p in model.parameters()])
    leave(ranks)
    alone, several = (torch.cat(each) for each in walked)
    return {
        "apart": (alone - several).abs().max().item(),
        "moved": (alone - torch.cat([each.flatten() for each in drawn(shapes, 1)])).norm().item(),
        "sum": several.double().sum().item(),
    }


def messages():
    """Collectives of one step of ours and of torch's own Muon, for 24 matrices cut by rows."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard
    from torch.distributed.tensor.debug import CommDebugMode

    ranks = join(SETTINGS)
    cut = cut_as(init_device_mesh("cpu", (ranks.size,)), [Shard(0)])
    shapes = [(16, 16)] * 16 + [(64, 16), (16, 64)] * 4
    found = {}
    for name, make in (("ours", OPTIMIZERS["muon"]), ("torch's", torch.optim.Muon)):
        weights = [torch.nn.Parameter(cut(each)) for each in drawn(shapes, 1)]
        optimizer = make(weights)
        for p, gradient in zip(weights, drawn(shapes, 2), strict=True):
            p.grad = cut(gradient)
        with CommDebugMode() as seen:
            optimizer.step()
        found[name] = {str(op): n for op, n in seen.get_comm_counts().items()}
    leave(ranks)
    return found


def mixed_all(chosen):
    """`mixed` for each optimizer and dtype, and `messages`, in one world."""
    return {**{name: mixed(name, dtype) for name, dtype in chosen}, "messages": messages()}
