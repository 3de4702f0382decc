"""The whole plan for people: tables on a terminal, and ``plan.html`` beside ``plan.json``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from groundup.files import write_json
from groundup.plan.cost import Cost
from groundup.plan.laws import LOSS_LAW, WHY_DEFAULT, find_law
from groundup.plan.whole import Estimate
from groundup.tables import Table
from groundup.units import format_bytes, format_count, format_duration, format_money

RECORD, PAGE = "plan.json", "plan.html"


def estimate_tables(plan: Estimate) -> list[Table]:
    """Summary, laws, layout, money and notes."""
    return [
        Table(_title(plan), ["quantity", "predicted", "band"], list(_summary(plan))),
        _laws(plan),
        _layouts(plan),
        _memory(plan),
        *([_money(plan)] if plan.schemes else []),
        Table("Notes", ["note"], [[note] for note in _notes(plan)]),
    ]


def format_step(seconds: float) -> str:
    """``0.00491`` → ``4.91 ms``; from a minute on as other durations."""
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 59.95 else format_duration(seconds)


def write_estimate(plan: Estimate, folder: Path) -> Path:
    """Write the record and the page into ``folder``; the page's path is returned.

    Raises:
        StorageError: the folder cannot be written.
    """
    from groundup.plan.page import write_page
    from groundup.plan.whole_page import sections

    write_json(folder / RECORD, as_record(plan))
    return write_page(folder / PAGE, _title(plan), sections(plan, estimate_tables(plan)))


def _title(plan: Estimate) -> str:
    name = plan.wish.model_name or f"{plan.config.n_layers} layers of {plan.config.d_model}"
    return (
        f"Plan: {name} ({format_count(plan.params)} parameters) on {format_count(plan.tokens)} "
        f"tokens, {plan.wish.n_chips} x {plan.wish.chip.id}"
    )


def _summary(plan: Estimate) -> Iterator[list[str]]:
    took, band, predicted = plan.time, plan.band, plan.predicted
    low, high = band["duration_seconds"]
    yield ["training FLOPs (6ND)", f"{plan.flops:.3g}", ""]
    used = "" if plan.active_params == plan.params else "of those that a token uses"
    yield ["tokens per parameter", f"{plan.tokens / plan.active_params:.1f}", used]
    if plan.epochs is not None:
        yield ["passes over the text", f"{plan.epochs:.2f}", ""]
    yield [
        "time by the clock",
        format_duration(took.wall_days * 86400),
        f"{format_duration(low)} – {format_duration(high)}",
    ]
    yield ["of this computing", format_duration(took.days * 86400), f"goodput {took.goodput:.0%}"]
    yield ["tokens per second", f"{took.tokens_per_second:,.0f}", ""]
    yield ["MFU, HFU", f"{took.mfu:.1%}, {took.hfu:.1%}", took.efficiency_source]
    yield ["chip-hours paid", format_count(took.wall_chip_hours),
           f"{format_count(took.chip_hours)} of computing"]  # fmt: skip
    loss = predicted["loss"]
    if loss is not None:
        edges = band["loss"]
        yield [f"loss, nats per token ({LOSS_LAW})", f"{loss:.3f}",
               f"{edges[0]:.3f} – {edges[1]:.3f} over the laws"]  # fmt: skip
    memory = predicted["peak_memory_bytes"] or 0
    device = plan.wish.chip.memory_bytes or 0
    yield ["memory of the fullest device", format_bytes(memory), f"of {format_bytes(device)}"]
    if plan.cost is not None:
        edges = band["cost_usd"]
        yield [f"money ({plan.cost.scheme})", format_money(plan.cost.total_usd),
               f"{format_money(edges[0])} – {format_money(edges[1])}"]  # fmt: skip
    else:
        yield ["money", "no price is known", "give --usd-per-hour"]
    if plan.footprint is not None:
        yield ["energy", f"{_round(plan.footprint.energy_kwh)} kWh", "at full power"]
        yield ["CO2e", f"{_round(plan.footprint.co2e_kg)} kg", plan.region]
    failures = took.failures
    yield ["failures expected", f"{failures.expected:.1f}",
           f"{failures.low:.1f} – {failures.high:.1f}; a checkpoint every "
           f"{format_duration(failures.checkpoint_interval_seconds)}"]  # fmt: skip


def _round(value: float) -> str:
    """Whole from a hundred on, else three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _laws(plan: Estimate) -> Table:
    rows = [
        [
            f"{'→ ' if point.law == plan.wish.law else ''}{point.law}",
            format_count(point.params),
            format_count(point.tokens),
            f"{point.tokens / point.params:.1f}",
            plan.losses.get(point.law),
        ]
        for point in plan.frontier
    ]
    columns = ["law", "parameters", "tokens", "tokens per parameter", "loss of this plan"]
    return Table(f"The same {plan.flops:.3g} FLOPs by every law", columns, rows)


