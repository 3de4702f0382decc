"""Total cost of owning a model: training once, people every month, inference by the token.

    own(V)  = training + people · months + V · c          c: own marginal cost of a token
    api(V)  = V · p
    use has cost as much as training after    training ÷ c            tokens
    owning has paid, at a volume of v a day, after d = training ÷ (v · (p − c) − people a day) days
    and d · v tokens, never if ≤ 0; without a volume the people of the horizon are paid whatever
    comes: (training + people · months) ÷ (p − c) tokens, never if c ≥ p

The example of the blog: $5M of training, tokens sold at $2e-5 with a margin of 60 %, so c = 8e-6
and 625e9 tokens. At 300 tokens a response that is 2.083e9 responses, 20.8 days at 1e8 a day; the
blog prints 20 billion and 200 days.

What a token costs on a chip is the roofline of decoding (Williams et al. 2009; for Transformers
Pope et al. 2022, arXiv:2211.05102): each step reads all weights once for the whole batch, and does
2 FLOPs a parameter for each sequence. The KV cache and attention are left out, so long contexts
cost more than this says.

    seconds per written token = max(N · bits/8 ÷ bandwidth ÷ batch,  2·N ÷ attainable FLOP/s)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from groundup.decide.prices import require_volume
from groundup.errors import InputError
from groundup.plan.hardware import Chip
from groundup.plan.limits import require_count, require_parameters, require_positive

DAYS_PER_MONTH = 365.25 / 12
TOKENS_PER_RESPONSE = 300  # the blog's example
BITS = (16, 8, 4)
# What is of this world; beyond it a number is a slip of the keyboard (as in `plan.limits`).
MOST_USD = 1e15
TOKEN_USD = (1e-15, 1e3)
MOST_RESPONSE_TOKENS = 1e9
LEAST_UTILISATION = 1e-4


@dataclass(frozen=True)
class Serving:
    """One model on chips, decoding; per token, the batch shared out."""

    weights_bytes: float
    n_chips: int  # that hold the weights and some cache
    input_seconds: float  # chip-seconds to read one token
    output_seconds: float  # chip-seconds to write one token
    bound: str  # memory or compute: what limits writing


@dataclass(frozen=True)
class Horizon:
    """All costs of owning over some months, in US dollars."""

    months: int
    tokens: float
    training_usd: float
    inference_usd: float
    people_usd: float
    total_usd: float
    usd_per_token: float | None
    api_usd: float | None


@dataclass(frozen=True)
class Ownership:
    """Where owning pays, and what it comes to."""

    train_usd: float
    usd_per_token: float  # own marginal cost, after margin, quantisation, batch, idle capacity
    break_even_tokens: float  # use has cost as much as training
    tokens_per_response: float
    break_even_responses: float
    tokens_per_day: float | None
    responses_per_day: float | None
    break_even_days: float | None
    api_usd_per_token: float | None
    api_break_even_tokens: float | None  # None: no API price, or owning never pays
    api_break_even_days: float | None  # of so many tokens at the volume; None without one
    horizon: Horizon | None
    notes: tuple[str, ...]


def ownership(
    train_usd: float,
    usd_per_token: float,
    *,
    margin: float = 0.0,
    tokens_per_day: float | None = None,
    responses_per_day: float | None = None,
    tokens_per_response: float = TOKENS_PER_RESPONSE,
    api_usd_per_token: float | None = None,
    people_usd_per_month: float = 0.0,
    horizon_months: int | None = None,
    growth_per_month: float = 0.0,
    utilisation: float = 1.0,
    token_factor: float = 1.0,
) -> Ownership:
    """The break-even points and the cost over a horizon.

    Args:
        train_usd: of training, paid once.
        usd_per_token: what a token costs to serve; with a ``margin``, what it is sold for.
        margin: share of the price that is profit; the token costs the rest.
        tokens_per_day: volume; or ``responses_per_day`` × ``tokens_per_response``.
        responses_per_day: volume in responses.
        tokens_per_response: of one response.
        api_usd_per_token: what the same token costs bought.
        people_usd_per_month: of everybody who keeps the model running.
        horizon_months: over which costs are added up; None: 12 where people are paid.
        growth_per_month: of the volume, 0.05 is 5 %.
        utilisation: share of the paid capacity that works; the idle rest is paid too.
        token_factor: of `decoding_factor`, for fewer bits or larger batches than the cost is of.

    Raises:
        InputError: a number out of its range, or two volumes that contradict each other.
    """
    _require_within(train_usd, "train_cost", 0, MOST_USD)
    _require_within(usd_per_token, "cost_per_token", *TOKEN_USD)
    _require_within(tokens_per_response, "tokens_per_response", 0, MOST_RESPONSE_TOKENS)
    _require_within(token_factor, "token_factor", 0, 1e3)
    _require_share(margin, "margin", 0, 1, below=True)
    _require_share(utilisation, "utilisation", LEAST_UTILISATION, 1)
    _require_share(growth_per_month, "growth_per_month", -1, 1, above=True)
    if people_usd_per_month:
        _require_within(people_usd_per_month, "people_per_month", 0, MOST_USD)
    if api_usd_per_token is not None:
        _require_within(api_usd_per_token, "api_price_per_token", *TOKEN_USD)
    daily = _tokens_per_day(tokens_per_day, responses_per_day, tokens_per_response)

    own = _decimal(usd_per_token * (1 - margin) * token_factor / utilisation)
    tokens = train_usd / own
    months = horizon_months or (12 if people_usd_per_month else None)
    if months is not None:
        require_count(months, "horizon_months")
    notes = _blog_note(train_usd, own, tokens_per_response)
    pays, pays_after = None, None
    if api_usd_per_token is not None:
        pays, pays_after, why = _owning_pays(
            train_usd, api_usd_per_token - own, people_usd_per_month, months or 0, daily
        )
        if own >= api_usd_per_token:
            why = (
                f"owning never pays: a token costs ${own:.3g} to serve and "
                f"${api_usd_per_token:.3g} to buy, before training is paid for"
            )
        notes += (why,) if why else ()
    over = None
    if months is not None and daily is not None:
        over = _horizon(
            train_usd, own, people_usd_per_month, months, daily, growth_per_month, api_usd_per_token
        )
    elif months is not None:
        notes += ("without a volume a day, nothing is added up over the horizon",)
    if growth_per_month:
        notes += ("days to a break-even are at the volume of the first day, without growth",)
    return Ownership(
        train_usd=train_usd,
        usd_per_token=own,
        break_even_tokens=tokens,
        tokens_per_response=tokens_per_response,
        break_even_responses=tokens / tokens_per_response,
        tokens_per_day=daily,
        responses_per_day=None if daily is None else daily / tokens_per_response,
        break_even_days=None if daily is None else tokens / daily,
        api_usd_per_token=api_usd_per_token,
        api_break_even_tokens=pays,
        api_break_even_days=pays_after,
        horizon=over,
        notes=notes,
    )


def serving(
    params: float, chip: Chip, *, bits: int = 16, batch: int = 1, memory_margin: float = 1.3
) -> Serving:
    """One model's decoding on a chip, by the roofline at the top of this file.

    Args:
        params: that work on each token.
        chip: its bandwidth and its attainable matmul rate count.
        bits: of one stored weight: 16, 8 or 4; the arithmetic stays at 16 bits.
        batch: sequences decoded together.
        memory_margin: of the weights' bytes, with room for the KV cache.

    Raises:
        InputError: numbers out of range, or a chip whose memory is not known.
    """
    require_parameters(params)
    require_count(batch, "batch")
    _require_bits(bits)
    if not chip.memory_bandwidth or not chip.memory_bytes:
        raise InputError(
            f"the memory of {chip.id} is not known, so neither is the cost of a token on it",
            where="chip",
            fix="name another chip, or add its memory to a hardware.csv of yours",
        )
    weights = params * bits / 8
    reading = weights / chip.memory_bandwidth / batch
    computing = 2 * params / chip.attainable(chip.training_precision)
    return Serving(
        weights_bytes=weights,
        n_chips=math.ceil(weights * memory_margin / chip.memory_bytes),
        input_seconds=computing,  # a prompt is read many tokens at a time
        output_seconds=max(reading, computing),
        bound="memory" if reading > computing else "compute",
    )


def decoding_factor(chip: Chip, *, bits: int = 16, batch: int = 1) -> float:
    """Cost of a written token over that at 16 bits, one sequence at a time; no size needed.

    Raises:
        InputError: as `serving`.
    """
    size = 1e9  # any: both sides of the roofline are proportional to it
    ours = serving(size, chip, bits=bits, batch=batch)
    return ours.output_seconds / serving(size, chip).output_seconds


def served_usd_per_token(
    params: float,
    chip: Chip,
    usd_per_hour: float,
    *,
    output_share: float = 1.0,
    bits: int = 16,
    batch: int = 1,
) -> float:
    """US dollars per token of all (read and written) on rented chips that never idle.

    Raises:
        InputError: as `serving`.
    """
    _require_within(usd_per_hour, "usd_per_hour", 0, MOST_USD)
    _require_share(output_share, "output_share", 0, 1)
    one = serving(params, chip, bits=bits, batch=batch)
    seconds = (1 - output_share) * one.input_seconds + output_share * one.output_seconds
    return seconds * usd_per_hour / 3600


def volume_over(tokens_per_month: float, months: int, growth_per_month: float = 0.0) -> float:
    """Tokens over all months, the first at the given volume."""
    if growth_per_month == 0:
        return tokens_per_month * months
    grown = (1 + growth_per_month) ** months
    return float(tokens_per_month * (grown - 1) / growth_per_month)


def _tokens_per_day(
    tokens: float | None, responses: float | None, tokens_per_response: float
) -> float | None:
    """The daily volume from whichever was given."""
    if tokens is not None:
        require_positive(require_volume(tokens, "tokens_per_day"), "tokens_per_day")
    if responses is None:
        return tokens
    require_positive(require_volume(responses, "responses_per_day"), "responses_per_day")
    by_responses = require_volume(responses * tokens_per_response, "responses_per_day")
    if tokens is not None and not math.isclose(tokens, by_responses, rel_tol=1e-6):
        raise InputError(
            f"{tokens:g} tokens a day are not {responses:g} responses of {tokens_per_response:g}",
            where="tokens_per_day",
            fix="give one of the two",
        )
    return by_responses


def _owning_pays(
    train: float, saved_usd: float, people: float, months: int, daily: float | None
) -> tuple[float | None, float | None, str]:
    """Tokens and days after which owning has cost no more than buying, and why it never does."""
    if saved_usd <= 0:
        return None, None, ""
    if daily is None:
        return (train + people * months) / saved_usd, None, ""
    a_day = daily * saved_usd - people / DAYS_PER_MONTH
    if a_day <= 0:
        return None, None, "at this volume owning never pays: people cost more than tokens save"
    days = train / a_day
    return days * daily, days, ""


def _horizon(
    train: float,
    own: float,
    people: float,
    months: int,
    daily: float,
    growth: float,
    api: float | None,
) -> Horizon:
    tokens = volume_over(daily * DAYS_PER_MONTH, months, growth)
    require_volume(tokens, "tokens_per_day, grown over the horizon,")
    total = train + tokens * own + people * months
    return Horizon(
        months=months,
        tokens=tokens,
        training_usd=train,
        inference_usd=tokens * own,
        people_usd=people * months,
        total_usd=total,
        usd_per_token=total / tokens if tokens else None,
        api_usd=None if api is None else tokens * api,
    )


def _blog_note(train: float, own: float, tokens_per_response: float) -> tuple[str, ...]:
    """A remark where the question is the blog's own."""
    if (
        math.isclose(train, 5e6)
        and math.isclose(own, 8e-6, rel_tol=1e-9)
        and tokens_per_response == TOKENS_PER_RESPONSE
    ):
        return (
            "this is the blog's example, which prints 20 billion responses and 200 days at 1e8 a "
            "day: 9.6 times too many; it is 2.083 billion, 20.8 days, and 2.08 at 1e9 a day",
        )
    return ()


