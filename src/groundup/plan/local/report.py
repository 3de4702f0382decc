"""The plan as tables, for the terminal and for the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from groundup.plan.local.found import found_table
from groundup.units import (
    format_bytes,
    format_count,
    format_duration,
    format_flops,
    format_money,
)

Table = tuple[str, list[str], list[list[str]]]  # title, columns, rows

QUANTITIES: dict[str, tuple[str, Callable[[float], str]]] = {
    "duration_seconds": ("duration", format_duration),
    "tokens_per_second": ("tokens per second", lambda value: f"{value:,.0f}"),
    "peak_memory_bytes": ("peak memory", format_bytes),
    "loss": ("loss, nats per token", lambda value: f"{value:.3f}"),
    "bits_per_byte": ("bits per byte", lambda value: f"{value:.3f}"),
    "cost_usd": ("cost of an equal cloud machine", format_money),
    "energy_kwh": ("energy (estimate)", lambda value: f"{value:.3g} kWh"),
}

CHECKED: dict[str, tuple[str, Callable[[float], str]]] = {
    "seconds_per_step": ("one step", lambda value: f"{1000 * value:,.1f} ms"),
    "peak_memory_bytes": ("peak memory", format_bytes),
}


def plan_tables(plan: Mapping[str, Any]) -> list[Table]:
    """Tables: choice and prediction, sizes considered, memory, what was found, if any, notes.

    Args:
        plan: `choose.Plan.to_dict`, or the same read back from the artifact.
    """
    found = [found_table(plan["found"], plan["choice"])] if "found" in plan else []
    return [_prediction(plan), _sizes(plan), _memory(plan), *found, _notes(plan)]


def _prediction(plan: Mapping[str, Any]) -> Table:
    choice = plan["choice"]
    title = (
        f"Plan: {choice['n_layers']} layers × {choice['d_model']} "
        f"({format_count(choice['parameters'])} parameters), {choice['steps']:,} steps, "
        f"{format_count(choice['tokens'])} tokens on {choice['device']} in {choice['precision']}, "
        "by one process"
    )
    rows = []
    for key, (name, show) in QUANTITIES.items():
        value, band = plan["predicted"][key], plan["band"].get(key)
        rows.append(
            [
                name,
                "unknown" if value is None else show(value),
                f"{show(band[0])} – {show(band[1])}" if band else "",
            ]
        )
    return title, ["quantity", "predicted", "band"], rows


def _sizes(plan: Mapping[str, Any]) -> Table:
    columns = ["size", "parameters", "step", "tokens", "epochs", "memory", "bits per byte", "why"]
    rows = [
        [
            f"{'→ ' if row['chosen'] else ''}{row['n_layers']} × {row['d_model']}",
            format_count(row["parameters"]),
            f"{1000 * row['seconds_per_step']:,.0f} ms{'' if row['step_measured'] else ' *'}",
            format_count(row["tokens"]),
            f"{row['epochs']:.2f}",
            format_bytes(row["peak_memory_bytes"]),
            f"{row['bits_per_byte']:.3f}",
            row["why"],
        ]
        for row in plan["candidates"]
    ]
    return "Sizes considered (* interpolated, not measured)", columns, rows


def _memory(plan: Mapping[str, Any]) -> Table:
    rows = [[part, format_bytes(size)] for part, size in plan["memory"].items()]
    total = format_bytes(plan["predicted"]["peak_memory_bytes"])
    return "Memory at the peak", ["part", "size"], [*rows, ["total", total]]


def _notes(plan: Mapping[str, Any]) -> Table:
    return "Notes", ["note"], [[note] for note in plan["notes"]]


def measured_tables(found: Mapping[str, Any]) -> list[Table]:
    """What was predicted of the planned model without measuring it, beside the measurement.

    Args:
        found: what `stages_measure.measure_plan` returns.
    """
    bandwidth = found["memory_bytes_per_second"]
    title = (
        f"Predicted beside measured: {found['n_layers']} layers × {found['d_model']} "
        f"({format_count(found['parameters'])} parameters) on {found['device_name']}, "
        f"{found['precision']}, {format_flops(found['matmul_flops_per_second'])}/s of matrix "
        f"products, {'unknown' if bandwidth is None else format_bytes(bandwidth)}/s of memory"
    )
    rows, notes = [], []
    for quantity, check in found["comparison"].items():
        name, show = CHECKED[quantity]
        planned = check["planned"]
        rows.append(
            [
                name,
                show(check["predicted"]),
                "" if planned is None else show(planned),
                show(check["measured"]),
                f"{check['error']:+.1%}",
            ]
        )
        notes.append([f"{name} is predicted from {check['basis']}"])
    columns = ["quantity", "predicted unmeasured", "in the plan", "measured", "predicted off by"]
    notes += [[note] for note in found["notes"]]
    return [(title, columns, rows), ("Notes on the measurement", ["note"], notes)]
