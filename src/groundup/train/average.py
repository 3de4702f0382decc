"""A moving average of the weights over the steps, for evaluation and use (Polyak averaging).

After step t it is the mean of the weights of all steps so far, those of step i weighted with
d^(t-i). Divided by the sum of the weights as Adam's moments are (arXiv:1412.6980, section 3), it is
the weights themselves after the first step, and no random start ever weighs in:

    average += (w - average) · (1 - d) / (1 - d^t)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from groundup.train.config import Settings
from groundup.train.parallel.pieces import local_tensor
from groundup.train.state import RunState


def start_average(state: RunState) -> None:
    """Begin with a copy of the weights, laid out as they are; fp32."""
    state.average = {
        name: weight.detach().float().clone() for name, weight in state.model.named_parameters()
    }


@torch.no_grad()
def update_average(state: RunState, settings: Settings) -> None:
    """Take in the weights of the step that was just counted."""
    if settings.ema_decay is None:
        return
    if state.average is None:
        start_average(state)
        return
    decay = settings.ema_decay
    share = (1 - decay) / (1 - decay**state.step)
    for name, weight in state.model.named_parameters():
        local_tensor(state.average[name]).lerp_(local_tensor(weight).float(), share)


@contextmanager
def averaged(state: RunState) -> Iterator[None]:
    """The model with its averaged weights; afterwards it has its own again, to the bit."""
    if state.average is None:
        yield
        return
    exchange(state, state.average)
    try:
        yield
    finally:
        exchange(state, state.average)


@torch.no_grad()
def exchange(state: RunState, average: dict[str, Tensor]) -> None:
    """Swap weights and averages, one tensor at a time."""
    for name, weight in state.model.named_parameters():
        here, there = local_tensor(weight), local_tensor(average[name])
        kept = here.clone()
        here.copy_(there)
        there.copy_(kept)
