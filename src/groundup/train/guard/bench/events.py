"""The faults that are injected: bad batches, and damage to learning rate, weights and moments.

Bad text lies at a place of the data, so it is met again by whoever reads that place again. Damage
happens at a moment, so it happens once, however often a run goes back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from groundup.train.batch import Batch
from groundup.train.state import RunState

Damage = Callable[[RunState, int, np.random.Generator], None]  # state, steps since, random numbers
Spoil = Callable[[Batch, np.random.Generator], Batch]


@dataclass(frozen=True)
class Event:
    """One fault.

    Attributes:
        what: it is, in words.
        n_batches, spoil: so many batches are replaced by what `spoil` makes of them.
        n_steps, damage: called before each of so many steps, and once after them.
        is_counted: whether the target counts it; else it is named as outside the guard.
    """

    what: str
    n_batches: int = 0
    spoil: Spoil | None = None
    n_steps: int = 0
    damage: Damage | None = None
    is_counted: bool = True


def noise(batch: Batch, random: np.random.Generator) -> Batch:
    """Random bytes."""
    rows, length = batch.inputs.shape
    drawn = torch.from_numpy(random.integers(0, 256, (rows, length + 1)))
    return replace(batch, inputs=drawn[:, :-1], targets=drawn[:, 1:])


def repeated(batch: Batch, random: np.random.Generator) -> Batch:
    """One byte everywhere."""
    drawn = torch.full_like(batch.inputs, int(random.integers(0, 256)))
    return replace(batch, inputs=drawn, targets=drawn)


def burst(state: RunState, since: int, random: np.random.Generator) -> None:
    """Fifty times the learning rate, and back after the last of the steps."""
    factor = {0: BURST, BURST_STEPS: 1 / BURST}.get(since, 1.0)
    for optimizer in state.optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] *= factor


@torch.no_grad()
def flip_bit(state: RunState, since: int, random: np.random.Generator) -> None:
    """Flip the highest bit of the exponent of one weight of a query, key or value projection."""
    if since == 0:
        weight = pick(state.model, ("q.weight", "k.weight", "v.weight"), random)
        bits = weight.view(torch.int32).reshape(-1)
        bits[int(random.integers(len(bits)))] ^= 1 << EXPONENT_BIT


@torch.no_grad()
def poison_weight(state: RunState, since: int, random: np.random.Generator) -> None:
    """One weight of a matrix becomes NaN."""
    if since == 0:
        weight = pick(state.model, (".weight",), random).reshape(-1)
        weight[int(random.integers(len(weight)))] = torch.nan


@torch.no_grad()
def forget_moments(state: RunState, since: int, random: np.random.Generator) -> None:
    """Adam's second moments become zero."""
    if since == 0:
        for optimizer in state.optimizers:
            for moments in optimizer.state.values():
                moments["exp_avg_sq"].zero_()


@torch.no_grad()
def scale_rows(state: RunState, since: int, random: np.random.Generator) -> None:
    """Sixteen rows of a feed-forward matrix become two hundred times as large."""
    if since == 0:
        weight = pick(state.model, ("up.weight", "down.weight"), random)
        weight[torch.from_numpy(random.permutation(len(weight))[:16].copy())] *= 200


def pick(model: nn.Module, ends: tuple[str, ...], random: np.random.Generator) -> Tensor:
    """One of the matrices whose names end so."""
    found = [p for name, p in model.named_parameters() if name.endswith(ends) and p.ndim == 2]
    return found[int(random.integers(len(found)))]


BURST, BURST_STEPS = 50.0, 3
EXPONENT_BIT = 30  # of float32: times 2**128, for weights below one

once = partial(Event, n_steps=1)
EVENTS = {
    "poison20": Event("20 batches of random bytes", n_batches=20, spoil=noise),
    "poison1": Event("1 batch of random bytes", n_batches=1, spoil=noise),
    "repeat5": Event("5 batches of one repeated byte", n_batches=5, spoil=repeated),
    "lr_burst": Event("learning rate times 50 for 3 steps", n_steps=BURST_STEPS, damage=burst),
    "weight_bit": once("highest exponent bit of one attention weight flipped", damage=flip_bit),
    "nan_weight": once("one weight is NaN", damage=poison_weight),
    "adam_zeroed": once("Adam's second moments set to zero", damage=forget_moments),
    "rows_x200": once("16 rows of a matrix times 200", damage=scale_rows, is_counted=False),
}