def _layouts(plan: Estimate) -> Table:
    columns = ["layout", "ZeRO", "micro-batch", "recompute", "step", "MFU", "memory"]
    rows = [
        [
            f"dp {one.dp} tp {one.tp} pp {one.pp} cp {one.cp}"
            + (f" v {one.virtual_stages}" if one.virtual_stages > 1 else ""),
            one.zero,
            one.micro_batch_size,
            one.recompute,
            format_step(one.step_seconds),
            f"{one.mfu:.1%}",
            f"{one.memory_fraction:.0%}",
        ]
        for one in plan.layouts.ranked[:5]
    ]
    return Table(f"Fastest layouts of {plan.layouts.considered:,} considered", columns, rows)


def _memory(plan: Estimate) -> Table:
    parts = plan.layouts.ranked[0].memory_bytes
    rows = [[kind, format_bytes(size)] for kind, size in parts.items()]
    total = ["total", format_bytes(sum(parts.values()))]
    return Table("Memory of the fullest device", ["part", "size"], [*rows, total])


def _money(plan: Estimate) -> Table:
    rows = [
        [
            one.scheme,
            format_money(one.usd_per_chip_hour),
            format_money(one.total_usd),
            format_money(one.usd_low),
            format_money(one.usd_high),
        ]
        for one in plan.schemes
    ]
    columns = ["scheme", "chip-hour", "total", "low", "high"]
    return Table(f"What {format_count(plan.time.wall_chip_hours)} chip-hours cost", columns, rows)


def _notes(plan: Estimate) -> Iterator[str]:
    yield from (f"warning: {text}" for text in plan.warnings)
    yield from plan.notes
    yield plan.layouts.explanation
    law = find_law(plan.wish.law)
    if law.id == "chinchilla-1":
        yield WHY_DEFAULT
    elif law.note:
        yield law.note


def as_record(plan: Estimate) -> dict[str, Any]:
    """For JSON."""
    record: dict[str, Any] = {
        "model": {"name": plan.wish.model_name or None, **plan.config.to_dict()},
        "params": plan.params,
        "active_params": plan.active_params,
        "tokens": plan.tokens,
        "epochs": plan.epochs,
        "flops": plan.flops,
        "law": plan.wish.law,
        "frontier": [asdict(point) for point in plan.frontier],
        "losses": dict(plan.losses),
        "chip": plan.wish.chip.id,
        "n_chips": plan.wish.n_chips,
        "global_batch_size": plan.global_batch_size,
        "layout": asdict(plan.layouts.ranked[0]),
        "layouts": [asdict(one) for one in plan.layouts.ranked],
        "layout_explanation": plan.layouts.explanation,
        "time": asdict(plan.time),
        "cost": _bill_record(plan.cost),
        "schemes": [_bill_record(one) for one in plan.schemes],
        "region": plan.region,
        "predicted": dict(plan.predicted),
        "band": {name: list(edges) for name, edges in plan.band.items()},
        "notes": list(plan.notes),
        "warnings": list(plan.warnings),
    }
    return record


def _bill_record(bill: Cost | None) -> dict[str, Any] | None:
    if bill is None:
        return None
    totals = {"usd": bill.total_usd, "usd_low": bill.usd_low, "usd_high": bill.usd_high}
    return {**asdict(bill), **totals}
