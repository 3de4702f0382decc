"""One optimizer step in its two halves: gradients of a batch, and the update by them.

Between the two the guard looks at loss and gradient norm, so that what is wrong is never applied.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from groundup.train.asynchronous.local_sgd import told_by_replicas
from groundup.train.average import update_average
from groundup.train.batch import Batch, Counts, counts_of
from groundup.train.breakdown import NOBODY, Timer
from groundup.train.clipping import clip_gradients
from groundup.train.compile import begin_step
from groundup.train.config import Settings
from groundup.train.distributed import ALONE, Ranks, summed
from groundup.train.objectives import Loss, next_token_loss
from groundup.train.optimizers.groups import set_learning_rate
from groundup.train.parallel.model import (
    exchange_gradients,
    forward_pass,
    gradient_norm,
    pipeline_of,
)
from groundup.train.parallel.partial import sum_partial
from groundup.train.parallel.pipeline import pipelined
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
        own_norm: of local SGD, the norm of this replica's gradients, where ``norm`` is of all.
    """

    loss: Tensor
    norm: Tensor
    told: tuple[float, ...] = ()
    own_norm: Tensor | None = None

    def numbers(self) -> tuple[float, float]:
        """Loss and norm; waits for the device once."""
        # With offloading the gradients, and so their norm, are not where the loss is.
        loss, norm = torch.stack([self.loss, self.norm.to(self.loss.device)]).tolist()
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
    timer: Timer = NOBODY,
) -> Gradients:
    """Forward and backward over the micro-batches of this rank's rows.

    Args:
        batch: this rank's rows, on the device.
        counts: of the whole step, over all ranks: what sums are divided by.
        loss_of: what a micro-batch adds to the step's mean loss.
        tell: what this rank has to say beside; every rank gets the sums.
        timer: is told what begins.
    """
    loss = accumulated(state, settings, batch, counts, loss_of, timer)
    timer.at("optimizer")
    sum_partial(state.model, ranks)
    add_penalties(state, settings)
    norm = gradient_norm(state.model)
    if state.outer is not None:
        return Gradients(*told_by_replicas(loss, norm, tell, ranks), own_norm=norm)
    if ranks.size == 1:
        return Gradients(loss, norm, tell)
    told = summed(torch.cat([loss[None] / ranks.tp, loss.new_tensor(tell)]), ranks)
    return Gradients(told[0], norm, tuple(told[1:].tolist()))


def accumulated(
    state: RunState, settings: Settings, batch: Batch, counts: Counts, loss_of: Loss, timer: Timer
) -> Tensor:
    """Forward and backward, micro-batch by micro-batch; what this rank's rows add to the loss."""
    pipeline = pipeline_of(state.model)
    if pipeline is not None:
        timer.at("forward_backward")
        return pipelined(state.model, pipeline, settings, batch, counts, loss_of)
    loss = torch.zeros((), device=settings.device)
    micro_batches = list(batch.split(settings.micro_batch_size))
    at_once = settings.layout.get("zero") == 1  # gradients whole until the last micro-batch
    for number, micro_batch in enumerate(micro_batches, 1):
        exchange_gradients(state.model, not at_once or number == len(micro_batches))
        timer.at("forward")
        with autocast(settings.device, settings.precision):
            micro_loss = forward_pass(loss_of, state.model, micro_batch, counts)
        timer.at("backward")
        micro_loss.backward()
        loss += micro_loss.detach()
    return loss


def apply_gradients(
    state: RunState, settings: Settings, found: Gradients, factor: float = 1.0
) -> None:
    """Clip, set the learning rate (times ``factor``), update, and count the step."""
    clip_gradients(state, settings, found.norm if found.own_norm is None else found.own_norm)
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
    begin_step(state.model)


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
