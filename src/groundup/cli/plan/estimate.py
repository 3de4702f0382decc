"""``groundup plan estimate``: the whole plan from whatever is fixed."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from groundup.cli.options import COUNT, FLOPS, MONEY, SHARE, json_option
from groundup.cli.plan.job import batch_options, chips_option, seq_option


@click.command()
@click.option("--gpu", required=True, metavar="CHIP", help="See `groundup plan hardware`.")
@chips_option
@click.option("--model", metavar="PRESET|FILE", help="The model; see `groundup model list`.")
@click.option("--params", type=COUNT, metavar="N", help="Or its parameters; a shape is chosen.")
@click.option("--tokens", type=COUNT, metavar="D", help="Training tokens.")
@click.option("--flops", type=FLOPS, metavar="C", help="A budget of training FLOPs.")
@click.option("--usd", "money_usd", type=MONEY, metavar="USD", help="A budget of money.")
@click.option("--days", type=float, metavar="DAYS", help="A budget of days by the clock.")
@click.option("--unique-tokens", type=COUNT, metavar="U", help="Different tokens there are.")
@click.option(
    "--law",
    default="chinchilla-1",
    show_default=True,
    metavar="ID",
    help="By which the budget is split; see `groundup plan frontier`.",
)
@click.option(
    "--vocab-size",
    type=int,
    default=32_000,
    show_default=True,
    metavar="V",
    help="Of a model that is not named.",
)
@seq_option
@batch_options
@click.option("--optimizer", default="adamw", show_default=True, metavar="NAME")
@click.option("--mfu", type=SHARE, metavar="SHARE", help="Instead of the predicted one.")
@click.option(
    "--goodput",
    type=SHARE,
    metavar="SHARE",
    help="Share of the clock that makes progress (default 75 %).",
)
@click.option(
    "--scheme",
    default="on-demand",
    show_default=True,
    metavar="NAME",
    help="on-demand, 1y, 3y or owned.",
)
@click.option("--usd-per-hour", type=MONEY, metavar="USD", help="Your price of a chip-hour.")
@click.option("--discount", type=SHARE, default=0.0, metavar="SHARE", help="Negotiated.")
@click.option("--region", metavar="NAME", help="Of the grid; see `groundup plan carbon`.")
@click.option("--kg-per-kwh", type=float, metavar="KG", help="CO2e of a kWh, instead of a region.")
@click.option("--pue", type=float, metavar="RATIO", help="Of the data centre.")
@click.option(
    "--date",
    "day",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="Today, for the age of prices.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write plan.json and plan.html there.",
)
@json_option
def estimate(
    gpu: str,
    n_chips: float,
    model: str | None,
    params: float | None,
    tokens: float | None,
    flops: float | None,
    money_usd: float | None,
    days: float | None,
    unique_tokens: float | None,
    law: str,
    vocab_size: int,
    context_length: float | None,
    global_batch: float | None,
    global_batch_sequences: float | None,
    optimizer: str,
    mfu: float | None,
    goodput: float | None,
    scheme: str,
    usd_per_hour: float | None,
    discount: float,
    region: str | None,
    kg_per_kwh: float | None,
    pue: float | None,
    day: datetime | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """What a model comes to, or what a budget buys: size, text, layout, days, money, carbon.

    Fix two of model, tokens and budget and the third follows; fix one and a scaling law splits it.
    """
    from groundup.architecture.presets import find_model
    from groundup.cli.plan.job import batch_tokens, chip_notes
    from groundup.plan.carbon import PUE
    from groundup.plan.hardware import match_chip
    from groundup.plan.limits import require_chips, require_context
    from groundup.plan.time import CONTEXT_LENGTH, GOODPUT
    from groundup.plan.whole import estimate as make
    from groundup.plan.whole_report import as_record, estimate_tables, write_estimate
    from groundup.plan.wish import Wish
    from groundup.progress import say
    from groundup.tables import print_json, print_tables

    chip = match_chip(gpu)
    config = find_model(model) if model else None
    length = None if context_length is None else require_context(context_length, "seq")  # type: ignore[arg-type]
    sequence = length or (config.context_length if config else CONTEXT_LENGTH)
    plan = make(
        Wish(
            chip=chip.chip,
            n_chips=require_chips(n_chips, "n"),  # type: ignore[arg-type]  # a float that is whole
            model=config,
            model_name=model or "",
            params=params,
            tokens=tokens,
            flops=flops,
            money_usd=money_usd,
            days=days,
            unique_tokens=unique_tokens,
            vocab_size=vocab_size,
            context_length=length,
            global_batch_tokens=batch_tokens(global_batch, global_batch_sequences, sequence),
            scheme=scheme,
            usd_per_hour=usd_per_hour,
            discount=discount,
            mfu=mfu,
            goodput=GOODPUT if goodput is None else goodput,
            region=region,
            kg_per_kwh=kg_per_kwh,
            pue=PUE if pue is None else pue,
            law=law,
            optimizer=optimizer,
            today=day.date() if day else None,
        )
    )
    for text in chip_notes(chip)[0]:
        say(text)
    if as_json:
        print_json(as_record(plan))
    else:
        print_tables(estimate_tables(plan))
    if output:
        say(f"page: {write_estimate(plan, output)}")
