"""Which optimizer moves which parameter, and their state under the parameters' names.

Parameters have one of three roles: the blocks' matrices, the embeddings and head (matrices whose
rows are symbols, where orthogonalising makes no sense), and vectors (norms, biases: no weight
decay).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from groundup.train.config import Settings
from groundup.train.optimizers.muon import Muon

Optimizers = list[torch.optim.Optimizer]


def build_optimizers(model: nn.Module, settings: Settings) -> Optimizers:
    """The optimizers of a run; each group keeps its peak rate under ``peak_lr``."""
    matrices, symbols, vectors = [], [], []
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            vectors.append(parameter)
        elif name.startswith("blocks."):
            matrices.append(parameter)
        else:
            symbols.append(parameter)

    muon = settings.optimizer == "muon"
    rate = settings.adam_learning_rate if muon else settings.learning_rate
    groups = [
        {"params": symbols, "lr": rate, "weight_decay": 0.0},
        {"params": vectors, "lr": rate, "weight_decay": 0.0},
    ]
    if not muon:
        groups.insert(0, {"params": matrices, "lr": rate, "weight_decay": settings.weight_decay})
    adamw = torch.optim.AdamW(
        [group for group in groups if group["params"]],
        betas=(settings.beta1, settings.beta2),
        eps=1e-10 if muon else 1e-8,  # tiny gradients of rare symbols still move them (nanochat)
        fused=True,
    )
    optimizers: Optimizers = [adamw]
    if muon:
        dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
        optimizers.insert(
            0,
            Muon(matrices, settings.learning_rate, settings.momentum, settings.weight_decay, dtype),
        )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def set_learning_rate(optimizers: Optimizers, ratio: float) -> None:
    """Every group to ``ratio`` of its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * ratio


def optimizer_tensors(model: nn.Module, optimizers: Optimizers) -> Iterator[tuple[str, Tensor]]:
    """(``<parameter>/<state>``, tensor) of every optimizer state, for a checkpoint."""
    for optimizer in optimizers:
        for name, parameter in model.named_parameters():
            for key, value in optimizer.state.get(parameter, {}).items():
                yield f"{name}/{key}", value


def load_optimizer_tensors(
    model: nn.Module, optimizers: Optimizers, tensors: dict[str, Tensor]
) -> None:
    """Put back what `optimizer_tensors` gave, on each parameter's own device."""
    by_parameter: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        parameter_name, _, key = name.rpartition("/")
        by_parameter.setdefault(parameter_name, {})[key] = tensor
    for optimizer in optimizers:
        moved = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for name, parameter in model.named_parameters():
            if id(parameter) in moved and name in by_parameter:
                optimizer.state[parameter] = {
                    key: tensor.to(parameter.device) for key, tensor in by_parameter[name].items()
                }
