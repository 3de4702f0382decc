"""``groundup plan frontier``, ``smaller-longer`` and ``hyperparameters``; ``sizes`` has the rest.

Each command asks one function of `groundup.plan` and prints what it returned.
"""

from __future__ import annotations

from typing import Any

import click

from groundup.cli.options import COUNT, FLOPS, json_option


@click.command()
@click.option("--params", type=COUNT, help="Model size, for example 70B.")
@click.option("--flops", type=FLOPS, help="Training budget, for example 5.76e23.")
@click.option("--tokens", type=COUNT, help="Training text, for example 1.4T.")
@click.option("--law", metavar="ID", help="One law; without it all that are listed.")
@json_option
def frontier(
    params: float | None,
    flops: float | None,
    tokens: float | None,
    law: str | None,
    as_json: bool,
) -> None:
    """The compute-optimal size, text and budget for one of the three, by every scaling law."""
    from dataclasses import asdict

    from groundup.plan import laws
    from groundup.tables import Table, print_json, print_tables
    from groundup.units import format_count, format_ratio

    points = laws.frontier(params=params, flops=flops, tokens=tokens, law=law)
    predict = laws.surface(laws.LOSS_LAW).loss
    answered = {point.law for point in points}
    absurd = [each.id for each in laws.laws().values() if each.listed and each.id not in answered]
    absurd = [] if law is not None else absurd
    if as_json:
        records = [
            {
                **asdict(point),
                "tokens_per_param": point.tokens_per_param,
                "predicted_loss": predict(point.params, point.tokens),
                "gopher_units": point.flops / laws.GOPHER_FLOPS,
                "params_per_10x_flops": laws.multipliers(10, point.law)[0],
                "tokens_per_10x_flops": laws.multipliers(10, point.law)[1],
            }
            for point in points
        ]
        is_default = laws.DEFAULT_LAW
        records += [
            {
                **dict.fromkeys(records[0]),
                "law": each,
                "default": each == is_default,
                "note": ABSURD,
            }
            for each in absurd
        ]
        print_json(records)
        return
    columns = ["law", "params", "tokens", "tokens/param", "FLOPs", "× Gopher", "own loss"]
    columns += [f"by {laws.LOSS_LAW}", "params at ×10 FLOPs", "tokens"]
    rows = []
    for point in points:
        more_params, more_tokens = laws.multipliers(10, point.law)
        rows.append(
            (
                point.law + (" (default)" if point.default else ""),
                format_count(point.params),
                format_count(point.tokens),
                point.tokens_per_param,
                f"{point.flops:.3g}",
                format_ratio(point.flops / laws.GOPHER_FLOPS),
                None if point.loss is None else f"{point.loss:.3f}",
                f"{predict(point.params, point.tokens):.3f}",
                f"×{more_params:.2f}",
                f"×{more_tokens:.2f}",
            )
        )
    if flops is not None:
        shown = f"{flops:.3g} FLOPs"
    else:
        shown = (
            f"{format_count(params)} params" if params else f"{format_count(tokens or 0)} tokens"
        )
    tables = [Table(f"Compute-optimal for {shown}", columns, rows)]
    notes = [(point.law, point.note) for point in points]
    notes += [(each, ABSURD) for each in absurd]
    tables.append(Table("Notes", ["law", "note"], notes))
    print_tables(tables)
    if law is None:
        click.echo(_spread(points))
        click.echo(laws.WHY_DEFAULT)
        extra = [each.id for each in laws.laws().values() if not each.listed]
        click.echo(f"By name only (--law): {', '.join(extra)}.")


ABSURD = "Its answer lies outside what can be planned, and is left out."


def _spread(points: list[Any]) -> str:
    """The range over the laws that stand, in one sentence."""
    from groundup.plan.laws import find_law
    from groundup.units import format_count

    band = [point for point in points if find_law(point.law).in_band]
    if len(band) < 2:
        return "Too few of the laws that stand have an answer of this size for a spread."
    parts = []
    for name in ("params", "tokens", "flops"):
        values = [getattr(point, name) for point in band]
        low, high = min(values), max(values)
        if high > 1.001 * low:
            show = (lambda x: f"{x:.3g}") if name == "flops" else format_count
            label = "FLOPs" if name == "flops" else name
            parts.append(f"{label} {show(low)} to {show(high)} (×{high / low:.2g})")
    out = [point.law for point in points if point not in band]
    left_out = f"; left out: {', '.join(out)}" if out else ""
    return f"Spread over the {len(band)} laws that stand: {', '.join(parts)}{left_out}."


