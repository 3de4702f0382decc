"""The size that costs least over training and use together, at the quality of another model.

Sardana & Frankle 2024 (arXiv:2401.00448): minimise 6ND + 2N·D_inf at L(N, D) = l; a model smaller
than the compute optimum, trained longer, repays its training in use. The money form has prices and
efficiencies of its own for training, for reading prompts and for writing answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from groundup.errors import InputError
from groundup.plan.laws import name_of_optimum, surface, surfaces
from groundup.plan.limits import (
    require_parameters,
    require_planned,
    require_positive,
    require_tokens,
)
from groundup.plan.loss_surface import INFERENCE_FLOPS, TRAINING_FLOPS, LossSurface

DEFAULT_USE_LAW = "sardana"  # the coefficients of the paper's own examples


@dataclass(frozen=True)
class Rates:
    """Prices and efficiencies of training and of use, for the money form.

    The default efficiencies are the setting of Sardana & Frankle's section 3, from memory; a server
    that batches its requests decodes far better than 1 %.
    """

    training_usd_per_hour: float  # of a chip
    inference_usd_per_hour: float
    training_flops_per_second: float  # peak of a chip
    inference_flops_per_second: float
    training_mfu: float = 0.5
    prefill_mfu: float = 0.5  # compute-bound, as training
    decode_mfu: float = 0.01  # bound by memory bandwidth
    input_share: float = 0.25  # of the inference tokens, read as prompt

    def __post_init__(self) -> None:
        """Check every number."""
        for name, value in vars(self).items():
            if name != "input_share":
                require_positive(value, name)
            if (name.endswith("mfu") or name == "input_share") and not 0 <= value <= 1:
                raise InputError(f"{name} is {value:g}, but must be from 0 to 1", where=name)

    @property
    def usd_per_training_flop(self) -> float:
        """Dollars."""
        attained = self.training_flops_per_second * self.training_mfu
        return self.training_usd_per_hour / 3600 / attained

    @property
    def usd_per_inference_flop(self) -> float:
        """Dollars, averaged over prompt and answer."""
        per_peak = self.inference_usd_per_hour / 3600 / self.inference_flops_per_second
        share = self.input_share
        return per_peak * (share / self.prefill_mfu + (1 - share) / self.decode_mfu)


@dataclass(frozen=True)
class InferenceOptimal:
    """The cheapest model over training and use, beside the one whose quality it has."""

    law: str
    params: float
    tokens: float
    flops: float  # training
    total_flops: float  # and use
    loss: float
    like_params: float
    like_tokens: float
    tokens_ratio: float  # over like_tokens
    saving: float  # share of the total (FLOPs, or dollars where rates are given)
    usd: float | None
    like_usd: float | None


def inference_optimal(
    like_params: float,
    like_tokens: float | None = None,
    *,
    inference_tokens: float,
    law: str = DEFAULT_USE_LAW,
    rates: Rates | None = None,
) -> InferenceOptimal:
    """The N and D that minimise 6ND + 2N·D_inf at the loss of another model, or the money for it.

    Money: C_tr·6ND/(MFU_tr·F_tr) + C_inf·2N(D_in/MFU_in + D_out/MFU_out)/F_inf.
    In log N the sum is convex, and its slope is zero where
    D·((alpha/beta)/(K·N^alpha/A - 1) - 1) = use/training, with K the reducible loss; between the
    least N that reaches the loss and the compute optimum the left side falls: bisection.

    Args:
        like_params: size of the model whose loss is wanted.
        like_tokens: its training tokens; None: its own compute optimum by ``law``.
        inference_tokens: read and written over the life of the model; 0: compute optimum.
        law: one with a loss surface.
        rates: count dollars, not FLOPs.

    Raises:
        ConfigError: no such law, or one without a loss surface.
        InputError: a number that is not positive, or absurd.
    """
    of = surface(law)
    n_like = require_parameters(like_params, "like_params")
    d_like = require_tokens(
        of.optimal_tokens(n_like) if like_tokens is None else like_tokens, "like_tokens"
    )
    use = require_tokens(inference_tokens, "inference_tokens") if inference_tokens else 0.0
    training_weight = TRAINING_FLOPS * (rates.usd_per_training_flop if rates else 1)
    use_weight = INFERENCE_FLOPS * use * (rates.usd_per_inference_flop if rates else 1)
    loss = of.loss(n_like, d_like)
    n = _least_cost_params(of, loss, use_weight / training_weight)
    d = of.tokens_for_loss(n, loss)
    assert d is not None  # n lies above the least size that reaches the loss

    def cost(params: float, tokens: float) -> float:
        return training_weight * params * tokens + use_weight * params

    flops = TRAINING_FLOPS * n * d
    named = name_of_optimum(law)
    require_planned(n, "params", named)
    require_planned(d, "tokens", named)
    return InferenceOptimal(
        named,
        n,
        d,
        flops,
        flops + INFERENCE_FLOPS * n * use,
        loss,
        n_like,
        d_like,
        d / d_like,
        1 - cost(n, d) / cost(n_like, d_like),
        cost(n, d) if rates else None,
        cost(n_like, d_like) if rates else None,
    )


def inference_optimal_by_law(
    like_params: float,
    like_tokens: float | None = None,
    *,
    inference_tokens: float,
    rates: Rates | None = None,
) -> dict[str, InferenceOptimal]:
    """`inference_optimal` by every listed law with a surface: how far the answer can be trusted.

    Raises:
        InputError: a number that is not positive, or absurd.
    """
    return {
        name_of_optimum(law): inference_optimal(
            like_params, like_tokens, inference_tokens=inference_tokens, law=law, rates=rates
        )
        for law in (DEFAULT_USE_LAW, *surfaces())
    }


def _least_cost_params(of: LossSurface, loss: float, use_tokens: float) -> float:
    """The N that minimises N·D(N) + N·``use_tokens``, D(N) being what reaches ``loss``."""
    reducible = loss - of.irreducible
    high, _ = of.optimum_for_loss(loss)
    low: float = (of.a / reducible) ** (1 / of.alpha)  # reaches the loss with endless text

    def slope(params: float) -> float:
        tokens = of.tokens_for_loss(params, loss)
        if tokens is None:
            return math.inf
        spare = reducible * params**of.alpha / of.a - 1
        per_params: float = tokens * (of.alpha / of.beta / spare - 1)
        return per_params - use_tokens

    for _ in range(200):
        middle = math.sqrt(low * high)
        if not low < middle < high:
            break
        if slope(middle) > 0:
            low = middle
        else:
            high = middle
    return high
