"""Which optimizer moves which parameter, and their state under the parameters' names.

The blocks' matrices are Muon's, and the only ones that decay. Embeddings and head are matrices
whose rows are symbols, where orthogonalising makes no sense: AdamW moves them, and the vectors.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from groundup.model.transformer import Transformer
from groundup.train.config import Settings
from groundup.train.optimizers.muon import Muon

Optimizers = list[torch.optim.Optimizer]


# AdamW's peak rates beside Muon, by initialisation: embeddings; head, norms and biases. NanoChat's
# embeddings start at size 1, are normalised at once and are rarely moved: found in
# docs/experiments.md. The others start at 0.02, which bounds their steps.
BESIDE_MUON = {"nanochat": (0.4, 0.02)}
OTHERS_BESIDE_MUON = (0.003, 0.003)


def build_optimizers(model: Transformer, settings: Settings) -> Optimizers:
    """The optimizers of a run; each group keeps its peak rate under ``peak_lr``."""
    matrices, embeddings, rest = roles(model)
    betas = (settings.beta1, settings.beta2)
    if settings.optimizer == "adamw":
        decayed = {"params": matrices, "weight_decay": settings.weight_decay}
        others = {"params": embeddings + rest, "weight_decay": 0.0}
        groups = [decayed, others]
        optimizers: Optimizers = [
            torch.optim.AdamW(groups, settings.learning_rate, betas, fused=True)
        ]
    else:
        usual_embedding, usual = BESIDE_MUON.get(model.config.init, OTHERS_BESIDE_MUON)
        of_embeddings = settings.embedding_learning_rate or usual_embedding
        of_rest = settings.adam_learning_rate or usual
        groups = [{"params": embeddings, "lr": of_embeddings}, {"params": rest, "lr": of_rest}]
        # The small epsilon lets tiny gradients of rare symbols still move them (nanochat).
        adamw = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            betas=betas,
            eps=1e-10,
            weight_decay=0.0,
            fused=True,
        )
        dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
        muon = Muon(
            matrices, settings.learning_rate, settings.momentum, settings.weight_decay, dtype
        )
        optimizers = [muon, adamw]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def roles(model: Transformer) -> tuple[list[nn.Parameter], ...]:
    """The blocks' matrices; embeddings of their own; head (tied too), norms and biases."""
    matrices, embeddings, rest = [], [], []
    for name, parameter in model.named_parameters():
        if name.startswith("blocks.") and parameter.ndim == 2:
            matrices.append(parameter)
        elif name in ("embed.weight", "position.weight") and parameter is not model.head.weight:
            embeddings.append(parameter)
        else:
            rest.append(parameter)
    return matrices, embeddings, rest


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
