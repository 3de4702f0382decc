"""``groundup decide prices`` and ``ownership``: what a bought token costs, and an own one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from groundup.cli.options import COUNT, MONEY, SHARE, json_option

DEFAULT_CHIP = "H100-SXM"

if TYPE_CHECKING:
    from groundup.decide.ownership import Ownership
    from groundup.decide.prices import Price, SlideRow
    from groundup.tables import Table


@click.command()
@click.option("--input-tokens", type=COUNT, default=6e9, help="Tokens read (default: 6e9).")
@click.option("--output-tokens", type=COUNT, default=3e9, help="Tokens written (default: 3e9).")
@click.option("--training-tokens", type=COUNT, default=6e9, help="Tokens tuned on (6e9).")
@click.option("--prompt-factor", type=float, default=1.0, help="Prompts this times shorter.")
@click.option("--cached-share", type=SHARE, default=0.0, help="Part of the input that repeats.")
@click.option("--batch", is_flag=True, help="Answers within a day, at a lower price.")
@click.option("--discount", type=SHARE, default=0.0, help="Off the list price, say 30%.")
@json_option
def prices(
    input_tokens: float,
    output_tokens: float,
    training_tokens: float,
    prompt_factor: float,
    cached_share: float,
    batch: bool,
    discount: float,
    as_json: bool,
) -> None:
    """What pretrained and fine-tuned models cost for a volume of tokens, and CS-2 training runs.

    The nine rows of the slides come out to the dollar at the default volumes. Below them stands
    the dated price book (`groundup decide` counts with its rows), then the slides' training runs
    on Cerebras CS-2 machines, those that cannot be so flagged.
    """
    from dataclasses import asdict

    from groundup.decide.catalogs import rows
    from groundup.decide.cs2 import cs2_table
    from groundup.decide.prices import Levers, price_age_note, price_book, slide_table, usage_cost
    from groundup.decide.report import lever_table
    from groundup.tables import Table, print_json, print_tables

    levers = Levers(
        prompt_factor=prompt_factor,
        cached_share=cached_share,
        batch=batch,
        discount=discount,
    )
    table = slide_table(input_tokens, output_tokens, training_tokens, levers)
    runs, book = cs2_table(), list(price_book().values())
    totals = {
        price.id: usage_cost(price, input_tokens, output_tokens, training_tokens, levers)
        for price in book
    }
    old = [price.id for price in book if price_age_note(price)]
    notes = [f"prices over a year old, look them up: {', '.join(old)}"] if old else []
    if as_json:
        print_json(
            {
                "models": [_slide_record(row) for row in table],
                "cs2": [asdict(run) for run in runs],
                "price_book": [
                    {**asdict(price), "total_usd": totals[price.id].total_usd} for price in book
                ],
                "levers": [row.values for row in rows("levers")],
                "notes": notes,
            }
        )
        return
    print_tables(
        [
            _slide_tables(table, input_tokens, output_tokens, training_tokens),
            _book_table(book, totals),
            lever_table(),
            _cs2_table(runs),
            Table("Notes", ["note"], [[note] for note in notes]),
        ]
    )


@click.command()
@click.option("--train-cost", type=MONEY, required=True, help="Of training: 5e6, $5M.")
@click.option("--cost-per-token", type=MONEY, help="To serve one token; with --margin, its price.")
@click.option("--params", type=COUNT, help="Instead of a cost: of a model of this size on a chip.")
@click.option("--gpu", help="The chip it is served on (default: H100-SXM).")
@click.option("--usd-per-hour", type=MONEY, help="Of one chip; default: the catalog's low price.")
@click.option("--output-share", type=SHARE, help="Part of tokens that is written (default: 1).")
@click.option("--margin", type=SHARE, default=0.0, help="Profit in the price: 60%.")
@click.option("--tokens-per-day", type=COUNT, help="Volume.")
@click.option("--responses-per-day", type=COUNT, help="Volume in responses.")
@click.option("--tokens-per-response", type=COUNT, default=300.0, help="Default: 300.")
@click.option("--api-price-per-token", type=MONEY, help="Of the same token, bought.")
@click.option("--people-per-month", type=MONEY, default=0.0, help="US dollars a month.")
@click.option("--horizon-months", type=click.IntRange(1, 600), help="Add costs up over these.")
@click.option("--growth-per-month", type=SHARE, default=0.0, help="Of the volume: 5%.")
@click.option(
    "--quantisation", type=click.Choice(["16", "8", "4"]), default="16", help="Bits of a weight."
)
@click.option(
    "--batch", type=click.IntRange(1), default=1, help="Sequences decoded together (default: 1)."
)
@click.option("--utilisation", type=SHARE, default=1.0, help="Part of paid hours that work.")
@json_option
def ownership(
    train_cost: float,
    cost_per_token: float | None,
    params: float | None,
    gpu: str | None,
    usd_per_hour: float | None,
    output_share: float | None,
    margin: float,
    tokens_per_day: float | None,
    responses_per_day: float | None,
    tokens_per_response: float,
    api_price_per_token: float | None,
    people_per_month: float,
    horizon_months: int | None,
    growth_per_month: float,
    quantisation: str,
    batch: int,
    utilisation: float,
    as_json: bool,
) -> None:
    """Total cost of owning a model, and the volumes at which it pays.

    The cost of a token is given (--cost-per-token, at 16 bits and one sequence at a time, or
    whatever it was measured at), or follows from --params on a chip. Fewer bits and larger batches
    then make it cheaper until the chip's arithmetic is the limit.
    """
    from dataclasses import asdict

    from groundup.decide.ownership import decoding_factor, served_usd_per_token
    from groundup.decide.ownership import ownership as compute
    from groundup.errors import InputError
    from groundup.plan.hardware import find_chip
    from groundup.tables import print_json, print_tables

    if (cost_per_token is None) == (params is None):
        raise InputError(
            "the cost of a token is given twice" if params else "nothing says what a token costs",
            where="--cost-per-token, --params",
            fix="give one: --cost-per-token 8e-6, or --params 7B to compute it for a chip",
        )
    if params is not None and margin:
        raise InputError(
            "a margin is part of a price, and --params gives a cost",
            where="--margin",
            fix="leave --margin out",
        )
    bits, factor, notes = int(quantisation), 1.0, []
    chip = find_chip(gpu or DEFAULT_CHIP)
    is_scaled = bits != 16 or batch != 1
    if params is None:
        _refuse_unused(
            {
                "--usd-per-hour": usd_per_hour is not None,
                "--output-share": output_share is not None,
                "--gpu": gpu is not None and not is_scaled,
            }
        )
    if params is not None:
        hourly = usd_per_hour
        if hourly is None:
            hourly = chip.low_usd_per_hour or chip.usd_per_hour
        if hourly is None:
            raise InputError(
                f"no price of {chip.id} is known", where="--usd-per-hour", fix="give one"
            )
        cost_per_token = served_usd_per_token(
            params,
            chip,
            hourly,
            output_share=1.0 if output_share is None else output_share,
            bits=bits,
            batch=batch,
        )
        notes.append(
            f"a token costs ${cost_per_token:.3g} on {chip.id} at ${hourly:g} an hour, "
            f"{bits} bits, {batch} together (roofline, without KV cache)"
        )
    elif is_scaled:
        factor = decoding_factor(chip, bits=bits, batch=batch)
        notes.append(
            f"{bits} bits and {batch} sequences together: × {factor:.3g} on {chip.id}, the given "
            "cost taken as of 16 bits and one sequence"
        )
    assert cost_per_token is not None  # one of the two was given
    result = compute(
        train_cost,
        cost_per_token,
        margin=margin,
        tokens_per_day=tokens_per_day,
        responses_per_day=responses_per_day,
        tokens_per_response=tokens_per_response,
        api_usd_per_token=api_price_per_token,
        people_usd_per_month=people_per_month,
        horizon_months=horizon_months,
        growth_per_month=growth_per_month,
        utilisation=utilisation,
        token_factor=factor,
    )
    notes += result.notes
    if as_json:
        print_json({**asdict(result), "notes": notes})
    else:
        print_tables(_ownership_tables(result, notes))


def _refuse_unused(given: dict[str, bool]) -> None:
    """Refuse options that say how a model is served where its cost a token is given already.

    Raises:
        InputError: naming them.
    """
    from groundup.errors import InputError

    unused = [name for name, is_given in given.items() if is_given]
    if unused:
        raise InputError(
            "the cost of a token is given, so this would change nothing",
            where=", ".join(unused),
            fix="leave it out, or give --params in place of --cost-per-token",
        )


def _slide_record(row: SlideRow) -> dict[str, Any]:
    from dataclasses import asdict

    record = asdict(row)
    bill = record.pop("bill")
    return {**record, **bill, "total_usd": row.bill.total_usd}


def _slide_tables(table: list[SlideRow], read: float, written: float, trained: float) -> Table:
    from groundup.tables import Table
    from groundup.units import format_count

    return Table(
        f"{format_count(read)} tokens read, {format_count(written)} written, "
        f"{format_count(trained)} tuned on; US dollars",
        ["model", "input", "output", "tuning", "total", "slides", "note"],
        [
            [
                row.model,
                *(f"{part:,.0f}" for part in (row.bill.input_usd, row.bill.output_usd)),
                "–" if row.usd_per_million_training is None else f"{row.bill.training_usd:,.0f}",
                f"{row.bill.total_usd:,.0f}",
                "–" if row.slide_total_usd is None else f"{row.slide_total_usd:,.0f}",
                row.note,
            ]
            for row in table
        ],
    )


def _book_table(book: list[Price], totals: dict[str, Any]) -> Table:
    from groundup.tables import Table

    return Table(
        "Price book: US dollars per million tokens, and the same volume at list price",
        ["model", "provider", "input", "output", "tuning", "since", "total", "source"],
        [
            [
                price.id,
                price.provider,
                f"{price.input_usd * 1e6:g}",
                f"{price.output_usd * 1e6:g}",
                "–" if price.training_usd is None else f"{price.training_usd * 1e6:g}",
                str(price.effective or "–"),
                f"{totals[price.id].total_usd:,.0f}",
                price.source,
            ]
            for price in book
        ],
    )


def _cs2_table(runs: list[Any]) -> Table:
    from groundup.tables import Table
    from groundup.units import format_count

    return Table(
        "Training on Cerebras CS-2 machines, as the slides print it, and what each row implies",
        [
            "model", "tokens", "machines", "days", "US dollars", "tokens/param", "PFLOP/s each",
            "days ×", "price ×", "verdict", "note",
        ],
        [
            [
                run.model,
                format_count(run.tokens),
                run.n_cs2,
                f"{run.days:g}",
                f"{run.price_usd:,.0f}",
                f"{run.tokens_per_parameter:.1f}",
                f"{run.pflops_per_cs2:.2f}",
                "–" if run.days_jump is None else f"{run.days_jump:.2f}",
                "–" if run.price_jump is None else f"{run.price_jump:.2f}",
                run.verdict,
                run.note,
            ]
            for run in runs
        ],
    )  # fmt: skip


def _ownership_tables(result: Ownership, notes: list[str]) -> list[Table]:
    from groundup.tables import Table
    from groundup.units import format_count, format_money

    def count(value: float | None) -> str:
        return "–" if value is None else format_count(value)

    def days(value: float | None) -> str:
        return "–" if value is None else f"{value:,.4g}"

    rows: list[list[str]] = [
        ["training", format_money(result.train_usd)],
        ["one token, served", f"${result.usd_per_token:.4g}"],
        ["tokens until use has cost as much as training", count(result.break_even_tokens)],
        [f"responses of {result.tokens_per_response:g}", count(result.break_even_responses)],
        ["days until then", days(result.break_even_days)],
    ]
    if result.api_usd_per_token is not None:
        never = "never" if result.api_break_even_tokens is None else None
        rows += [
            ["one token, bought", f"${result.api_usd_per_token:.4g}"],
            ["tokens until owning has paid", never or count(result.api_break_even_tokens)],
            ["days until then, people included", never or days(result.api_break_even_days)],
        ]
    tables = [Table("Owning a model", ["what", "value"], rows)]
    if over := result.horizon:
        lines = [
            ["tokens", count(over.tokens)],
            ["training", format_money(over.training_usd)],
            ["inference", format_money(over.inference_usd)],
            ["people", format_money(over.people_usd)],
            ["owning, total", format_money(over.total_usd)],
            ["buying, total", "–" if over.api_usd is None else format_money(over.api_usd)],
        ]
        tables.append(Table(f"Over {over.months} months", ["what", "value"], lines))
    if notes:
        tables.append(Table("Notes", ["note"], [[note] for note in notes]))
    return tables