@click.command("smaller-longer")
@click.option("--params", type=COUNT, required=True, help="Size of the model to match.")
@click.option("--tokens", type=COUNT, required=True, help="Its training tokens.")
@click.option("--size", "sizes", type=COUNT, multiple=True, help="Another size; may be repeated.")
@click.option("--law", metavar="ID", help="One law; without it all with a loss surface.")
@json_option
def smaller_longer(
    params: float, tokens: float, sizes: tuple[float, ...], law: str | None, as_json: bool
) -> None:
    """The tokens that smaller models need for the same loss, and the compute that takes."""
    from dataclasses import asdict

    from groundup.plan import sizing
    from groundup.tables import Table, print_json, print_tables
    from groundup.units import format_count

    found = sizing.smaller_longer(params, tokens, sizes or None, law)
    if as_json:
        print_json([asdict(trade) for trades in found.values() for trade in trades])
        return
    for name, trades in found.items():
        rows = [
            (
                format_count(trade.params),
                f"{trade.params_ratio:.0%}",
                "never" if trade.tokens is None else format_count(trade.tokens),
                None if trade.tokens_ratio is None else f"×{trade.tokens_ratio:.2f}",
                None if trade.flops is None else f"{trade.flops:.3g}",
                None if trade.flops_ratio is None else f"×{trade.flops_ratio:.2f}",
            )
            for trade in trades
        ]
        title = (
            f"{name}: as good as {format_count(params)} on {format_count(tokens)} tokens "
            f"(loss {trades[0].loss:.3f})"
        )
        columns = ["params", "of it", "tokens", "× tokens", "training FLOPs", "× FLOPs"]
        print_tables([Table(title, columns, rows)])


@click.command()
@click.option("--params", type=COUNT, required=True, help="Model size (without embeddings).")
@click.option("--tokens", type=COUNT, required=True, help="Training text.")
@click.option("--flops", type=FLOPS, help="Training budget (default 6 · params · tokens).")
@click.option("--loss", type=float, help="Loss in nats per token: the critical batch there.")
@click.option("--batch-tokens", type=COUNT, help="A batch: its cost against the critical one.")
@click.option("--width", type=int, help="Width of this model, for muP's multipliers.")
@click.option("--base-width", type=int, help="Width of the model that was tuned.")
@json_option
def hyperparameters(
    params: float,
    tokens: float,
    flops: float | None,
    loss: float | None,
    batch_tokens: float | None,
    width: int | None,
    base_width: int | None,
    as_json: bool,
) -> None:
    """Peak learning rate and batch size by published laws: where a search may start."""
    from dataclasses import asdict

    from groundup.errors import ConfigError
    from groundup.plan import hyperparameters as laws
    from groundup.tables import Table, print_json, print_tables
    from groundup.units import format_count

    if (width is None) != (base_width is None):
        raise ConfigError("--width and --base-width go together", fix="give both, or neither")
    found = laws.hyperparameters(params, tokens, flops)
    by_compute = {each.law: each for each in found}["kaplan-critical-batch"].batch_tokens
    critical = by_compute if loss is None else laws.critical_batch(loss)
    cost = None
    if batch_tokens is not None and critical is not None:
        cost = laws.batch_cost(batch_tokens, critical)
    mup = None if width is None or base_width is None else laws.mup(width, base_width)
    if as_json:
        default = next(each for each in found if each.default)
        record = {
            "params": params,
            "tokens": tokens,
            "law": default.law,
            "learning_rate": default.learning_rate,
            "batch_tokens": default.batch_tokens,
            "laws": [asdict(each) for each in found],
            "critical_batch_tokens": critical,
            "batch_cost": None if cost is None else asdict(cost),
            "mup": None if mup is None else asdict(mup),
        }
        print_json(record)
        return
    rows = [
        (
            each.law + (" (default)" if each.default else ""),
            None if each.learning_rate is None else f"{each.learning_rate:.3g}",
            None if each.batch_tokens is None else format_count(each.batch_tokens),
            None if each.steps is None else format_count(each.steps),
            each.source,
        )
        for each in found
    ]
    title = f"{format_count(params)} parameters on {format_count(tokens)} tokens"
    tables = [Table(title, ["law", "peak rate", "batch (tokens)", "steps", "source"], rows)]
    tables.append(Table("Notes", ["law", "note"], [(each.law, each.note) for each in found]))
    if mup is not None:
        named = [(name.replace("_", " "), value) for name, value in asdict(mup).items()]
        tables.append(Table(f"muP from width {base_width} to {width}", ["of", "times"], named))
    print_tables(tables)
    if cost is not None and batch_tokens is not None and critical is not None:
        click.echo(
            f"A batch of {format_count(batch_tokens)} against a critical one of "
            f"{format_count(critical)} takes {cost.steps_ratio:.2f} times the least steps and "
            f"{cost.tokens_ratio:.2f} times the least tokens."
        )
    elif loss is not None and critical is not None:
        click.echo(f"Critical batch at a loss of {loss:g}: {format_count(critical)} tokens.")
