"""``groundup plan time`` and ``groundup plan hardware``: how long, on what, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from groundup.cli.options import COUNT, DURATION, FLOPS, MONEY, SHARE, json_option
from groundup.cli.plan.job import batch_options, chips_option, seq_option

if TYPE_CHECKING:
    from datetime import date

    from groundup.plan.hardware import Chip


@click.command()
@click.option("--model", metavar="MODEL", help="A preset (gpt3-175b) or a JSON file of a config.")
@click.option("--params", type=COUNT, help="Instead of a model: its number of parameters.")
@click.option("--like", metavar="RUN", help="Model and tokens of a published run: palm, opt, ...")
@click.option("--gpu", "--chip", "gpu", metavar="CHIP", required=True, help="See plan hardware.")
@chips_option
@click.option("--tokens", type=COUNT, help="Tokens of the whole run.")
@click.option("--mfu", type=SHARE, help="Share of the peak that the model's FLOPs use: 46%.")
@click.option("--hfu", type=SHARE, help="The same with recomputation counted.")
@click.option("--tflops", type=FLOPS, help="TFLOP/s a chip does, recomputation counted: 140.")
@click.option("--tokens-per-second", type=COUNT, help="A measured rate, of all chips.")
@click.option("--step-seconds", type=DURATION, help="A measured step; with --global-batch.")
@click.option(
    "--recompute",
    type=click.Choice(["none", "selective", "full"]),
    help="What the backward pass computes again.",
)
@seq_option
@batch_options
@click.option("--micro-batch", type=COUNT, help="Sequences a replica has in one pass.")
@click.option(
    "--flash/--no-flash", default=None, help="Without: attention and software as in 2021-22."
)
@click.option("--goodput", type=SHARE, help="Share of wall-clock that makes progress (0.75).")
@click.option("--usd-per-hour", type=MONEY, help="Your price of a chip-hour.")
@click.option(
    "--precision", type=click.Choice(["fp32", "tf32", "fp16", "bf16", "fp8"]), help="Of products."
)
@click.option("--peak", type=FLOPS, help="Your own dense peak of the chip: 312T.")
@click.option(
    "--convention",
    type=click.Choice(["6n", "palm", "causal"]),
    help="How the MFU counts attention: not at all, all keys, half of them.",
)
@click.option("--date", "today", metavar="DAY", help="For the age of prices (default: today).")
@json_option
def time(
    model: str | None,
    params: float | None,
    like: str | None,
    gpu: str,
    n_chips: float,
    tokens: float | None,
    mfu: float | None,
    hfu: float | None,
    tflops: float | None,
    tokens_per_second: float | None,
    step_seconds: float | None,
    recompute: str | None,
    context_length: float | None,
    global_batch: float | None,
    global_batch_sequences: float | None,
    micro_batch: float | None,
    flash: bool | None,
    goodput: float | None,
    usd_per_hour: float | None,
    precision: str | None,
    peak: float | None,
    convention: str | None,
    today: str | None,
    as_json: bool,
) -> None:
    """Days, chip-hours and money of a training run.

    Without --mfu, --hfu, --tflops or a measured rate the efficiency is predicted from published
    runs, with a band. Days, chip-hours and money are of computing; by the clock they are more,
    divided by the goodput.
    """
    import dataclasses

    from groundup.architecture.config import ModelConfig
    from groundup.architecture.presets import find_model
    from groundup.cli.plan.job import batch_tokens, chip_notes
    from groundup.cli.plan.time_tables import time_tables
    from groundup.errors import InputError
    from groundup.plan.hardware import match_chip, with_peak
    from groundup.plan.like import as_run, work_of
    from groundup.plan.limits import require_chips, require_context, require_count, require_positive
    from groundup.plan.time import CONTEXT_LENGTH, GOODPUT, training_time
    from groundup.tables import print_json, print_tables

    if sum(choice is not None for choice in (model, params, like)) != 1:
        raise InputError("give one of --model, --params and --like", where="plan time")
    match = match_chip(gpu)
    chip = match.chip
    if peak is not None:
        chip = with_peak(
            chip, peak * (1e12 if peak < 1e6 else 1), precision or chip.training_precision
        )
    chips = require_chips(n_chips, "n")  # type: ignore[arg-type]  # a float that is whole
    work, before, layout = None, None, None
    if like is not None:
        work, before = work_of(like), as_run(like)
        tokens = tokens or work.tokens
        if global_batch is None and global_batch_sequences is None:
            global_batch = work.global_batch_tokens
        context_length = context_length or work.context_length
        asked = (mfu, hfu, tflops, tokens_per_second, step_seconds, recompute, micro_batch)
        if all(value is None for value in asked):
            layout = work.layout_on(chip.id, chips)
        flash = work.flash_attention if flash is None and layout else flash
    if tokens is None:
        raise InputError("--tokens is missing", where="plan time", fix="for example --tokens 300B")
    if usd_per_hour is not None:
        require_positive(usd_per_hour, "usd-per-hour")
    trained = work.model if work else find_model(model) if model else params
    assert trained is not None
    length = CONTEXT_LENGTH if not isinstance(trained, ModelConfig) else trained.context_length
    if context_length is not None:
        length = require_context(context_length, "seq")  # type: ignore[arg-type]
    found = training_time(
        trained,
        tokens,
        chip,
        chips,
        mfu=mfu,
        hfu=hfu,
        tflops_per_chip=tflops,
        tokens_per_second=tokens_per_second,
        step_seconds=step_seconds,
        recompute=recompute,  # type: ignore[arg-type]
        context_length=length,
        global_batch_tokens=batch_tokens(global_batch, global_batch_sequences, length),
        micro_batch_size=None if micro_batch is None else require_count(micro_batch, "micro-batch"),  # type: ignore[arg-type]
        layout=layout,
        goodput=GOODPUT if goodput is None else goodput,
        precision=precision,
        convention=convention,  # type: ignore[arg-type]
        flash_attention=flash is not False,
    )
    notes, _ = chip_notes(match)  # a peak of the user's own is looked at with the time
    notes += found.notes
    money, warnings = _prices(chip, found.chip_hours, found.wall_chip_hours, usd_per_hour, today)
    if money["usd"] is None:
        notes.append(f"no price is known of {chip.id}: give --usd-per-hour")
    record = {
        "chip": chip.id,
        "tokens": tokens,
        **dataclasses.asdict(found),
        **money,
        "as_run": dataclasses.asdict(before) if before else None,
        "notes": notes,
        "warnings": [*found.warnings, *warnings],
    }
    if as_json:
        print_json(record)
        return
    print_tables(time_tables(found, record, before))


def _prices(
    chip: Chip,
    chip_hours: float,
    wall_chip_hours: float,
    usd_per_hour: float | None,
    today: str | None,
) -> tuple[dict[str, Any], list[str]]:
    """Money of computing and by the clock, at the list and the low price; and its warnings."""
    from groundup.plan.prices import age_warning, catalog_price

    price = None if usd_per_hour is not None else catalog_price(chip)
    day = _day(today)
    old = age_warning(price, day) if price else None
    listed, low = (price.usd_list, price.usd_low) if price else (usd_per_hour, usd_per_hour)

    def bill(rate: float | None, hours: float) -> float | None:
        return None if rate is None else rate * hours

    return {
        "usd": bill(listed, chip_hours),
        "usd_low": bill(low, chip_hours),
        "wall_usd": bill(listed, wall_chip_hours),
        "wall_usd_low": bill(low, wall_chip_hours),
        "usd_per_chip_hour": listed,
        "usd_low_per_chip_hour": low,
        "price_source": price.list_source if price else "--usd-per-hour" if usd_per_hour else None,
        "price_date": price.day.isoformat() if price and price.day else None,
    }, [old] if old else []


@click.command()
@click.argument("chip", required=False)
@click.option("--date", "today", metavar="DAY", help="For the age of prices (default: today).")
@json_option
def hardware(chip: str | None, today: str | None, as_json: bool) -> None:
    """The chips that are known, or one of them: peaks, memory, links, prices."""
    import dataclasses

    from groundup.cli.plan.time_tables import chip_rows, chips_table, remarks
    from groundup.plan.hardware import chips, match_chip, peak_warnings
    from groundup.tables import Table, print_json, print_tables

    day = _day(today)
    match = match_chip(chip) if chip is not None else None
    found = [match.chip] if match else list(chips().values())
    warnings = [warning for one in found for warning in peak_warnings(one)]
    ages = {one.id: warning for one in found if (warning := _price_age(one, day))}
    if as_json:
        records = [
            {
                **_renamed(dataclasses.asdict(one)),
                "price_date": one.price_date.isoformat() if one.price_date else None,
                "attainable_share": one.attainable_share,
                "warnings": [*peak_warnings(one), *filter(None, [ages.get(one.id)])],
                "notes": [match.note] if match and match.note else [],
            }
            for one in found
        ]
        print_json(records[0] if match else records)
        return
    if match:
        tables = [Table(match.chip.id, ["what", "value"], chip_rows(match.chip))]
        warnings += ages.values()
    else:
        tables = [chips_table(found)]
        if ages:
            warnings.append(
                f"{len(ages)} of the prices are over a year old: see plan hardware CHIP"
            )
    notes = [match.note] if match and match.note else []
    print_tables([*tables, *remarks(notes, warnings)])


def _renamed(record: dict[str, Any]) -> dict[str, Any]:
    """Prices by the names that all commands have."""
    record["usd_per_chip_hour"] = record.pop("usd_per_hour")
    record["usd_low_per_chip_hour"] = record.pop("low_usd_per_hour")
    return record


def _price_age(chip: Chip, today: date) -> str | None:
    from groundup.plan.prices import age_warning, catalog_price

    price = catalog_price(chip)
    return None if price is None else age_warning(price, today)


def _day(text: str | None) -> date:
    from datetime import date

    from groundup.errors import InputError

    if text is None:
        return date.today()
    try:
        return date.fromisoformat(text if text.count("-") == 2 else f"{text}-01")
    except ValueError:
        raise InputError(f"{text!r} is no day", where="date", fix="write 2026-11-21") from None
