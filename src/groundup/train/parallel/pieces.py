"""Tensors of which a process may hold a piece only (torch's DTensor), and those that are whole."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeGuard

from torch import Tensor

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def is_cut(tensor: Tensor) -> TypeGuard[DTensor]:
    """Whether this process holds a piece of it only; torch's module for that takes a second."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def whole_tensor(tensor: Tensor) -> Tensor:
    """A tensor of any layout as one; of a cut one every rank that has a piece must call it."""
    return tensor.full_tensor() if is_cut(tensor) else tensor


def local_tensor(tensor: Tensor) -> Tensor:
    """The piece that this process holds; of a tensor that is not cut, all of it."""
    return tensor.to_local() if is_cut(tensor) else tensor


def cut_like(whole: Tensor, pattern: Tensor) -> Tensor:
    """The rank's piece of a tensor that all ranks have, laid out as ``pattern``; sends nothing."""
    if not is_cut(pattern):
        return whole
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole, pattern.device_mesh, pattern.placements, src_data_rank=None)
