"""Work on whole matrices of which each process has a piece: every matrix has one owner.

Matrices are dealt out over the processes that share them. The pieces of each travel to its owner,
which works on its own matrices only, and the pieces of the results travel back: two messages for
all matrices together, and 1/n of the work for each of n processes. (Liu et al. 2025,
arXiv:2502.16982, section 2.3, gathers each matrix on every rank of its group instead.)

Copies of a model (``dp_replicate``) do not share this work: weights that were computed twice can be
compared, and a processor that computes wrongly is found (`integrity.replicas`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from groundup.train.optimizers.layouts import cut_dimensions, place_of

Work = Callable[[list[Tensor]], list[Tensor]]
"""Whole matrices to their results, of the same shapes."""


def by_owners(pieces: Sequence[Tensor], pattern: Sequence[DTensor], work: Work) -> list[Tensor]:
    """The process's pieces of ``work`` of the matrices; all that share them must call it.

    Args:
        pieces: [rows, columns] of each, this process's, all of one dtype.
        pattern: tensors cut like the matrices, over one dimension of a mesh.
        work: each matrix's result must depend on that matrix only.
    """
    mesh, (dimension,) = pattern[0].device_mesh, cut_dimensions(pattern[0])
    size, here = mesh.size(dimension), mesh.get_local_rank(dimension)
    group = mesh.get_group(dimension)
    axis = pattern[0].placements[dimension].dim  # type: ignore[attr-defined]
    shapes = [tuple(p.shape) for p in pattern]
    owners = deal(shapes, size)
    lengths = [chunks(shape[axis], size) for shape in shapes]
    shape_of = [
        [(*shape[:axis], n, *shape[axis + 1 :]) for n in each]
        for shape, each in zip(shapes, lengths, strict=True)
    ]  # of each matrix, of each rank's piece
    numbers = range(len(pieces))
    to = [[i for i in numbers if owners[i] == rank] for rank in range(size)]
    mine = to[here]
    sent = [sum(math.prod(shape_of[i][here]) for i in owned) for owned in to]
    held = [sum(math.prod(shape_of[i][rank]) for i in mine) for rank in range(size)]

    there = exchanged([pieces[i] for owned in to for i in owned], pieces[0], sent, held, group)
    cells = parted(there, [shape_of[i][rank] for rank in range(size) for i in mine])
    wholes = [torch.cat(cells[k :: len(mine)], axis) for k in range(len(mine))]

    results = [each.split(lengths[i], axis) for i, each in zip(mine, work(wholes), strict=True)]
    back = [result[rank] for rank in range(size) for result in results]
    again = exchanged(back, pieces[0], held, sent, group)
    order = [i for owned in to for i in owned]
    found = dict(zip(order, parted(again, [shape_of[i][here] for i in order]), strict=True))
    return [found[i] for i in numbers]


def on_all(pieces: Sequence[Tensor], pattern: Sequence[DTensor], work: Work) -> list[Tensor]:
    """The same for matrices cut over several dimensions of a mesh: each process does all of it."""
    wholes = [
        DTensor.from_local(
            piece, p.device_mesh, p.placements, run_check=False, shape=p.shape, stride=p.stride()
        ).full_tensor()
        for piece, p in zip(pieces, pattern, strict=True)
    ]
    return [each[place_of(p)] for each, p in zip(work(wholes), pattern, strict=True)]


def deal(shapes: Sequence[tuple[int, ...]], size: int) -> list[int]:
    """The owner of each matrix: the heaviest first, each to whom has least to do so far.

    A matrix weighs its multiplications, rows · columns · min(rows, columns).
    """
    weights = [math.prod(shape) * min(shape) for shape in shapes]
    loads, owners = [0] * size, [0] * len(shapes)
    for i in sorted(range(len(shapes)), key=lambda i: -weights[i]):
        owners[i] = loads.index(min(loads))
        loads[owners[i]] += weights[i]
    return owners


def chunks(length: int, size: int) -> list[int]:
    """How many rows each of ``size`` ranks has, as DTensor cuts them: the last may have fewer."""
    each = -(-length // size)
    return [max(0, min(each, length - rank * each)) for rank in range(size)]


def exchanged(
    parts: Sequence[Tensor],
    like: Tensor,
    sent: list[int],
    received: list[int],
    group: torch.distributed.ProcessGroup,
) -> Tensor:
    """What the others send, flat, by rank; ``parts`` are for them, by rank."""
    flat = torch.cat([like.new_empty(0), *(part.reshape(-1) for part in parts)])
    found = flat.new_empty(sum(received))
    torch.distributed.all_to_all_single(found, flat, received, sent, group)
    return found


def parted(flat: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """Tensors of these shapes, one after the other out of ``flat``."""
    parts = flat.split([math.prod(shape) for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
