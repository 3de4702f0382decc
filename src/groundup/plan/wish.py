"""What a plan starts from: whatever is fixed of model, text, budget and machines.

Two of model, tokens and budget give the third; one of them is split by a scaling law.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from groundup.architecture.config import ModelConfig
from groundup.errors import ConfigError, InputError
from groundup.plan.carbon import PUE
from groundup.plan.cost import SCHEMES
from groundup.plan.hardware import Chip
from groundup.plan.laws import DEFAULT_LAW, find_law
from groundup.plan.limits import (
    require_count,
    require_flops,
    require_parameters,
    require_positive,
    require_tokens,
)
from groundup.plan.time import GOODPUT


@dataclass(frozen=True)
class Wish:
    """What is fixed. Size, tokens and budget may each be open, but not all of them."""

    chip: Chip
    n_chips: int
    model: ModelConfig | None = None
    model_name: str = ""
    params: float | None = None
    tokens: float | None = None
    flops: float | None = None
    money_usd: float | None = None
    days: float | None = None  # of wall clock
    unique_tokens: float | None = None
    vocab_size: int = 32_000
    context_length: int | None = None
    global_batch_tokens: float | None = None
    scheme: str = "on-demand"
    usd_per_hour: float | None = None
    discount: float = 0.0
    mfu: float | None = None
    goodput: float = GOODPUT
    region: str | None = None
    kg_per_kwh: float | None = None
    pue: float = PUE
    law: str = DEFAULT_LAW
    optimizer: str = "adamw"
    today: date | None = None


def check_wish(wish: Wish) -> None:
    """See that every given number is in its range, and that there is something to go by.

    Raises:
        ConfigError: too little or too much is fixed, or an unknown law.
        InputError: a number out of range, an unknown paying scheme.
    """
    require_count(wish.n_chips, "n")
    find_law(wish.law)
    if wish.scheme not in SCHEMES:
        raise InputError(
            f"there is no paying scheme {wish.scheme!r}",
            where="scheme",
            fix=f"use one of {', '.join(SCHEMES)}",
        )
    for name, check in (
        ("params", require_parameters),
        ("tokens", require_tokens),
        ("unique_tokens", require_tokens),
        ("flops", require_flops),
    ):
        if getattr(wish, name) is not None:
            check(getattr(wish, name), name)
    for name in ("money_usd", "days", "usd_per_hour", "global_batch_tokens", "kg_per_kwh", "pue"):
        if getattr(wish, name) is not None:
            require_positive(getattr(wish, name), name)
    for name, value in (("goodput", wish.goodput), ("mfu", wish.mfu)):
        if value is not None and not 0 < value <= 1:
            raise InputError(f"{name} is {value:g}, but must be above 0 and at most 1", where=name)
    if not 0 <= wish.discount < 1:
        raise InputError(
            f"discount is {wish.discount:g}, but must be from 0 to below 1", where="discount"
        )
    if wish.model is not None and wish.params is not None:
        raise ConfigError("a model and a number of parameters are both given", fix="give one")
    sized = wish.model is not None or wish.params is not None
    budgets = [name for name in ("flops", "money_usd", "days") if getattr(wish, name) is not None]
    if wish.flops is not None and len(budgets) > 1:
        raise ConfigError("flops and another budget are both given", fix="give one")
    if not budgets and not sized and wish.tokens is None:
        raise ConfigError(
            "nothing says how much",
            fix="give --model or --params, --tokens, or a budget: --flops, --usd or --days",
        )
    if wish.flops is not None and sized and wish.tokens is not None:
        raise ConfigError("model, tokens and flops are all given", fix="two of them give the third")
