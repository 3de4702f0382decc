"""Bytes that training keeps for each parameter: weight, gradient, optimizer state.

Mixed precision (Micikevicius et al. 2018, arXiv:1710.03740) computes with 16-bit weights and steps
on an fp32 master copy; ZeRO (Rajbhandari et al. 2020, arXiv:1910.02054) shares states among the dp
replicas. AdamW in bf16 has 2 + 2 + (4 + 8) = 16 bytes, 18 with Megatron's fp32 main gradients:

    stage 0   16               18
    stage 1   4 + 12/dp         6 + 12/dp     the optimizer's 12
    stage 2   2 + 14/dp         2 + 16/dp     and gradients
    stage 3   16/dp             18/dp         and weights; plus the layer that is gathered
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from groundup.errors import InputError
from groundup.plan.limits import require_count
from groundup.plan.sharding import Share


@dataclass(frozen=True)
class Precision:
    """Bytes of one number, by what it is."""

    weight: float  # as the forward pass reads it
    gradient: float
    master: float  # fp32 copy beside a 16-bit weight
    element: int  # of an activation
    linear_input: int  # of an activation kept only for the gradient of a matrix

    def of_gradient(self, fp32_gradients: bool) -> float:
        """Bytes of a gradient; main gradients are fp32 whatever the weights are."""
        return 4 if fp32_gradients else self.gradient


# fp8 is Transformer Engine's default: bf16 weights and states, 8-bit copies of the inputs of
# matrix products (one byte); its weight copies live in the layer being computed.
PRECISIONS: dict[str, Precision] = {
    "bf16": Precision(2, 2, 4, 2, 2),
    "fp16": Precision(2, 2, 4, 2, 2),
    "fp32": Precision(4, 4, 0, 4, 4),
    "fp8": Precision(2, 2, 4, 2, 1),
}

# Bytes of state for an entry: (of a matrix inside a block, of everything else, of a row or column).
OPTIMIZERS: dict[str, tuple[float, float, float]] = {
    "adamw": (8, 8, 0),  # two fp32 moments; Loshchilov & Hutter 2019
    "adam": (8, 8, 0),  # the same; Kingma & Ba 2015
    "adam-8bit": (2 + 8 / 256, 2 + 8 / 256, 0),  # a byte each, an fp32 scale per 256 (bitsandbytes)
    "lion": (4, 4, 0),  # one momentum; Chen et al. 2023
    "momentum": (4, 4, 0),
    "sgd": (0, 0, 0),
    "muon": (4, 8, 0),  # momentum for block matrices, AdamW for the rest; Jordan et al. 2024
    "adafactor": (0, 0, 4),  # a mean per row and column; Shazeer & Stern 2018, without momentum
    "adamw-bf16": (4, 4, 0),  # the same moments in half the bytes
    "momentum-bf16": (2, 2, 0),
    "muon-bf16": (2, 4, 0),
}


def kept_by(optimizer: str, momentum: float, dtype: str) -> str:
    """The key of `OPTIMIZERS` for what the section ``pretrain`` says.

    Args:
        optimizer: ``pretrain.optimizer``.
        momentum: of sgd; without, nothing is kept.
        dtype: ``pretrain.optimizer_dtype``, fp32 or bf16.
    """
    name = "momentum" if optimizer == "sgd" and momentum else optimizer
    return f"{name}-bf16" if dtype == "bf16" else name


@dataclass(frozen=True)
class States:
    """Bytes on one device."""

    weights: float
    gradients: float
    optimizer: float  # fp32 masters and moments

    @property
    def total(self) -> float:
        """All three."""
        return self.weights + self.gradients + self.optimizer


def state_bytes_per_parameter(
    zero: int,
    dp: int,
    optimizer: str = "adamw",
    precision: str = "bf16",
    fp32_gradients: bool = False,
) -> float:
    """Bytes for a parameter of a matrix inside a block, without what ZeRO-3 gathers.

    Args:
        zero: stage of ZeRO, 0 to 3.
        dp: replicas that share.
        optimizer: a key of `OPTIMIZERS`; Adafactor's rows and columns are not counted here.
        precision: a key of `PRECISIONS`.
        fp32_gradients: gradients are summed in fp32 (Megatron's main gradients).

    Raises:
        InputError: an unknown optimizer, precision or stage, or a dp below 1.
    """
    if zero not in (0, 1, 2, 3):
        raise InputError(
            f"zero is {zero!r}, but the stages of ZeRO are 0, 1, 2 and 3", where="zero"
        )
    require_count(dp, "dp")
    return states(Share(hidden=1), zero, dp, optimizer, precision, fp32_gradients).total


def states(
    share: Share,
    zero: int,
    replicas: int,
    optimizer: str,
    precision: str,
    fp32_gradients: bool,
) -> States:
    """Bytes of the parameters ``share`` of one rank, of whose states ``replicas`` share.

    Raises:
        InputError: an unknown optimizer or precision.
    """
    of, (hidden, other, factored) = precision_of(precision), optimizer_of(optimizer)
    moments = hidden * share.hidden + other * share.other + factored * share.factored
    return States(
        weights=of.weight * share.total / (replicas if zero >= 3 else 1),
        gradients=of.of_gradient(fp32_gradients) * share.total / (replicas if zero >= 2 else 1),
        optimizer=(of.master * share.total + moments) / (replicas if zero >= 1 else 1),
    )


def precision_of(name: str) -> Precision:
    """The precision called ``name``.

    Raises:
        InputError: there is none.
    """
    if name not in PRECISIONS:
        raise InputError(
            f"unknown precision {name!r}", where="precision", fix=f"use {_one_of(PRECISIONS)}"
        )
    return PRECISIONS[name]


def optimizer_of(name: str) -> tuple[float, float, float]:
    """Bytes of state of the optimizer called ``name``, see `OPTIMIZERS`.

    Raises:
        InputError: there is none.
    """
    if name not in OPTIMIZERS:
        raise InputError(
            f"unknown optimizer {name!r}", where="optimizer", fix=f"use {_one_of(OPTIMIZERS)}"
        )
    return OPTIMIZERS[name]


def _one_of(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}"
