"""The charts of planning: maps of known models, and the curves that explain a size.

Each takes plain numbers (or the rows of `undertraining` and `landscape`) and returns a ``<figure>``
for `page.write_page`.

    map_chart            known models on the map of under- and over-training
    compute_chart        training compute over the years
    cost_chart           training cost over the years
    isoflop_chart        loss over size at fixed compute, the sides of the minimum labelled
    equal_compute_chart  what one budget buys: 20B on 40 % of a corpus or 200B on 4 %
    smaller_longer_chart the text that smaller models need for the same loss
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from groundup.charts import Field, Remark, Series, Spot, spot_chart
from groundup.plan import undertraining
from groundup.plan.landscape import Entry
from groundup.units import format_count, format_money

PARAMETERS, TOKENS = "parameters", "training tokens"
GUESSED = "\n~ a guess of others: nothing was published"
FAR = 300  # times the text of the model to match: beyond it no text is left to read


@dataclass(frozen=True)
class IsoFlop:
    """The loss of models of one training budget."""

    flops: float
    params: Sequence[float]
    losses: Sequence[float]


def map_chart(
    places: Sequence[undertraining.Place],
    field: undertraining.Field,
    frontier: Sequence[tuple[float, float]],
    law: str,
) -> str:
    """Models over colours that say how far their text is from the optimum for their size."""
    spots = [
        Spot(
            "~" * place.speculative + place.name,
            place.parameters,
            place.tokens,
            ours=place.ours,
            note=f"{format_count(place.parameters)} on {format_count(place.tokens)} tokens\n"
            f"{place.tokens_per_parameter:.1f} tokens per parameter\n{place.verdict}"
            + GUESSED
            * place.speculative,
        )
        for place in places
    ]
    inside = [(n, d) for n, d in frontier if field.tokens[0] <= d <= field.tokens[-1]]
    line = Series(
        f"compute-optimal by {law}", [n for n, _ in inside], [d for _, d in inside], "line", 2
    )
    n, d = field.parameters, field.tokens
    return spot_chart(
        "Under- and over-training: tokens against parameters",
        spots,
        PARAMETERS,
        TOKENS,
        lines=[line],
        field=Field(
            n,
            d,
            field.log10_factor,
            limit=2.0,
            ticks=[
                (-2, "1/100"), (-1, "1/10"), (0, "optimal"), (1, "10 ×"), (2, "100 ×"),
            ],
            contours=field.loss,
            contours_name="equal loss (besiroglu, nats per token)",
        ),
        remarks=[
            Remark("trained beyond the optimum:", n[2], d[-3], "left"),
            Remark("dearer to train, cheaper to use", n[2], d[-3] / 1.45, "left"),
            Remark("too large for its text:", n[-3], d[2] * 1.45, "right"),
            Remark("under-trained", n[-3], d[2], "right"),
        ],
        log_x=True,
        height=640,
    )  # fmt: skip


def compute_chart(entries: Sequence[Entry]) -> str:
    """Training compute over time, on a logarithmic axis."""
    spots = [
        Spot(
            _name(entry),
            entry.day,
            entry.flops,
            group="your plan" if entry.ours else "known models",
            ours=entry.ours,
            note=f"{entry.day}\n{entry.flops:.3g} FLOPs" + GUESSED * _guessed(entry),
        )
        for entry in sorted(entries, key=lambda entry: -entry.flops)  # the largest choose first
    ]
    title = "Training compute of known models"
    return spot_chart(title, spots, "day of publication", "training FLOPs", height=680)


def cost_chart(entries: Sequence[Entry]) -> str:
    """Training cost over time: as published or estimated, and repriced where that was asked."""
    groups = {
        "published": "published by its makers",
        "estimate": "estimated by others, cloud prices of the time",
        "plan": "your plan",
    }
    spots = [
        Spot(
            _name(entry),
            entry.day,
            entry.cost_usd,
            group=groups.get(entry.cost_kind, entry.cost_kind),
            ours=entry.ours,
            note=f"{entry.day}\n{format_money(entry.cost_usd)}" + GUESSED * _guessed(entry),
            label=entry.repriced is None,  # the repriced point beside it has the name
        )
        for entry in sorted(entries, key=lambda entry: -entry.flops)
        if entry.cost_usd
    ]
    spots += [
        Spot(
            _name(entry),
            entry.day,
            entry.repriced.usd_list,
            group=f"on {entry.repriced.chip} at the list price of {entry.repriced.day}",
            ours=entry.ours,
            note=f"{format_money(entry.repriced.usd_list)} list, "
            f"{format_money(entry.repriced.usd_low)} low\n{entry.repriced.how}"
            + GUESSED
            * _guessed(entry),
        )
        for entry in sorted(entries, key=lambda entry: -entry.flops)
        if entry.repriced
    ]
    return spot_chart(
        "Training cost of known models",
        spots,
        "day of publication",
        "US dollars",
        y_prefix="$",
        height=680,
    )


def _guessed(entry: Entry) -> bool:
    return entry.model is not None and entry.model.speculative


def _name(entry: Entry) -> str:
    return "~" * _guessed(entry) + entry.name


def isoflop_chart(curves: Sequence[IsoFlop], title: str = "Loss over size at equal compute") -> str:
    """One curve a budget, its minimum marked, and what lies to the left and right of it.

    Args:
        curves: at least one; sizes rising.
        title: said above the chart.
    """
    lines, spots = [], []
    for number, curve in enumerate(curves):
        lines.append(Series(f"{curve.flops:.2g} FLOPs", curve.params, curve.losses, "line", number))
        best = min(range(len(curve.losses)), key=lambda i: curve.losses[i])
        spots.append(
            Spot(
                f"{format_count(curve.params[best])} at {curve.flops:.2g}",
                curve.params[best],
                curve.losses[best],
                note=f"{curve.flops:.3g} FLOPs\nleast loss {curve.losses[best]:.3f} at "
                f"{format_count(curve.params[best])} parameters",
            )
        )
    sizes = [size for curve in curves for size in curve.params]
    losses = [loss for curve in curves for loss in curve.losses]
    low, high = min(losses), max(losses)
    foot = low - 0.1 * (high - low)
    return spot_chart(
        title,
        spots,
        PARAMETERS,
        "loss, nats per token",
        lines=lines,
        remarks=[
            Remark("◂ too small a model, over-trained", min(sizes), foot, "left"),
            Remark("too large a model, under-trained ▸", max(sizes), foot, "right"),
        ],
        log_x=True,
        log_y=False,
        height=460,
    )


def equal_compute_chart(
    corpus_tokens: float,
    cases: Sequence[tuple[float, float]] = ((20e9, 0.4), (200e9, 0.04)),
    losses: Sequence[float] = (),
    optimum: tuple[float, float] | None = None,
    name: str = "One budget",
) -> str:
    """The line of one budget: a model of N on a share of a corpus, N × share constant.

    Args:
        corpus_tokens: the whole corpus.
        cases: (parameters, share of the corpus), all of one compute; the white paper's are 20B on
            40 % and 200B on 4 %.
        losses: predicted for each case.
        optimum: the compute-optimal (parameters, share) of that budget, and where it lies.
        name: what the title begins with.
    """
    product = cases[0][0] * cases[0][1]
    flops = 6 * product * corpus_tokens
    spots = [
        Spot(
            f"{format_count(n)} on {share:.3g} of it" if share > 1 else
            f"{format_count(n)} on {share:.0%}"
            + (f": loss {losses[i]:.3f}" if i < len(losses) else ""),
            n,
            share,
            note=f"{format_count(share * corpus_tokens)} tokens",
        )
        for i, (n, share) in enumerate(cases)
    ]  # fmt: skip
    if optimum:
        spots.append(
            Spot(
                f"optimum: {format_count(optimum[0])} on {optimum[1]:.1%}",
                *optimum,
                ours=True,
                note=f"{format_count(optimum[1] * corpus_tokens)} tokens",
            )
        )
    sizes = [spot.x for spot in spots if isinstance(spot.x, float | int)]
    least = min(sizes) / 3
    if all(share <= 1 for _, share in cases):
        least = max(least, product)  # a smaller model would need more text than there is
    low, high = least, max(sizes) * 3
    budget = f"({flops:.2g} FLOPs), {format_count(corpus_tokens)} tokens to choose from"
    return spot_chart(
        f"{name} {budget}",
        spots,
        PARAMETERS,
        "share of the corpus that is read",
        lines=[Series("equal compute", [low, high], [product / low, product / high], "line", 0)],
        log_x=True,
        y_format=".0%",
        best_side="top right",
        height=400,
    )


def smaller_longer_chart(
    curves: Mapping[str, Sequence[tuple[float, float]]], params: float, tokens: float
) -> str:
    """The tokens that other sizes need for the same loss, one curve a law.

    Args:
        curves: law → (parameters, tokens), sizes rising; beyond `FAR` times the text a curve ends.
        params: of the model to match.
        tokens: of the model to match.
    """
    return spot_chart(
        f"As good as {format_count(params)} on {format_count(tokens)} tokens",
        [Spot(f"{format_count(params)} on {format_count(tokens)}", params, tokens, ours=True)],
        PARAMETERS,
        f"{TOKENS} for the same loss",
        lines=[
            Series(law, [n for n, _ in points], [d for _, d in points], "line", number)
            for number, (law, near) in enumerate(curves.items())
            if (points := [(n, d) for n, d in near if d <= FAR * tokens])
        ],
        log_x=True,
        best_side="top right",
        height=460,
    )
