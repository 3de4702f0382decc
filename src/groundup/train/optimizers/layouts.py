"""Parameters by how they are cut over processes: one call moves only what is laid out alike.

A model under tensor parallelism has weights cut over two dimensions of a mesh, weights cut over
one, and plain ones. Torch's fused and batched operators refuse such mixtures, and sums over the
ranks that share a weight differ by layout. So optimizers take their parameters layout by layout.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import torch
from torch import Tensor

from groundup.train.parallel.pieces import is_cut
from groundup.train.shards import box_of


def layout(tensor: Tensor) -> Hashable:
    """What two tensors share that are laid out alike: mesh and placements; None: not cut."""
    return (tensor.device_mesh, tensor.placements) if is_cut(tensor) else None


def alike(tensors: Iterable[Any]) -> list[list[Any]]:
    """The tensors by layout, in the order in which each layout first appears."""
    found: dict[Hashable, list[Any]] = {}
    for tensor in tensors:
        found.setdefault(layout(tensor), []).append(tensor)
    return list(found.values())


def cut_dimensions(tensor: Tensor) -> list[int]:
    """The dimensions of its mesh over which a tensor is cut; copies are not counted."""
    if not is_cut(tensor):
        return []
    mesh = tensor.device_mesh
    return [
        dimension
        for dimension, placement in enumerate(tensor.placements)
        if not placement.is_replicate() and mesh.size(dimension) > 1
    ]


def sum_over_pieces(numbers: Tensor, pattern: Tensor) -> Tensor:
    """``numbers`` summed, in place, over the ranks that have the pieces of ``pattern``."""
    for dimension in cut_dimensions(pattern):
        torch.distributed.all_reduce(numbers, group=_mesh(pattern).get_group(dimension))
    return numbers


def place_of(tensor: Tensor) -> tuple[slice, ...]:
    """Where this process's piece lies in the whole."""
    box = box_of(tensor)
    return tuple(slice(o, o + n) for o, n in zip(box.offset, box.shape, strict=True))


def _mesh(tensor: Any) -> Any:
    return tensor.device_mesh
