"""The map of under- and over-training: known models against what is optimal for their compute.

A model has a place in the plane of parameters and tokens. A scaling law draws the line where
training compute is best spent: beside it a smaller model on more text, or a larger one on less,
would reach the same loss for less. Left below the line lies GPT-3 (too large for its text), above
it LLaMA (trained on, so that it is cheap to use). After Hoffmann et al. 2022 (arXiv:2203.15556),
whose table 1 names the first five; the laws are those of `laws`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from groundup.plan.laws import DEFAULT_LAW, LOSS_LAW, find_law, surface
from groundup.plan.limits import require_parameters, require_tokens
from groundup.plan.milestones import Milestone

NEAR = 1.5  # within this factor of the optimal tokens, a model is near the optimum


@dataclass(frozen=True)
class Place:
    """One model on the map."""

    name: str
    parameters: float
    tokens: float
    flops: float  # 6ND
    tokens_per_parameter: float
    optimal_tokens: float  # for its parameters, by the map's law
    optimal_parameters_at_compute: float
    optimal_tokens_at_compute: float
    factor: float  # tokens over optimal tokens, by the map's law
    factor_by_law: dict[str, float]
    loss: float  # by the loss law
    excess_compute: float  # its FLOPs over the least that reach this loss, by the loss law
    verdict: str
    note: str = ""
    ours: bool = False
    speculative: bool = False  # size and text are guesses of others
    source: str = ""


@dataclass(frozen=True)
class Field:
    """The two surfaces of the map on a grid: rows by tokens, columns by parameters."""

    parameters: tuple[float, ...]
    tokens: tuple[float, ...]
    log10_factor: tuple[tuple[float, ...], ...]
    loss: tuple[tuple[float, ...], ...]


def places(models: Sequence[Milestone], law: str = DEFAULT_LAW) -> list[Place]:
    """The models that the law speaks of, the most under-trained first.

    Raises:
        ConfigError: no such law.
    """
    found = [
        replace(
            place(model.name, model.parameters, model.tokens, law, note=model.note),
            speculative=model.speculative,
            source=model.source,
        )
        for model in models
        if model.on_map and model.parameters is not None and model.tokens is not None
    ]
    return sorted(found, key=lambda one: one.factor)


def place(
    name: str,
    parameters: float,
    tokens: float,
    law: str = DEFAULT_LAW,
    *,
    note: str = "",
    ours: bool = False,
) -> Place:
    """One model on the map.

    Raises:
        ConfigError: no such law.
        InputError: a size that is not positive, or absurd.
    """
    n, d = require_parameters(parameters), require_tokens(tokens)
    flops = 6 * n * d
    chosen = find_law(law)
    optimal = chosen.point(params=n).tokens
    at_compute = chosen.point(flops=flops)
    factor = d / optimal
    by_law = {each: d / find_law(each).point(params=n).tokens for each in (DEFAULT_LAW, LOSS_LAW)}
    losses = surface(LOSS_LAW)
    loss = losses.loss(n, d)
    least_n, least_d = losses.optimum_for_loss(loss)
    return Place(
        name=name,
        parameters=n,
        tokens=d,
        flops=flops,
        tokens_per_parameter=d / n,
        optimal_tokens=optimal,
        optimal_parameters_at_compute=at_compute.params,
        optimal_tokens_at_compute=at_compute.tokens,
        factor=factor,
        factor_by_law=by_law,
        loss=loss,
        excess_compute=flops / (6 * least_n * least_d),
        verdict=_verdict(factor),
        note=note,
        ours=ours,
    )


def frontier_line(
    law: str, parameters: tuple[float, float], n_points: int = 60
) -> list[tuple[float, float]]:
    """The optimal tokens over a range of parameters.

    Raises:
        ConfigError: no such law.
    """
    chosen = find_law(law)
    return [(n, chosen.point(params=n).tokens) for n in _log_range(*parameters, n_points)]


def field(
    parameters: tuple[float, float],
    tokens: tuple[float, float],
    law: str = DEFAULT_LAW,
    n_points: int = 60,
) -> Field:
    """Distance from the optimum and loss, on a grid with logarithmic steps.

    Raises:
        ConfigError: no such law.
    """
    columns, rows = _log_range(*parameters, n_points), _log_range(*tokens, n_points)
    optimal = [find_law(law).point(params=n).tokens for n in columns]
    losses = surface(LOSS_LAW)
    return Field(
        tuple(columns),
        tuple(rows),
        tuple(tuple(math.log10(d / best) for best in optimal) for d in rows),
        tuple(tuple(losses.loss(n, d) for n in columns) for d in rows),
    )


def _verdict(factor: float) -> str:
    """What to make of tokens over optimal tokens."""
    if factor < 1 / NEAR:
        return f"under-trained: {1 / factor:.1f} times the text would suit its size"
    if factor <= NEAR:
        return "near the optimum for its compute"
    return f"over-trained {factor:.1f} times: dearer to train, cheaper to use"


def _log_range(low: float, high: float, n: int) -> list[float]:
    step = math.log(high / low) / (n - 1)
    return [low * math.exp(step * i) for i in range(n)]
