"""Stochastic gradient descent with momentum (Polyak 1964), Nesterov's too (Sutskever et al. 2013).

    m ← μ m + g        w ← (1 - lr·λ) w - lr · m        Nesterov: lr · (g + μ m) instead

Weight decay is decoupled (SGDW, Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 1); without
it this is ``torch.optim.SGD``. It works on each process's own pieces and sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from groundup.train.parallel.pieces import local_tensor


class SGD(torch.optim.Optimizer):
    """SGD.

    Args:
        params: parameters or groups of them.
        lr: step size.
        momentum: μ; 0: none is kept.
        nesterov: look one step of momentum ahead.
        weight_decay: decoupled, times ``lr``.
        dtype: of the momentum that is kept; sums are made in fp32.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.0,
        *,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay},
        )
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                weight, direction = local_tensor(p), local_tensor(p.grad)
                if group["momentum"]:
                    state = self.state[p]
                    if not state:
                        state["momentum_buffer"] = torch.zeros_like(p, dtype=self.dtype)
                    kept = local_tensor(state["momentum_buffer"])
                    momentum = kept.float().mul_(group["momentum"]).add_(direction)
                    kept.copy_(momentum)
                    direction = (
                        direction.add(momentum, alpha=group["momentum"])
                        if group["nesterov"]
                        else momentum
                    )
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(direction, alpha=-group["lr"])
