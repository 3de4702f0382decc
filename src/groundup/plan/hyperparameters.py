"""Learning rate and batch size by published laws, the critical batch, and muP's width rules.

The laws (``catalog/hyperparameters.csv``) are products of powers, k N^a D^b C^c, each fitted with
its own optimizer, schedule and count of N: a start for a search, not its end.

Critical batch: McCandlish et al. 2018 (arXiv:1812.06162), Kaplan et al. 2020 (arXiv:2001.08361).
Width transfer: Yang et al. 2022 (arXiv:2203.03466, table 8, Adam).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from groundup.errors import InputError
from groundup.plan import catalogs
from groundup.plan.limits import (
    require_count,
    require_flops,
    require_parameters,
    require_positive,
    require_tokens,
)
from groundup.plan.loss_surface import TRAINING_FLOPS

DEFAULT_HYPERPARAMETER_LAW = "step-law"  # the only one fitted to N and D apart
CRITICAL_BATCH_SCALE = 2e8  # B* in tokens, Kaplan et al. 2020, equation 1.4 (table 5: 2.1e8)
CRITICAL_BATCH_EXPONENT = 0.21  # alpha_B of the same


@dataclass(frozen=True)
class Suggestion:
    """What one law suggests."""

    law: str
    learning_rate: float | None  # peak; None: the law has none
    batch_tokens: float | None
    steps: float | None  # tokens over batch
    default: bool
    source: str
    note: str


def hyperparameters(params: float, tokens: float, flops: float | None = None) -> list[Suggestion]:
    """Peak learning rate and batch size in tokens, by every law of the catalog.

    Args:
        params: model size; Step Law and Kaplan mean it without embeddings.
        tokens: training text.
        flops: training budget; None: 6ND.

    Raises:
        InputError: a number that is not positive, or absurd; a catalog row that is no law.
    """
    n, d = require_parameters(params), require_tokens(tokens)
    c = require_flops(TRAINING_FLOPS * n * d if flops is None else flops)
    suggestions = []
    for row in _rows().values():
        batch = _product(row, "batch_tokens", n, d, c)
        suggestions.append(
            Suggestion(
                row.text("law"),
                _product(row, "learning_rate", n, d, c),
                batch,
                d / batch if batch else None,
                row.text("law") == DEFAULT_HYPERPARAMETER_LAW,
                row.text("source"),
                row.text("note"),
            )
        )
    return suggestions


def critical_batch(loss: float) -> float:
    """Tokens in a batch beyond which more data in parallel no longer saves steps.

    B_crit = B* / L^(1/alpha_B) (Kaplan et al. 2020, equation 1.4), for L in nats per token of
    WebText2: the batch may grow as the loss falls.

    Raises:
        InputError: the loss is not positive.
    """
    loss = require_positive(loss, "loss")
    return float(CRITICAL_BATCH_SCALE / loss ** (1 / CRITICAL_BATCH_EXPONENT))


@dataclass(frozen=True)
class BatchCost:
    """What a batch costs against the ideal: few steps or few tokens."""

    steps_ratio: float  # S / S_min
    tokens_ratio: float  # E / E_min, and so compute


def batch_cost(batch_tokens: float, critical_batch_tokens: float) -> BatchCost:
    """Steps and tokens to the same loss, as multiples of their least.

    (S/S_min - 1)(E/E_min - 1) = 1 with B_crit = E_min/S_min (McCandlish et al. 2018, equation
    2.11): at the critical batch both are doubled.

    Raises:
        InputError: a number that is not positive.
    """
    share = require_positive(batch_tokens, "batch_tokens") / require_positive(
        critical_batch_tokens, "critical_batch_tokens"
    )
    return BatchCost(1 + 1 / share, 1 + share)


def gradient_noise_scale(
    small_batch: float, small_norm_squared: float, big_batch: float, big_norm_squared: float
) -> float:
    """The simple noise scale tr(Sigma)/|G|^2, an estimate of the critical batch.

    From the mean squared gradient norms at two batch sizes (McCandlish et al. 2018, appendix A.1):
    |G_B|^2 = |G|^2 + tr(Sigma)/B. Average the norms over many steps first: one is mostly noise.

    Raises:
        InputError: the second batch is not the larger, or the norms leave no gradient.
    """
    small, big = (
        require_positive(small_batch, "small_batch"),
        require_positive(big_batch, "big_batch"),
    )
    if not small < big:
        raise InputError(
            f"the big batch ({big:g}) must be larger than the small one ({small:g})",
            where="big_batch",
        )
    gradient = (big * big_norm_squared - small * small_norm_squared) / (big - small)
    noise = (small_norm_squared - big_norm_squared) / (1 / small - 1 / big)
    if not (gradient > 0 and noise >= 0):
        raise InputError(
            f"squared norms of {small_norm_squared:g} and {big_norm_squared:g} leave no gradient",
            where="big_norm_squared",
            fix="average over more steps",
        )
    return noise / gradient


@dataclass(frozen=True)
class MuP:
    """Multipliers that carry hyperparameters from a base width to another (Adam)."""

    width_ratio: float  # m
    hidden_learning_rate: float  # 1/m; embeddings, norms, biases keep theirs
    hidden_init_std: float  # 1/sqrt(m): the variance goes with 1/fan_in
    output_logits: float  # 1/m
    attention_scale: float  # of the scores: 1/d instead of 1/sqrt(d), equal at the base head


def mup(width: int, base_width: int, head_dim: int = 64, base_head_dim: int = 64) -> MuP:
    """What changes with the width under the maximal update parametrisation.

    Tune at ``base_width``, multiply by these at ``width``. The attention scale is
    sqrt(base_head_dim)/head_dim, which is 1/sqrt(d) at the base.

    Raises:
        InputError: a width that is not a whole number of at least 1.
    """
    ratio = require_count(width, "width") / require_count(base_width, "base_width")
    head = require_count(head_dim, "head_dim")
    base_head = require_count(base_head_dim, "base_head_dim")
    return MuP(ratio, 1 / ratio, ratio**-0.5, 1 / ratio, base_head**0.5 / head)


@catalogs.cached
def _rows() -> Mapping[str, catalogs.Row]:
    """The laws by name."""
    return {row.text("law"): row for row in catalogs.read_catalog("hyperparameters", "law")}


def _product(row: catalogs.Row, name: str, n: float, d: float, c: float) -> float | None:
    """The law's k N^a D^b C^c from the columns that begin with ``name``; None: it has no k."""
    k = row.number(name)
    if k is None:
        return None
    factors = {"params": n, "tokens": d, "flops": c / (row.number("flops_unit") or 1.0)}
    value = require_positive(k, name)
    for factor, x in factors.items():
        value *= float(x ** (row.number(f"{name}_{factor}") or 0.0))
    return value
