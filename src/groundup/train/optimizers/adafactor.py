"""Adafactor: Adam's second moment from its means over rows and columns (arXiv:1804.04235).

Of a matrix [R, C] only R + C numbers are kept: running means of g² along each row and each column,
whose outer product, divided by its mean, stands for Adam's second moment (section 3, algorithm 4).
There is no momentum. An update is scaled down to a root mean square of 1 (section 6), and counts
in units of the weight's own (section 8): a rate is the relative size of a step.

The paper's relative step sizes are a schedule of the run (`schedules.py`), so ``lr`` is the rate as
it is. ``torch.optim.Adafactor``, the oracle in the tests, caps it at 1/√step and asks the device
for two numbers a parameter and step.

Of cut matrices each process looks at its piece. The sums over pieces of all parameters of a layout
travel together: two all-reduces a step and dimension of the mesh.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from groundup.train.optimizers.layouts import alike, place_of, sum_over_pieces
from groundup.train.parallel.pieces import local_tensor

# Algorithm 4: 1 - β₂ at step t is t^-0.8; an update's largest RMS; a weight's least RMS.
BETA2_DECAY, LARGEST_UPDATE, LEAST_SCALE = 0.8, 1.0, 1e-3
EPSILON = torch.finfo(torch.float32).eps  # torch's: the least root of a second moment


class Adafactor(torch.optim.Optimizer):
    """Adafactor without momentum.

    Args:
        params: parameters or groups of them.
        lr: step size in units of each weight's root mean square.
        weight_decay: decoupled, times ``lr``.
    """

    def __init__(self, params: Iterable[Any], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameters in alike(p for p in group["params"] if p.grad is not None):
                self._move(group, parameters)

    def _move(self, group: dict[str, Any], parameters: list[Any]) -> None:
        """One step of parameters that are laid out alike."""
        sums = together([squares(p) for p in parameters], parameters[0])
        updates = [self._direction(p, *of_p[1:]) for p, of_p in zip(parameters, sums, strict=True)]
        sizes = together([[update.square().sum()] for update in updates], parameters[0])
        for p, update, of_p, (size,) in zip(parameters, updates, sums, sizes, strict=True):
            scale = root_mean_square(of_p[0], p).clamp(min=LEAST_SCALE)
            excess = (root_mean_square(size, p) / LARGEST_UPDATE).clamp(min=1.0)
            weight = local_tensor(p)
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.add_(update.mul_(-group["lr"] * scale / excess))

    def _direction(self, p: Any, *sums: Tensor) -> Tensor:
        """The piece of g / √v, after g² has been let into v.

        Args:
            sums: of g² over the rows [..., R] and over the columns [..., C] of the whole; none of a
                vector.
        """
        gradient, state = local_tensor(p.grad), self.state[p]
        if not state:
            state["step"] = torch.zeros((), device=gradient.device)
            if sums:
                state["rows"], state["columns"] = (torch.zeros_like(each) for each in sums)
            else:
                state["squares"] = torch.zeros_like(p)
        state["step"] += 1
        share = state["step"] ** -BETA2_DECAY
        if not sums:
            second = local_tensor(state["squares"])
            second.lerp_(gradient.square(), share)
        else:
            state["rows"].lerp_(sums[0] / p.shape[-1], share)
            state["columns"].lerp_(sums[1] / p.shape[-2], share)
            mean = state["rows"].mean(-1, keepdim=True).clamp(min=EPSILON)
            *stacked, row, column = place_of(p)
            rows = (state["rows"] / mean)[(*stacked, row)]
            second = rows.unsqueeze(-1) * state["columns"][(*stacked, column)].unsqueeze(-2)
        return second.clamp(min=EPSILON**2).rsqrt_().mul_(gradient)


def squares(p: Any) -> list[Tensor]:
    """The piece's part of Σw², and of a matrix of Σg² over rows and over columns of the whole."""
    weight, gradient = local_tensor(p), local_tensor(p.grad)
    found = [weight.square().sum()]
    if p.ndim > 1:
        square = gradient.square()
        *stacked, row, column = place_of(p)
        over_rows = weight.new_zeros(p.shape[:-1])
        over_rows[(*stacked, row)] = square.sum(-1)
        over_columns = weight.new_zeros((*p.shape[:-2], p.shape[-1]))
        over_columns[(*stacked, column)] = square.sum(-2)
        found += [over_rows, over_columns]
    return found


def together(parts: list[list[Tensor]], pattern: Tensor) -> list[list[Tensor]]:
    """Every tensor summed over the ranks that have pieces of ``pattern``, in one message."""
    flat = sum_over_pieces(
        torch.cat([each.reshape(-1) for part in parts for each in part]), pattern
    )
    ends = iter(flat.split([each.numel() for part in parts for each in part]))
    return [[next(ends).view(each.shape) for each in part] for part in parts]


def root_mean_square(square_sum: Tensor, p: Tensor) -> Tensor:
    """Of a whole parameter."""
    return square_sum.sqrt() / math.sqrt(p.numel())
