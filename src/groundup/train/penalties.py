"""L1 and L2 penalties on the weights, as terms of the gradient.

    l1 · Σ|w| + l2/2 · Σw²    adds    l1 · sign(w) + l2 · w

Of the matrices that weight decay has too. They pass through the optimizer like the loss's own
gradient: with an adaptive one that is not decoupled weight decay (Loshchilov & Hutter 2019,
arXiv:1711.05101), which is `weight_decay`. The logged loss is without them.
"""

from __future__ import annotations

import torch

from groundup.train.config import Settings
from groundup.train.optimizers.groups import roles
from groundup.train.parallel.pieces import local_tensor
from groundup.train.state import RunState


@torch.no_grad()
def add_penalties(state: RunState, settings: Settings) -> None:
    """Add the penalties' gradients to those of the whole step, once."""
    if not (settings.l1 or settings.l2):
        return
    for weight in roles(state.model)[0]:
        if weight.grad is None:
            continue
        here, gradient = local_tensor(weight), local_tensor(weight.grad)
        if settings.l1:
            gradient.add_(here.sign(), alpha=settings.l1)
        if settings.l2:
            gradient.add_(here, alpha=settings.l2)
