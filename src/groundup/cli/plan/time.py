"""``groundup plan time`` and ``groundup plan hardware``: how long, on what, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from groundup.cli.options import COUNT, FLOPS, MONEY, SHARE, json_option

if TYPE_CHECKING:
    from datetime import date


@click.command()
@click.option("--model", metavar="MODEL", help="A preset (gpt3-175b) or a JSON file of a config.")
@click.option("--params", type=COUNT, help="Instead of a model: its number of parameters.")
@click.option("--like", metavar="RUN", help="Model and tokens of a published run: palm, opt, ...")
@click.option("--gpu", "--chip", "gpu", metavar="CHIP", required=True, help="See plan hardware.")
@click.option("--n", "n_chips", type=COUNT, required=True, help="Number of chips.")
@click.option("--tokens", type=COUNT, help="Tokens of the whole run.")
@click.option("--mfu", type=SHARE, help="Share of the peak that the model's FLOPs use: 46%.")
@click.option("--hfu", type=SHARE, help="The same with recomputation counted.")
@click.option("--tflops", type=FLOPS, help="TFLOP/s a chip does, recomputation counted: 140.")
@click.option(
    "--recompute",
    type=click.Choice(["none", "selective", "full"]),
    help="What the backward pass computes again.",
)
@click.option("--seq", type=COUNT, help="Tokens a sequence (default: the model's context).")
@click.option("--global-batch", type=COUNT, help="Tokens a step.")
@click.option("--micro-batch", type=COUNT, help="Sequences a replica has in one pass.")
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
    recompute: str | None,
    seq: float | None,
    global_batch: float | None,
    micro_batch: float | None,
    goodput: float | None,
    usd_per_hour: float | None,
    precision: str | None,
    peak: float | None,
    convention: str | None,
    today: str | None,
    as_json: bool,
) -> None:
    """Days, chip-hours and money of a training run.

    Without --mfu, --hfu or --tflops the efficiency is predicted from published runs, with a band.
    Chip-hours and money are of the wall-clock: computing divided by goodput.
    """
    import dataclasses

    from groundup.architecture.presets import find_model
    from groundup.cli.plan.time_tables import time_tables
    from groundup.errors import InputError
    from groundup.plan.hardware import match_chip, price_age_warning, with_peak
    from groundup.plan.like import as_run, work_of
    from groundup.plan.limits import require_chips, require_context, require_count, require_positive
    from groundup.plan.time import GOODPUT, training_time
    from groundup.tables import print_json, print_tables

    if sum(choice is not None for choice in (model, params, like)) != 1:
        raise InputError("give one of --model, --params and --like", where="plan time")
    match = match_chip(gpu)
    chip = match.chip
    if peak is not None:
        chip = with_peak(
            chip, peak * (1e12 if peak < 1e6 else 1), precision or chip.training_precision
        )
    work, before = None, None
    if like is not None:
        work, before = work_of(like), as_run(like)
        tokens = tokens or work.tokens
        global_batch = global_batch or work.global_batch_tokens
        seq = seq or work.context_length
    if tokens is None:
        raise InputError("--tokens is missing", where="plan time", fix="for example --tokens 300B")
    if usd_per_hour is not None:
        require_positive(usd_per_hour, "usd-per-hour")
    trained = work.model if work else find_model(model) if model else params
    assert trained is not None
    found = training_time(
        trained,
        tokens,
        chip,
        require_chips(n_chips, "n"),  # type: ignore[arg-type]
        mfu=mfu,
        hfu=hfu,
        tflops_per_chip=tflops,
        recompute=recompute,  # type: ignore[arg-type]
        context_length=None if seq is None else require_context(seq, "seq"),  # type: ignore[arg-type]
        global_batch_tokens=None
        if global_batch is None
        else require_positive(global_batch, "global-batch"),
        micro_batch_size=None if micro_batch is None else require_count(micro_batch, "micro-batch"),  # type: ignore[arg-type]
        goodput=GOODPUT if goodput is None else goodput,
        precision=precision,
        convention=convention,  # type: ignore[arg-type]
    )
    warnings = list(found.warnings)
    notes = [*([match.note] if match.note else []), *found.notes]
    listed, low = chip.usd_per_hour, chip.low_usd_per_hour
    if usd_per_hour is not None:
        listed = low = usd_per_hour
    else:
        old = price_age_warning(chip, _day(today))
        warnings += [old] if old else []
        if listed is None:
            notes.append(f"no price is known of {chip.id}: give --usd-per-hour")
    record = {
        "chip": chip.id,
        "n": n_chips,
        "tokens": tokens,
        **dataclasses.asdict(found),
        "usd": None if listed is None else listed * found.chip_hours,
        "usd_low": None if low is None else low * found.chip_hours,
        "usd_per_hour": listed,
        "usd_low_per_hour": low,
        "price_source": "--usd-per-hour" if usd_per_hour is not None else chip.price_source,
        "price_date": None
        if usd_per_hour is not None or chip.price_date is None
        else chip.price_date.isoformat(),
        "as_run": dataclasses.asdict(before) if before else None,
        "notes": notes,
        "warnings": warnings,
    }
    if as_json:
        print_json(record)
        return
    print_tables(time_tables(found, record, before))


@click.command()
@click.argument("chip", required=False)
@click.option("--date", "today", metavar="DAY", help="For the age of prices (default: today).")
@json_option
def hardware(chip: str | None, today: str | None, as_json: bool) -> None:
    """The chips that are known, or one of them: peaks, memory, links, prices."""
    import dataclasses

    from groundup.cli.plan.time_tables import chip_rows, chips_table, remarks
    from groundup.plan.hardware import chips, match_chip, peak_warnings, price_age_warning
    from groundup.tables import Table, print_json, print_tables

    day = _day(today)
    match = match_chip(chip) if chip is not None else None
    found = [match.chip] if match else list(chips().values())
    warnings = [warning for one in found for warning in peak_warnings(one)]
    ages = [warning for one in found if (warning := price_age_warning(one, day))]
    if as_json:
        records = [
            {
                **dataclasses.asdict(one),
                "price_date": one.price_date.isoformat() if one.price_date else None,
                "attainable_share": one.attainable_share,
                "warnings": [*peak_warnings(one), *filter(None, [price_age_warning(one, day)])],
                "notes": [match.note] if match and match.note else [],
            }
            for one in found
        ]
        print_json(records[0] if match else records)
        return
    if match:
        tables = [Table(match.chip.id, ["what", "value"], chip_rows(match.chip))]
        warnings += ages
    else:
        tables = [chips_table(found)]
        if ages:
            warnings.append(
                f"{len(ages)} of the prices are over a year old: see plan hardware CHIP"
            )
    notes = [match.note] if match and match.note else []
    print_tables([*tables, *remarks(notes, warnings)])


def _day(text: str | None) -> date:
    from datetime import date

    from groundup.errors import InputError

    if text is None:
        return date.today()
    try:
        return date.fromisoformat(text if text.count("-") == 2 else f"{text}-01")
    except ValueError:
        raise InputError(f"{text!r} is no day", where="date", fix="write 2026-11-21") from None
