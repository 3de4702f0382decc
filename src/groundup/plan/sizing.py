"""Rules of size: what the data allows, what a latency allows, what a smaller model costs in text.

    size_from_data       the largest compute-optimal model for the text there is, epochs counted
    size_from_latency    the largest model that answers fast enough, and the loss that gives up
    smaller_longer       the text that smaller models need for the same loss

The size for training and use together is in `lifetime`.
Repeats: Muennighoff et al. 2023 (arXiv:2305.16264).
Latency: a decoder at batch 1 reads every weight once a token (Pope et al. 2022, arXiv:2211.05102).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from groundup.errors import BudgetError, InputError
from groundup.plan.laws import (
    DEFAULT_LAW,
    LOSS_LAW,
    REPETITION_SCALE,
    Point,
    data_constrained_loss,
    effective_tokens,
    find_law,
    frontier,
    name_of_optimum,
    surface,
    surfaces,
)
from groundup.plan.limits import (
    GUESSING_LOSS,
    PARAMETERS,
    TOKENS,
    require_flops,
    require_parameters,
    require_positive,
    require_tokens,
)
from groundup.plan.loss_surface import INFERENCE_FLOPS, TRAINING_FLOPS, LossSurface
from groundup.units import format_count

EPOCHS = (1, 2, 4, 8, 16, 40)  # the epochs that Muennighoff et al. 2023 discuss
DEFAULT_EPOCHS = 4.0  # "up to 4 epochs of repeated data yields negligible changes to loss"
FRACTIONS = (1.0, 0.75, 0.5, 0.35, 0.25, 0.1)


# --- from data ---


@dataclass(frozen=True)
class EpochValue:
    """What reading the text several times is worth."""

    epochs: float
    tokens: float
    effective_tokens: float  # in fresh ones
    worth: float  # effective over read
    next_worth: float  # of the next token read, against a fresh one
    params: float  # compute-optimal for them by the default law


@dataclass(frozen=True)
class Wanted:
    """A model somebody wants, beside the text there is."""

    params: float
    needed_tokens: dict[str, float]  # by law, in fresh tokens
    low_tokens: float  # the least and the most over the laws that stand
    high_tokens: float
    enough: bool  # by the default law
    epochs_needed: float | None  # by the default law; None: no number of epochs is enough
    loss: float  # on the text there is (law muennighoff)
    better: Point  # for the same FLOPs on the same text (law muennighoff)


@dataclass(frozen=True)
class DataSize:
    """The models that a text can feed."""

    unique_tokens: float
    epochs: float
    tokens: float  # read in training
    effective_tokens: float  # what they are worth in fresh ones
    limit_tokens: float  # what any number of epochs is worth at most
    points: list[Point]  # the largest compute-optimal model, by law
    epoch_values: list[EpochValue]
    wanted: Wanted | None


def size_from_data(
    unique_tokens: float, epochs: float = DEFAULT_EPOCHS, params: float | None = None
) -> DataSize:
    """The largest compute-optimal model for ``unique_tokens`` read ``epochs`` times.

    Repeated tokens count at their worth; the tokens and FLOPs of the points are those read.

    Args:
        unique_tokens: different tokens there are.
        epochs: how often they may be read.
        params: a model that is wanted: does the text suffice for it?

    Raises:
        InputError: a number that is not positive, or absurd; fewer epochs than one.
    """
    unique = require_tokens(unique_tokens, "unique_tokens")
    if not 1 <= epochs <= 1e4:
        raise InputError(f"epochs is {epochs:g}, but must be from 1 to 10,000", where="epochs")
    tokens = unique * epochs
    worth = effective_tokens(tokens, unique)
    points = [_read_in_full(point, tokens) for point in frontier(tokens=worth)]
    return DataSize(
        unique,
        epochs,
        tokens,
        worth,
        unique * (1 + REPETITION_SCALE),
        points,
        [_epoch_value(unique, each) for each in sorted({*EPOCHS, epochs})],
        None if params is None else _wanted(require_parameters(params), unique, tokens),
    )


def epochs_for(needed_tokens: float, unique_tokens: float) -> float | None:
    """How often a text must be read to be worth ``needed_tokens``; None: never.

    Raises:
        InputError: a number that is not positive.
    """
    require_positive(needed_tokens, "needed_tokens")
    require_positive(unique_tokens, "unique_tokens")
    if needed_tokens <= unique_tokens:
        return needed_tokens / unique_tokens
    left = 1 - (needed_tokens / unique_tokens - 1) / REPETITION_SCALE
    return 1 - REPETITION_SCALE * math.log(left) if left > 0 else None


def data_constrained_optimum(flops: float, unique_tokens: float) -> Point:
    """The N and D of least loss for a budget when only ``unique_tokens`` differ (law muennighoff).

    Excess parameters lose their worth sooner than repeated text: more epochs, fewer parameters than
    the law of fresh text says.

    Raises:
        InputError: a number that is not positive, or absurd.
    """
    c, unique = require_flops(flops), require_tokens(unique_tokens, "unique_tokens")
    start, _ = surface("muennighoff").optimum(c)

    def loss(log_params: float) -> float:
        n = math.exp(log_params)
        return data_constrained_loss(n, c / TRAINING_FLOPS / n, unique)

    per_token = c / TRAINING_FLOPS
    low = max(start / 100, PARAMETERS[0], per_token / TOKENS[1])
    high = min(start * 100, PARAMETERS[1], per_token / TOKENS[0])
    log_params = _golden(loss, math.log(low * 1.000001), math.log(high * 0.999999))
    n = math.exp(log_params)
    return Point("muennighoff", n, c / TRAINING_FLOPS / n, c, loss(log_params))


def _read_in_full(point: Point, tokens: float) -> Point:
    """The point with the tokens that are read, not what they are worth."""
    flops = point.flops * tokens / point.tokens
    return Point(point.law, point.params, tokens, flops, point.loss, point.default, point.note)


def _epoch_value(unique: float, epochs: float) -> EpochValue:
    worth = effective_tokens(unique * epochs, unique)
    (best,) = frontier(tokens=worth, law=DEFAULT_LAW)
    fading = math.exp(-(epochs - 1) / REPETITION_SCALE)
    return EpochValue(
        epochs, unique * epochs, worth, worth / (unique * epochs), fading, best.params
    )


def _wanted(params: float, unique: float, tokens: float) -> Wanted:
    needed = {point.law: point.tokens for point in frontier(params=params)}
    band = [each for law, each in needed.items() if find_law(law).in_band]
    default = needed[DEFAULT_LAW]
    return Wanted(
        params,
        needed,
        min(band),
        max(band),
        effective_tokens(tokens, unique) >= default,
        epochs_for(default, unique),
        data_constrained_loss(params, tokens, unique),
        data_constrained_optimum(TRAINING_FLOPS * params * tokens, unique),
    )


# --- from compute and latency ---


@dataclass(frozen=True)
class LossGivenUp:
    """What a size other than the optimum costs, by one law."""

    law: str
    loss: float
    optimal_params: float
    optimal_tokens: float
    optimal_loss: float
    given_up: float  # nats per token
    flops_for_same_loss: float  # the least budget that reaches the same loss


@dataclass(frozen=True)
class LatencySize:
    """The largest model that answers fast enough, trained on the budget."""

    params: float
    tokens: float
    flops: float
    bound: str  # what limits the size: decode, prefill or budget
    decode_params: float | None  # the most that the memory bandwidth allows
    prefill_params: float | None  # the most that the arithmetic rate allows
    seconds_per_token: float | None  # at that size
    prefill_seconds: float | None
    optimum: Point  # of the budget, by the default law
    losses: list[LossGivenUp]


def size_from_latency(
    flops: float,
    *,
    seconds_per_token: float | None = None,
    memory_bandwidth: float | None = None,
    bytes_per_param: float = 2.0,
    prefill_seconds: float | None = None,
    prompt_tokens: float | None = None,
    flops_per_second: float | None = None,
) -> LatencySize:
    """The largest model within a latency, and the loss given up against the compute optimum.

    One sequence at a time: each new token reads all weights (bytes per second bound it), the prompt
    takes 2N FLOPs a token (FLOP/s bound it). These are bounds; give the bandwidth and the rate that
    your server attains for a prediction. A model smaller than the latency allows is taken where the
    budget's own optimum is smaller.

    Args:
        flops: training budget.
        seconds_per_token: the most a new token may take; needs ``memory_bandwidth``.
        memory_bandwidth: bytes/s, of all chips that share the weights.
        bytes_per_param: of a stored weight: 2 for bf16, 1 for int8, 0.5 for int4.
        prefill_seconds: the most that reading the prompt may take; needs the next two.
        prompt_tokens: length of the prompt.
        flops_per_second: attained by the chips together.

    Raises:
        InputError: a number that is not positive, or a limit without what it needs.
        BudgetError: no model that does better than guessing is fast enough.
    """
    c = require_flops(flops)
    if seconds_per_token is None and prefill_seconds is None:
        raise InputError(
            "a size from latency needs the time of a token or of a prompt", where="latency"
        )
    stored = require_positive(bytes_per_param, "bytes_per_param")
    decode = prefill = None
    if seconds_per_token is not None:
        bandwidth = _needed(memory_bandwidth, "memory_bandwidth", "the time of a token")
        decode = bandwidth * require_positive(seconds_per_token, "seconds_per_token") / stored
    if prefill_seconds is not None:
        rate = _needed(flops_per_second, "flops_per_second", "the time of a prompt")
        prompt = _needed(prompt_tokens, "prompt_tokens", "the time of a prompt")
        allowed = require_positive(prefill_seconds, "prefill_seconds")
        prefill = rate * allowed / (INFERENCE_FLOPS * prompt)
    (optimum,) = frontier(flops=c, law=DEFAULT_LAW)
    limits = {"decode": decode, "prefill": prefill, "budget": optimum.params}
    bound, n = min(
        ((name, size) for name, size in limits.items() if size is not None), key=lambda x: x[1]
    )
    d = c / TRAINING_FLOPS / n
    if n < 1e3 or surface(LOSS_LAW).loss(n, d) > GUESSING_LOSS:
        raise BudgetError(
            f"no model is fast enough: {bound} allows {format_count(n)} parameters, which do no "
            f"better than guessing (a loss of {GUESSING_LOSS:.3g}; law {LOSS_LAW})",
            where=bound,
            fix="allow more time, or take more or faster chips",
        )
    return LatencySize(
        n,
        d,
        c,
        bound,
        decode,
        prefill,
        None if memory_bandwidth is None else n * stored / memory_bandwidth,
        None
        if not (flops_per_second and prompt_tokens)
        else INFERENCE_FLOPS * n * prompt_tokens / flops_per_second,
        optimum,
        [_given_up(name_of_optimum(law), each, n, d, c) for law, each in surfaces().items()],
    )


def _given_up(law: str, of: LossSurface, params: float, tokens: float, flops: float) -> LossGivenUp:
    loss = of.loss(params, tokens)
    n, d = of.optimum(flops)
    best = of.loss(n, d)
    n_same, d_same = of.optimum_for_loss(loss)
    same = TRAINING_FLOPS * n_same * d_same
    return LossGivenUp(law, loss, n, d, best, loss - best, same)


def _needed(value: float | None, name: str, for_what: str) -> float:
    if value is None:
        raise InputError(f"{for_what} needs {name}", where=name, fix="give it, or name the chip")
    return require_positive(value, name)


# --- smaller, longer ---


@dataclass(frozen=True)
class Trade:
    """A smaller (or larger) model of the same loss, by one law."""

    law: str
    params: float
    params_ratio: float
    tokens: float | None  # None: this size never reaches the loss
    tokens_ratio: float | None
    flops: float | None
    flops_ratio: float | None
    loss: float


def smaller_longer(
    params: float,
    tokens: float,
    sizes: Sequence[float] | None = None,
    law: str | None = None,
) -> dict[str, list[Trade]]:
    """For each law, the tokens that other sizes need for the loss of ``params`` on ``tokens``.

    Args:
        params: size of the model to match.
        tokens: its training tokens.
        sizes: parameters of the others; None: `FRACTIONS` of ``params``.
        law: one with a loss surface; None: all that are listed.

    Raises:
        ConfigError: no such law, or one without a loss surface.
        InputError: a number that is not positive, or absurd.
    """
    n, d = require_parameters(params), require_tokens(tokens)
    chosen = [n * fraction for fraction in FRACTIONS] if sizes is None else sizes
    for size in chosen:
        require_parameters(size, "size")
    having = surfaces() if law is None else {find_law(law).id: surface(law)}
    return {name: [_trade(name, of, size, n, d) for size in chosen] for name, of in having.items()}


def _trade(law: str, of: LossSurface, size: float, params: float, tokens: float) -> Trade:
    loss = of.loss(params, tokens)
    needed = of.tokens_for_loss(size, loss)
    if needed is None or needed > TOKENS[1]:  # beyond what can be planned is never
        return Trade(law, size, size / params, None, None, None, None, loss)
    flops = TRAINING_FLOPS * size * needed
    ratio = needed / tokens
    return Trade(law, size, size / params, needed, ratio, flops, ratio * size / params, loss)


def _golden(function: Callable[[float], float], low: float, high: float) -> float:
    """Where ``function``, falling and then rising, is least: golden-section search."""
    step = (math.sqrt(5) - 1) / 2
    left, right = high - step * (high - low), low + step * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > 1e-9:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - step * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + step * (high - low)
            at_right = function(right)
    return (low + high) / 2