def _decimal(value: float) -> float:
    """``value`` to 15 digits: 2e-5 × 0.4 is 8e-6, not 8.000000000000001e-6."""
    return float(f"{value:.15g}")


def _require_bits(bits: int) -> None:
    if bits not in BITS:
        raise InputError(
            f"weights of {bits} bits are not known here", where="quantisation", fix="use 16, 8 or 4"
        )


def _require_within(value: float, name: str, low: float, high: float) -> None:
    """Refuse what is not above zero, below ``low`` or above ``high``."""
    require_positive(value, name)
    if not low <= value <= high:
        raise InputError(
            f"{name} is {value:g}, but must be from {low:g} to {high:g}"
            if low
            else f"{name} is {value:g}, but must be at most {high:g}",
            where=name,
        )


def _require_share(
    value: float, name: str, low: float, high: float, *, above: bool = False, below: bool = False
) -> None:
    """Refuse what is outside ``low`` to ``high``, ends included unless ``above`` or ``below``."""
    inside = math.isfinite(value) and low <= value <= high
    if not inside or (above and value == low) or (below and value == high):
        left, right = "above" if above else "at least", "below" if below else "at most"
        raise InputError(
            f"{name} is {value:g}, but must be {left} {low:g} and {right} {high:g}",
            where=name,
            fix="write a share, 0.6 or 60%",
        )
