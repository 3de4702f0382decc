"""One optimizer step in its two halves: gradients of a batch, and the update by them.

Between the two the guard looks at loss and gradient norm, so that what is wrong is never applied.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from groundup.train.average import update_average
from groundup.train.batch import Batch, Counts, counts_of
from groundup.train.clipping import clip_gradients
from groundup.train.config import Settings
from groundup.train.distributed import ALONE, Ranks, summed
from groundup.train.objectives import Loss, next_token_loss
from groundup.train.optimizers.groups import set_learning_rate
from groundup.train.parallel.model import forward_pass, gradient_norm
from groundup.train.penalties import add_penalties
from groundup.train.precision import autocast
from groundup.train.schedules import learning_rate_ratio
from groundup.train.state import RunState


class Gradients(NamedTuple):
    """What a batch gave; the gradients themselves are in the parameters.

    Attributes:
        loss: scalar float32 on the device, mean over the targets of the whole step, nats.
        norm: scalar float32 on the device, global L2 norm before clipping.
        told: what the ranks told each other, summed.
    """

    loss: Tensor
    norm: Tensor
    told: tuple[float, ...] = ()

    def numbers(self) -> tuple[float, float]:
        """Loss and norm; waits for the device once."""
        loss, norm = torch.stack([self.loss, self.norm]).tolist()
        return loss, norm


def gradients(
    state: RunState,
    settings: Settings,
    batch: Batch,
    counts: Counts,
    loss_of: Loss,
    ranks: Ranks = ALONE,
    *,
    tell: tuple[float, ...] = (),
) -> Gradients:
    """Forward and backward over the micro-batches of this rank's rows.

    Args:
        batch: this rank's rows, on the device.
        counts: of the whole step, over all ranks: what sums are divided by.
        loss_of: what a micro-batch adds to the step's mean loss.
        tell: what this rank has to say beside; every rank gets the sums.
    """
    loss = torch.zeros((), device=settings.device)
    for micro_batch in batch.split(settings.micro_batch_size):
        with autocast(settings.device, settings.precision):
            micro_loss = forward_pass(loss_of, state.model, micro_batch, counts)
        micro_loss.backward()
        loss += micro_loss.detach()
    add_penalties(state, settings)
    norm = gradient_norm(state.model.parameters())
    if ranks.size == 1:
        return Gradients(loss, norm, tell)
    told = summed(torch.cat([loss[None], loss.new_tensor(tell)]), ranks)
    return Gradients(told[0], norm, tuple(told[1:].tolist()))


def apply_gradients(
    state: RunState, settings: Settings, found: Gradients, factor: float = 1.0
) -> None:
    """Clip, set the learning rate (times ``factor``), update, and count the step."""
    clip_gradients(state, settings, found.norm)
    ratio = learning_rate_ratio(settings, state.step)
    set_learning_rate(state.optimizers, ratio * factor)
    for optimizer in state.optimizers:
        optimizer.step()
    drop_gradients(state)
    state.step += 1
    state.cursor += settings.batch_size
    state.tokens += settings.batch_size * settings.context_length
    update_average(state, settings)


def drop_gradients(state: RunState) -> None:
    """Forget the gradients, applied or not."""
    for parameter in state.model.parameters():
        parameter.grad = None


def train_step(
    state: RunState, settings: Settings, batch: Batch, loss_of: Loss = next_token_loss
) -> tuple[Tensor, Tensor]:
    """Both halves in one process, without a guard.

    Args:
        batch: on the device; its rows are cut into micro-batches.

    Returns:
        mean loss over the targets, nats, and gradient norm before clipping; both scalar float32
        on the device.
    """
    found = gradients(state, settings, batch, counts_of(batch), loss_of)
    apply_gradients(state, settings, found)
    return found.loss, found.norm
