"""Local SGD and DiLoCo: replicas that take steps of their own, and come together now and then.

DiLoCo (Douillard et al. 2023, arXiv:2311.08105, algorithm 1): from common weights θ each of the N
replicas takes H inner steps on samples of its own, to θ_i. What they have moved in the mean is the
gradient of one outer step, by SGD with Nesterov momentum:

    Δ = θ - (1/N) Σ θ_i        m ← μ m + Δ        θ ← θ - η (Δ + μ m)

With η = 1 and μ = 0 that is the mean of the weights: local SGD (Stich 2019, arXiv:1805.09767).

Notable: a replica is one process with a whole model and optimizers of its own. Loss, gradient norm
and requests to stop are told at every step, some bytes, so that all agree on what the guard
decides; weights travel every H steps only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from groundup.train.asynchronous.config import AsynchronousConfig
from groundup.train.asynchronous.layout import require_no_batch_norm
from groundup.train.config import Settings
from groundup.train.distributed import Ranks, summed
from groundup.train.state import RunState

ANCHOR, MOMENTUM = "anchor/", "momentum/"  # what an outer tensor's name begins with


def is_local(settings: Settings) -> bool:
    """Whether the run's replicas take steps of their own."""
    return bool(settings.asynchronous["kind"] == "local_sgd")


def start_outer(state: RunState, settings: Settings) -> None:
    """Remember the weights that all replicas begin with, where the outer step needs them.

    Raises:
        ConfigError: the model has a batch norm.
    """
    require_no_batch_norm(state.model)
    state.asynchronous = {"synchronised_at": 0}
    state.outer = {}
    if is_average(AsynchronousConfig(**settings.asynchronous)):
        return
    for name, parameter in state.model.named_parameters():
        state.outer[f"{ANCHOR}{name}"] = parameter.detach().clone()
        state.outer[f"{MOMENTUM}{name}"] = torch.zeros_like(parameter.detach())


def is_average(config: AsynchronousConfig) -> bool:
    """Whether the outer step is the mean of the weights, which needs no memory."""
    return config.outer_learning_rate == 1 and config.outer_momentum == 0


@torch.no_grad()
def synchronise(state: RunState, settings: Settings, ranks: Ranks) -> bool:
    """The outer step where it is due: every ``sync_every`` steps, and at the end. Whether it was.

    All replicas call it after the same step.
    """
    config = AsynchronousConfig(**settings.asynchronous)
    is_due = state.step % config.sync_every == 0 or state.step >= settings.steps
    if state.outer is None or not is_due or state.asynchronous == {"synchronised_at": state.step}:
        return False
    for name, parameter in state.model.named_parameters():
        mean = summed(parameter.detach().clone(), ranks).div_(ranks.size)
        if is_average(config):
            parameter.copy_(mean)
            continue
        anchor, momentum = state.outer[f"{ANCHOR}{name}"], state.outer[f"{MOMENTUM}{name}"]
        change = anchor - mean
        momentum.mul_(config.outer_momentum).add_(change)
        anchor.sub_(config.outer_learning_rate * (change + config.outer_momentum * momentum))
        parameter.copy_(anchor)
    state.asynchronous = {"synchronised_at": state.step}
    return True


def told_by_replicas(
    loss: Tensor, norm: Tensor, tell: tuple[float, ...], ranks: Ranks
) -> tuple[Tensor, Tensor, tuple[float, ...]]:
    """Mean loss, root mean square of the gradient norms, and the sums of what each has to say.

    The same on all replicas, which go on with gradients of their own.
    """
    if ranks.size == 1:
        return loss, norm, tell
    told = summed(torch.cat([torch.stack([loss, norm.square()]), loss.new_tensor(tell)]), ranks)
    mean_loss, square = told[:2] / ranks.size
    return mean_loss, square.sqrt(), tuple(told[2:].tolist())


def replica_tensors(state: RunState) -> dict[str, Tensor]:
    """What of a replica the others do not have: its weights and optimizer states.

    Named ``model/…`` and ``optimizer/…``; those of the first replica are a checkpoint's own.
    """
    groups = state.tensors()
    return {
        f"{group}/{name}": tensor
        for group in ("model", "optimizer")
        for name, tensor in groups[group].items()
    }


def replica_file(ranks: Ranks) -> str:
    """The file of a checkpoint that holds `replica_tensors`."""
    return f"replica-{ranks.rank:05d}.safetensors"
