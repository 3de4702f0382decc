"""``groundup plan heatmap`` and ``landscape``: a plan among the models that are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from groundup.cli.options import COUNT, FLOPS, MONEY, SHARE, json_option
from groundup.cli.plan.quantities import DAY, notes_table, price_json

if TYPE_CHECKING:
    from groundup.plan.landscape import Entry
    from groundup.plan.prices import Price
    from groundup.plan.undertraining import Place
    from groundup.tables import Table

sources_option = click.option("--sources", is_flag=True, help="Say where each figure is from.")
output_option = click.option("--output", metavar="DIR", help="Write the page with the charts here.")


@click.command()
@click.option("--params", type=COUNT, help="Parameters of your model.")
@click.option("--tokens", type=COUNT, help="Its training tokens.")
@click.option("--name", default="your model", help="What to call it.")
@click.option("--law", help="Law of the optimum (default: chinchilla-1).")
@sources_option
@output_option
@json_option
def heatmap(
    params: float | None,
    tokens: float | None,
    name: str,
    law: str | None,
    sources: bool,
    output: str | None,
    as_json: bool,
) -> None:
    """The map of under- and over-training, with the known models on it.

    Each model beside what is optimal for its size and for its compute. --params and --tokens put
    yours among them.
    """
    from groundup.errors import InputError
    from groundup.plan.laws import DEFAULT_LAW, LOSS_LAW
    from groundup.plan.milestones import milestones
    from groundup.plan.undertraining import place, places
    from groundup.tables import print_json, print_tables

    law = law or DEFAULT_LAW
    found = places(milestones(), law)
    if (params is None) != (tokens is None):
        raise InputError(
            "your model's place needs both its size and its text",
            where="params" if params is None else "tokens",
            fix="give --params and --tokens",
        )
    if params is not None and tokens is not None:
        found.append(place(name, params, tokens, law, ours=True))
        found.sort(key=lambda one: one.factor)
    notes = [
        f"the optimum is that of {law}; losses, and the compute beyond what the same loss needs, "
        f"are those of {LOSS_LAW}",
        "the laws speak of training compute alone: who uses a model much, trains a smaller one "
        "longer (groundup plan inference-optimal)",
        "mixtures of experts, encoders and models of unknown text are not on the map",
        *_said_of_guesses(any(one.speculative for one in found)),
    ]
    page = None
    if output is not None:
        page = _heatmap_page(found, law, notes, output)
    if as_json:
        from dataclasses import asdict

        print_json(
            {"law": law, "models": [asdict(one) for one in found], "page": page, "notes": notes}
        )
        return
    tables = [_places_table(found, law), *([_map_sources(found)] if sources else [])]
    print_tables([*tables, notes_table(_with_page(notes, page, sources))])


@click.command()
@click.option("--price-on", metavar="CHIP", help="Reprice every run on this chip …")
@click.option("--date", "day", type=DAY, help="… at the prices of this day (default: newest).")
@click.option(
    "--mfu", type=SHARE, help="MFU there (default: the run's own hours or MFU, else 40%)."
)
@click.option("--model", "names", multiple=True, help="Only this model (repeat for more).")
@click.option("--params", type=COUNT, help="Parameters of your plan.")
@click.option("--tokens", type=COUNT, help="Its training tokens.")
@click.option("--flops", type=FLOPS, help="Its training FLOPs, instead of the two.")
@click.option("--usd", type=MONEY, help="Its cost.")
@click.option("--name", default="your plan", help="What to call it.")
@sources_option
@output_option
@json_option
def landscape(
    price_on: str | None,
    day: Any,
    mfu: float | None,
    names: tuple[str, ...],
    params: float | None,
    tokens: float | None,
    flops: float | None,
    usd: float | None,
    name: str,
    sources: bool,
    output: str | None,
    as_json: bool,
) -> None:
    """Training compute and cost of milestone models, with your plan among them.

    --price-on CHIP says what each run would cost on that chip at the prices of --date: its own
    chip-hours, scaled by the peaks where it ran elsewhere, else its FLOPs at its MFU and the usual
    goodput.
    """
    from datetime import date

    from groundup.errors import InputError
    from groundup.plan.landscape import landscape as draw
    from groundup.plan.landscape import own_plan
    from groundup.plan.milestones import find_milestones, milestones
    from groundup.plan.prices import age_warning, match_priced
    from groundup.tables import print_json, print_tables

    today = date.today()
    if price_on is None and (day is not None or mfu is not None):
        raise InputError(
            "--date and --mfu are of a repricing",
            where="date" if day else "mfu",
            fix="name the chip: --price-on CHIP",
        )
    plan = None
    if any(value is not None for value in (params, tokens, flops, usd)):
        plan = own_plan(name, today, parameters=params, tokens=tokens, flops=flops, cost_usd=usd)
    models = find_milestones(names) if names else milestones()
    entries, price = draw(models, plan=plan, price_on_chip=price_on, day=day, mfu=mfu)
    notes = [
        "costs are of the training run alone: no staff, no failed runs, no research before it",
        "estimates are those of Epoch AI at cloud prices of the time, in dollars of 2023",
        *_said_of_guesses(any(one.model and one.model.speculative for one in entries)),
    ]
    if price is not None:
        taken_as = match_priced(price_on or "").note
        notes += [*([taken_as] if taken_as else []), *price.notes]
        warning = age_warning(price, day or today)
        if warning and warning not in notes:
            notes.append(warning)
        notes.append(
            f"{price.chip}: list ${price.usd_list:.4g} an hour ({price.list_source}), low "
            f"${price.usd_low:.4g} ({price.low_source})"
        )
    page = _landscape_page(entries, price, notes, output) if output is not None else None
    if as_json:
        print_json(_landscape_json(entries, price, page, notes))
        return
    tables = [_entries_table(entries, price), *([_sources_table(entries)] if sources else [])]
    print_tables([*tables, notes_table(_with_page(notes, page, sources))])


def _places_table(found: Sequence[Place], law: str) -> Table:
    from groundup.tables import Table
    from groundup.units import format_count

    return Table(
        f"Known models against the optimum by {law}, the most under-trained first",
        [
            "model",
            "parameters",
            "tokens",
            "per parameter",
            "optimal for its size",
            "factor",
            "by besiroglu",
            "optimal size for its compute",
            "compute beyond need",
            "verdict",
        ],
        [
            [
                ("→ " if one.ours else "") + one.name,
                *_marked(
                    one.speculative,
                    format_count(one.parameters),
                    format_count(one.tokens),
                    f"{one.tokens_per_parameter:,.1f}",
                    format_count(one.optimal_tokens),
                    f"{one.factor:.2f}",
                    f"{one.factor_by_law['besiroglu']:.2f}",
                    format_count(one.optimal_parameters_at_compute),
                    f"{one.excess_compute:.2f} ×",
                ),
                one.verdict,
            ]
            for one in found
        ],
    )


def _entries_table(entries: Sequence[Entry], price: Price | None) -> Table:
    from groundup.tables import Table
    from groundup.units import format_count, format_money

    columns = ["model", "published", "parameters", "tokens", "FLOPs", "chip", "chip-hours"]
    columns += ["cost", "known how"]
    if price is not None:
        columns += [f"on {price.chip}: chip-hours", "list price", "low price", "how"]
    rows = []
    for entry in entries:
        model = entry.model
        guessed = model is not None and model.speculative
        sizes = _marked(
            guessed,
            format_count(entry.parameters) if entry.parameters else "",
            format_count(entry.tokens) if entry.tokens else "",
            f"{entry.flops:.3g}",
        )
        row = [
            ("→ " if entry.ours else "") + entry.name,
            "" if entry.ours else entry.day.isoformat(),
            *sizes,
            *_marked(guessed, model.chip if model else ""),
            *_marked(guessed, format_count(model.chip_hours) if model and model.chip_hours else ""),
            *_marked(guessed, format_money(entry.cost_usd) if entry.cost_usd else ""),
            entry.cost_kind,
        ]
        if entry.repriced:
            again = entry.repriced
            row += _marked(
                guessed,
                format_count(again.chip_hours),
                format_money(again.usd_list),
                format_money(again.usd_low),
            )
            row.append(again.how)
        rows.append(row)
    return Table("Milestone models, oldest first", columns, rows)


def _marked(guessed: bool, *cells: str) -> list[str]:
    """The cells, with ~ before what nobody who knows has published."""
    return ["~" * guessed * bool(cell) + cell for cell in cells]


def _said_of_guesses(any_: bool) -> list[str]:
    said = "~: nothing was published of this model; the figures are guesses of others"
    return [said] if any_ else []


def _map_sources(found: Sequence[Place]) -> Table:
    from groundup.tables import Table

    rows = [[one.name, one.source, one.note] for one in found if not one.ours]
    return Table("Where the figures are from", ["model", "size and text", "note"], rows)


def _sources_table(entries: Sequence[Entry]) -> Table:
    from groundup.tables import Table

    return Table(
        "Where the figures are from",
        ["model", "size, text, compute, chips", "cost", "note"],
        [
            [entry.name, entry.model.source, entry.model.cost_source, entry.model.note]
            for entry in entries
            if entry.model
        ],
    )


def _with_page(notes: Sequence[str], page: str | None, sources: bool) -> list[str]:
    where = [] if sources else ["where each figure is from: --sources, or --json"]
    return [*notes, *where, *([f"charts: {page}"] if page else [])]


def _heatmap_page(found: Sequence[Place], law: str, notes: Sequence[str], output: str) -> str:
    from pathlib import Path

    from groundup.plan.page import Section, write_page
    from groundup.plan.plots import map_chart
    from groundup.plan.undertraining import field, frontier_line

    sizes, texts = [one.parameters for one in found], [one.tokens for one in found]
    wide = (min(1e9, *sizes) / 2, max(1e12, *sizes) * 2)
    tall = (min(5e10, *texts) / 2, max(3e13, *texts) * 2)
    chart = map_chart(found, field(wide, tall, law), frontier_line(law, wide), law)
    said = (
        "Above the green line a model has seen more text than its size asks for, below it less. "
        "Dotted lines join models of equal loss: the least compute for that loss lies near where "
        "the two cross."
    )
    page = write_page(
        Path(output) / "heatmap.html",
        "Under- and over-training",
        [
            Section("The map", [said], [chart], notes=notes),
            Section("The models", tables=[_places_table(found, law)]),
            Section("Sources", tables=[_map_sources(found)]),
        ],
    )
    return str(page)


def _landscape_page(
    entries: Sequence[Entry], price: Price | None, notes: Sequence[str], output: str
) -> str:
    from pathlib import Path

    from groundup.plan.page import Section, write_page
    from groundup.plan.plots import compute_chart, cost_chart

    page = write_page(
        Path(output) / "landscape.html",
        "The landscape of trained models",
        [
            Section("Compute", charts=[compute_chart(entries)]),
            Section("Cost", charts=[cost_chart(entries)], notes=notes),
            Section("The models", tables=[_entries_table(entries, price)]),
            Section("Sources", tables=[_sources_table(entries)]),
        ],
    )
    return str(page)


def _landscape_json(
    entries: Sequence[Entry], price: Price | None, page: str | None, notes: Sequence[str]
) -> dict[str, Any]:
    from dataclasses import asdict

    models = []
    for entry in entries:
        row = asdict(entry)
        model = row.pop("model") or {}
        row["date"] = row.pop("day").isoformat()
        row["yours"] = entry.ours
        for name in ("id", "chip", "n_chips", "chip_hours", "mfu", "cost_source", "source", "note"):
            row[name] = model.get(name) or None
        row["speculative"] = model.get("speculative", False)
        if entry.repriced:
            row["repriced"]["date"] = row["repriced"].pop("day").isoformat()
        models.append(row)
    return {"models": models, "price": price_json(price), "page": page, "notes": list(notes)}
