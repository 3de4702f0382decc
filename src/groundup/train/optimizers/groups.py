"""Which optimizer moves which parameter, and their state under the parameters' names.

Muon moves the matrices between features and features, and they alone decay. Embeddings, head,
routers and classes are matrices whose rows are symbols, where orthogonalising makes no sense: AdamW
moves them, and the vectors.

With init mup (`architecture.mup`) AdamW's rate of those matrices falls as base width by width, and
their decay rises as much, so that rate times decay stays (arXiv:2203.03466, table 8, and its code);
that of routers and classes falls too, those of embeddings, vectors and head stay. Muon's rate stays
for all widths: its update of a matrix [out, in] has the spectral norm lr·√max(1, out/in), which is
what features of all widths need (arXiv:2310.17813, condition 1), whatever the size of a gradient.
SGD's rate of hidden matrices stays, and rises with the width for embeddings, vectors and head
(arXiv:2203.03466, table 8). Adafactor's counts in sizes of weights, which fall as the width's root.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from groundup.model.init import CLASSES, HIDDEN, mup_ratio, part_of
from groundup.model.transformer import Transformer
from groundup.train.config import Settings
from groundup.train.optimizers.adafactor import Adafactor
from groundup.train.optimizers.adamw import LeanAdamW
from groundup.train.optimizers.layouts import alike
from groundup.train.optimizers.muon import Muon
from groundup.train.optimizers.sgd import SGD
from groundup.train.replaced_token import ReplacedTokenPair

Optimizers = list[torch.optim.Optimizer]


# AdamW's peak rates beside Muon, by initialisation: embeddings; head, norms and biases. NanoChat's
# embeddings start at size 1, are normalised at once and are rarely moved: found in
# docs/experiments.md. The others start at 0.02, which bounds their steps.
BESIDE_MUON = {"nanochat": (0.4, 0.02)}
OTHERS_BESIDE_MUON = (0.003, 0.003)

EMBEDDINGS = frozenset({"embed", "position", "token_type", "query_start"})


def build_optimizers(model: Transformer | ReplacedTokenPair, settings: Settings) -> Optimizers:
    """The optimizers of a run; each group keeps its peak rate under ``peak_lr``."""
    optimizers = BUILDERS[settings.optimizer](model, settings)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def _muon(model: Transformer | ReplacedTokenPair, settings: Settings) -> Optimizers:
    matrices, embeddings, classes, rest = roles(model)
    usual_embedding, usual = BESIDE_MUON.get(model.config.init, OTHERS_BESIDE_MUON)
    of_embeddings = settings.embedding_learning_rate or usual_embedding
    of_rest = settings.adam_learning_rate or usual
    ratio = mup_ratio(model.config) if model.config.init == "mup" else 1.0
    # The small epsilon lets tiny gradients of rare symbols still move them (nanochat).
    others = [
        {"params": embeddings, "lr": of_embeddings},
        {"params": rest, "lr": of_rest},
        {"params": classes, "lr": of_rest * ratio},
    ]
    # A stage in the middle of a pipeline may have nothing but matrices.
    is_needed = any(group["params"] for group in others)
    adamw = [_adamw_of(model, others, settings, eps=1e-10)] if is_needed else []
    muon = Muon(
        _groups([{"params": matrices}]),
        settings.learning_rate,
        settings.momentum,
        settings.weight_decay,
        torch.float32 if settings.precision == "fp32" else torch.bfloat16,
        DTYPES[settings.optimizer_dtype],
    )
    return [muon, *adamw]


def _adamw(model: Transformer | ReplacedTokenPair, settings: Settings) -> Optimizers:
    ratio = mup_ratio(model.config) if model.config.init == "mup" else 1.0
    return [_adamw_of(model, _by_role(model, settings, ratio, 1.0, ratio), settings)]


def _sgd(model: Transformer | ReplacedTokenPair, settings: Settings) -> Optimizers:
    ratio = mup_ratio(model.config) if model.config.init == "mup" else 1.0
    groups = _groups(_by_role(model, settings, 1.0, 1 / ratio, ratio))
    return [
        SGD(
            groups,
            settings.learning_rate,
            settings.momentum,
            nesterov=settings.nesterov,
            dtype=DTYPES[settings.optimizer_dtype],
        )
    ]


def _adafactor(model: Transformer | ReplacedTokenPair, settings: Settings) -> Optimizers:
    ratio = mup_ratio(model.config) if model.config.init == "mup" else 1.0
    groups = _groups(_by_role(model, settings, ratio**0.5, 1.0, ratio**0.5))
    return [Adafactor(groups, settings.learning_rate)]


BUILDERS: dict[str, Callable[[Transformer | ReplacedTokenPair, Settings], Optimizers]] = {
    "muon": _muon, "adamw": _adamw, "sgd": _sgd, "adafactor": _adafactor,
}  # fmt: skip
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def _by_role(
    model: Transformer | ReplacedTokenPair,
    settings: Settings,
    of_matrices: float,
    of_rest: float,
    of_classes: float,
) -> list[dict[str, Any]]:
    """The groups of an optimizer that moves all, with the share of the rate of each role."""
    matrices, embeddings, classes, rest = roles(model)
    lr = settings.learning_rate
    return [
        {
            "params": matrices,
            "lr": lr * of_matrices,
            "weight_decay": settings.weight_decay / of_matrices,
        },
        {"params": embeddings + rest, "lr": lr * of_rest, "weight_decay": 0.0},
        {"params": classes, "lr": lr * of_classes, "weight_decay": 0.0},
    ]


def _adamw_of(
    model: nn.Module, groups: list[dict[str, Any]], settings: Settings, eps: float = 1e-8
) -> torch.optim.Optimizer:
    groups, betas = _groups(groups), (settings.beta1, settings.beta2)
    if settings.optimizer_dtype == "bf16":
        names: dict[Tensor, str] = {p: name for name, p in model.named_parameters()}
        return LeanAdamW(groups, betas=betas, eps=eps, names=names)
    return torch.optim.AdamW(groups, betas=betas, eps=eps, weight_decay=0.0, fused=True)


def roles(model: Transformer | ReplacedTokenPair) -> tuple[list[nn.Parameter], ...]:
    """Matrices of features; embeddings of their own; routers and classes; the rest.

    The rest: the head (tied too), norms, biases, and the vectors of relative places.
    """
    head = getattr(model.head, "weight", None)
    matrices: list[nn.Parameter] = []
    embeddings: list[nn.Parameter] = []
    classes: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        part = part_of(name)
        if part in HIDDEN and name.endswith(".weight"):
            matrices.append(parameter)
        elif part in EMBEDDINGS and parameter is not head:
            embeddings.append(parameter)
        elif part in CLASSES and name.endswith(".weight"):
            classes.append(parameter)
        else:
            rest.append(parameter)
    return matrices, embeddings, classes, rest


def _groups(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups, each once for every layout of its parameters; empty ones left out."""
    return [{**group, "params": same} for group in groups for same in alike(group["params"])]


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
