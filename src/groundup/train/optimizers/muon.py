"""Muon: momentum, orthogonalised (Jordan et al. 2024).

The momentum of each matrix is replaced by the nearest semi-orthogonal matrix, U Vᵀ of its SVD,
found by five Newton–Schulz steps (in bf16 where that is fast; they do not need the digits).
Matrices of one shape are stacked and go through the iteration together: one batched product instead
of many small ones. Numerically this is ``torch.optim.Muon`` (the oracle in the tests), which treats
them one by one.

Of matrices that are cut over several processes the momentum stays cut; each is orthogonalised by
one of these processes (`owners`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from groundup.train.optimizers.layouts import alike, cut_dimensions
from groundup.train.parallel.pieces import local_tensor

# The quintic's coefficients: steepest at zero at the price of singular values in [0.7, 1.2] rather
# than one (Jordan's post, section "Newton–Schulz").
A, B, C = 3.4445, -4.7750, 2.0315
NEWTON_SCHULZ_STEPS = 5
EPSILON = 1e-7
MOST_ELEMENTS = 2**28  # of a stack, and of what a process sends at once: half a gigabyte in bf16


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay.

    Args:
        params: matrices only.
        lr: step size; a matrix [rows, columns] uses ``lr · sqrt(max(1, rows / columns))``.
        momentum: of the exponential average of gradients.
        weight_decay: decoupled, times ``lr``.
        dtype: of the Newton–Schulz products. ``torch.optim.Muon`` always takes bf16, which a CPU
            without bf16 instructions computes 50 times slower than fp32.
        kept: of the momentum between steps; sums are made in fp32.

    Raises:
        ValueError: a parameter is not a matrix.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.bfloat16,
        kept: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype, self.kept = dtype, kept
        for group in self.param_groups:
            if any(p.ndim != 2 for p in group["params"]):
                raise ValueError("Muon moves matrices only; give vectors to AdamW")

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for matrices in alike(p for p in group["params"] if p.grad is not None):
                for some in portions(matrices):
                    self._move(some, group)

    def _move(self, matrices: list[Any], group: dict[str, Any]) -> None:
        """One step of matrices that are laid out alike."""
        momenta = [self._momentum(p, group).to(self.dtype) for p in matrices]
        for p, update in zip(matrices, orthogonal_pieces(momenta, matrices), strict=True):
            lr = group["lr"] * math.sqrt(max(1, p.shape[0] / p.shape[1]))
            weight = local_tensor(p)
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.add_(update.to(weight.dtype), alpha=-lr)

    def _momentum(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        """Nesterov's look-ahead: the gradient mixed with the running average that now holds it."""
        assert p.grad is not None
        gradient, state = local_tensor(p.grad), self.state[p]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(p, dtype=self.kept)
        kept = local_tensor(state["momentum_buffer"])
        average = kept.to(gradient.dtype).lerp_(gradient, 1 - group["momentum"])
        kept.copy_(average)
        return gradient.lerp(average, group["momentum"])


def portions(matrices: list[Any]) -> Iterator[list[Any]]:
    """Matrices that are laid out alike, so many at a time that buffers stay bounded."""
    n_pieces = math.prod(matrices[0].device_mesh.size(d) for d in cut_dimensions(matrices[0]))
    some: list[Any] = []
    n_elements = 0
    for p in matrices:
        if some and n_elements + p.numel() > MOST_ELEMENTS * n_pieces:
            yield some
            some, n_elements = [], 0
        some.append(p)
        n_elements += p.numel()
    yield some


def orthogonal_pieces(pieces: list[Tensor], matrices: list[Any]) -> list[Tensor]:
    """The process's pieces of the orthogonalised matrices whose pieces are given."""
    n_dimensions = len(cut_dimensions(matrices[0]))
    if n_dimensions == 0:
        return in_stacks(pieces)
    from groundup.train.optimizers import owners  # torch's module for cut tensors takes a second

    share = owners.by_owners if n_dimensions == 1 else owners.on_all
    return share(pieces, matrices, in_stacks)


def in_stacks(matrices: list[Tensor]) -> list[Tensor]:
    """Each orthogonalised, those of one shape together."""
    by_shape: dict[torch.Size, list[int]] = {}
    for i, matrix in enumerate(matrices):
        by_shape.setdefault(matrix.shape, []).append(i)
    found: dict[int, Tensor] = {}
    for shape, numbers in by_shape.items():
        most = max(1, MOST_ELEMENTS // shape.numel())
        for at in range(0, len(numbers), most):
            some = numbers[at : at + most]
            stacked = orthogonalize(torch.stack([matrices[i] for i in some]))
            found.update(zip(some, stacked.unbind(), strict=True))
    return [found[i] for i in range(len(matrices))]


def orthogonalize(matrices: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix of each, approximately.

    Args:
        matrices: [n, rows, columns], any float dtype; the products are made in it.

    Returns:
        [n, rows, columns] of the same dtype.
    """
    x = matrices
    tall = x.size(1) > x.size(2)
    if tall:
        x = x.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=EPSILON)  # spectral norm ≤ 1
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=B, alpha=C)
        x = torch.baddbmm(x, polynomial, x, beta=A)
    return x.mT if tall else x
