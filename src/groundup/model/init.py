"""The weights a model starts from."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from groundup.model.transformer import Transformer


def init_weights(model: Transformer, generator: torch.Generator) -> None:
    """Fill all weights, in place.

    ===================  =====================  ==================  =============
    weight               nanochat               gpt2                llama
    ===================  =====================  ==================  =============
    embed                normal 1               normal 0.02         normal 0.02
    position                                    normal 0.02
    q, k, v, gate, up    uniform, std 1/√in     normal 0.02         normal 0.02
    o, down              0                      normal 0.02/√(2L)   normal 0.02
    head                 normal 0.001           (tied)              normal 0.02
    norm weights; biases 1; 0                   1; 0                1; 0
    ===================  =====================  ==================  =============

    nanochat: zero output projections make every block the identity at first, the small head makes
    the first loss log(V); embeddings are normalised at once, so that their size only sets how fast
    they turn; matrices, turned by Muon, start uniform, without outliers (github.com/karpathy/
    nanochat, gpt.py). gpt2: Radford et al. 2019, residual projections smaller by the number of
    additions to the residual stream. llama: the initializer_range of its `transformers` config.

    Args:
        model: any family.
        generator: of the CPU; the draws depend on it alone, not on the model's device or type.
    """
    kind, n_layers = model.config.init, model.config.n_layers
    for name, weight in model.named_parameters():
        part = name.removesuffix(".weight").rpartition(".")[2]
        if name.endswith(".bias"):
            nn.init.zeros_(weight)
        elif part.endswith("norm"):
            nn.init.ones_(weight)
        elif kind == "nanochat" and part in ("o", "down"):
            nn.init.zeros_(weight)
        elif kind == "nanochat" and part not in ("embed", "head"):
            bound = math.sqrt(3 / weight.shape[1])  # a uniform's std is its bound / √3
            _fill(weight, torch.empty(weight.shape).uniform_(-bound, bound, generator=generator))
        else:
            std = _normal_std(kind, part, n_layers)
            _fill(weight, torch.empty(weight.shape).normal_(0, std, generator=generator))


def _normal_std(kind: str, part: str, n_layers: int) -> float:
    if kind == "nanochat":
        return {"embed": 1.0, "head": 0.001}[part]
    if kind == "gpt2" and part in ("o", "down"):
        return 0.02 / math.sqrt(2 * n_layers)
    return 0.02


def _fill(weight: Tensor, values: Tensor) -> None:
    with torch.no_grad():
        weight.copy_(values)
