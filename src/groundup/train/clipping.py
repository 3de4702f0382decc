"""Gradient clipping: by the norm of all gradients, by each tensor's own usual norm, or not at all.

Adaptive: AdaGC (Wang et al. 2025, arXiv:2502.11034). Each tensor's gradient is bounded by 1.05
times a moving average of its own *clipped* norms, so that one tensor's outlier neither enters the
optimizer's moments nor shrinks the steps of all others. For the first 100 steps clipping is global,
and the average is gathered.

Two things differ from the paper, which starts from the least norm of those 100 steps: here the
average runs from the first step on, and gradients that are zero do not count. Matrices that start
at zero give others tiny gradients at first, and a bound that can grow by a thousandth a step
(0.98 + 0.02 · 1.05) would hold them there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from groundup.train.config import Settings
from groundup.train.parallel.model import gradient_norms
from groundup.train.parallel.pieces import local_tensor
from groundup.train.state import RunState

# AdaGC's: relative threshold, decay of the average, steps of global clipping before.
RELATIVE, DECAY, WARMUP_STEPS = 1.05, 0.98, 100


@torch.no_grad()
def clip_gradients(state: RunState, settings: Settings, grad_norm: Tensor) -> None:
    """Scale the gradients in place.

    Args:
        grad_norm: of all gradients together, scalar.
    """
    if settings.clip == "global":
        scale_all(state, settings.grad_clip, grad_norm)
    elif settings.clip == "adaptive":
        if state.step < WARMUP_STEPS:
            scale_all(state, settings.grad_clip, grad_norm)
        bound_each(state, binding=state.step >= WARMUP_STEPS)


def scale_all(state: RunState, largest: float, grad_norm: Tensor) -> None:
    """The gradients as one vector of at most this norm, as `torch.nn.utils.clip_grad_norm_`."""
    share = torch.clamp(largest / (grad_norm + 1e-6), max=1.0)
    for parameter in state.model.parameters():
        if parameter.grad is not None:
            local_tensor(parameter.grad).mul_(share)


def bound_each(state: RunState, *, binding: bool) -> None:
    """Bound each gradient by its tensor's usual norm, and let it into the usual norm."""
    own = {name: p.grad for name, p in state.model.named_parameters() if p.grad is not None}
    # Python numbers, so that a checkpoint's JSON holds them to the bit.
    for name, norm in gradient_norms(state.model).items():
        if norm == 0:
            continue
        usual = state.clip_norms.setdefault(name, norm)
        bound = RELATIVE * usual
        if binding and norm > bound:
            if name in own:
                local_tensor(own[name]).mul_(bound / norm)
            norm = bound
        state.clip_norms[name] = DECAY * usual + (1 - DECAY) * norm
