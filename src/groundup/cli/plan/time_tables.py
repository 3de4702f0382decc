"""The tables of ``groundup plan time`` and ``groundup plan hardware``, for people."""

from __future__ import annotations

from typing import Any

from groundup.plan.hardware import Chip
from groundup.plan.like import AsRun
from groundup.plan.time import TrainingTime
from groundup.plan.whole_report import format_step
from groundup.tables import Table
from groundup.units import format_bytes, format_count, format_duration, format_money


def time_tables(found: TrainingTime, record: dict[str, Any], before: AsRun | None) -> list[Table]:
    """What `plan time` prints: the run, its failures, where its time goes, what to heed."""
    low, high = found.wall_days_range
    rows: list[tuple[str, str]] = [
        ("days of computing", _with_range(found.days, found.days_range)),
        (f"days by the clock, goodput {found.goodput:.0%}", _days(found.wall_days)),
        ("range of days by the clock", f"{_days(low)} to {_days(high)}"),
        ("chip-hours of computing", f"{found.chip_hours:,.0f}"),
        ("chip-hours by the clock", f"{found.wall_chip_hours:,.0f}"),
        ("tokens a second", format_count(found.tokens_per_second)),
        (f"MFU ({found.convention})", f"{found.mfu:.1%}"),
        ("HFU", f"{found.hfu:.1%}"),
        ("TFLOP/s a chip", f"{found.flops_per_second_per_chip / 1e12:.1f}"),
        ("efficiency", found.efficiency_source),
    ]
    if found.step_seconds is not None:
        rows.append(("a step", format_step(found.step_seconds)))
    if found.n_chips_used < found.n_chips:
        rows.append(("chips used", f"{found.n_chips_used:,} of {found.n_chips:,}"))
    if record["usd"] is not None:
        rate = f"${record['usd_per_chip_hour']:g} an hour ({record['price_source']})"
        rows.append(("money of computing, list price", f"{format_money(record['usd'])} at {rate}"))
        rows.append(("money by the clock, list price", format_money(record["wall_usd"])))
    if record["usd_low"] is not None and record["usd_low"] != record["usd"]:
        rate = f"${record['usd_low_per_chip_hour']:g} an hour"
        rows.append(
            ("money of computing, low price", f"{format_money(record['usd_low'])} at {rate}")
        )
        rows.append(("money by the clock, low price", format_money(record["wall_usd_low"])))
    tables = []
    if before is not None:
        tables.append(Table(f"{before.run} as it was run", ["what", "value"], _as_run_rows(before)))
    title = f"{format_count(record['tokens'])} tokens on {found.n_chips:,} {record['chip']}"
    tables.append(Table(title, ["what", "value"], rows))
    failures = found.failures
    tables.append(
        Table(
            "failures to expect",
            ["what", "value"],
            [
                (
                    "interruptions",
                    f"{failures.expected:.1f} ({failures.low:.1f} to {failures.high:.1f})",
                ),
                ("time between", format_duration(failures.mean_time_between_failures_seconds)),
                ("checkpoint", f"{failures.checkpoint_bytes / 1e9:,.0f} GB"),
                ("time to write it", format_duration(failures.checkpoint_seconds)),
                ("best interval", format_duration(failures.checkpoint_interval_seconds)),
                ("chip-hours lost", f"{failures.lost_chip_hours:,.0f}"),
                ("goodput by failures alone", f"{failures.goodput:.1%}"),
                ("rate", failures.source),
            ],
        )
    )
    if found.parts:
        parts = sorted(found.parts.items(), key=lambda part: -part[1])
        tables.append(
            Table(
                "where the time of a step goes",
                ["cause", "share"],
                [(name.replace("_", " "), f"{share:.1%}") for name, share in parts],
            )
        )
    return [*tables, *remarks(record["notes"], record["warnings"])]


def _as_run_rows(before: AsRun) -> list[tuple[str, str]]:
    def share(value: float | None) -> str:
        return "–" if value is None else f"{value:.1%}"

    return [
        ("chips", f"{before.n_chips:,} {before.chip}" if before.n_chips else before.chip),
        ("MFU", share(before.mfu)),
        ("HFU", share(before.hfu)),
        ("days of computing", "–" if before.days is None else _days(before.days)),
        ("days published", "–" if before.published_days is None else _days(before.published_days)),
        (
            "chip-hours published",
            "–" if before.published_chip_hours is None else f"{before.published_chip_hours:,.0f}",
        ),
        ("goodput (computing / chip-hours)", share(before.goodput)),
        ("goodput (computing / calendar)", share(before.calendar_goodput)),
        ("source", before.source),
        *([("note", before.note)] if before.note else []),
    ]


def chips_table(found: list[Chip]) -> Table:
    """One line for each chip."""
    columns = ["chip", "precision", "peak TFLOP/s", "matmul TFLOP/s", "memory GiB", "GB/s"]
    columns += ["link GB/s", "node", "network GB/s", "W", "$/h list", "$/h low", "price seen"]
    rows = []
    for chip in found:
        peak = chip.peak(chip.training_precision)
        measured = chip.measured_matmul_flops
        rows.append(
            (
                chip.id,
                chip.training_precision,
                peak / 1e12,
                None if measured is None else measured / 1e12,
                None if chip.memory_bytes is None else chip.memory_bytes / 2**30,
                None if chip.memory_bandwidth is None else chip.memory_bandwidth / 1e9,
                chip.link_bytes_per_second / 1e9,
                chip.node_size,
                chip.network_bytes_per_second / 1e9,
                chip.watts,
                chip.usd_per_hour,
                chip.low_usd_per_hour,
                "" if chip.price_date is None else f"{chip.price_date:%Y-%m}",
            )
        )
    return Table("chips (dense peaks; links one direction)", columns, rows)


def chip_rows(chip: Chip) -> list[tuple[str, str]]:
    """All that is known of one chip."""

    def money(value: float | None) -> str:
        return "none known" if value is None else f"${value:g} an hour"

    rows = [
        (f"peak {name}, dense", f"{peak / 1e12:g} TFLOP/s")
        for name, peak in chip.peak_flops.items()
    ]
    reached = chip.attainable(chip.training_precision) / 1e12
    seen = "" if chip.price_date is None else f", {chip.price_date:%Y-%m}"
    return [
        *rows,
        (
            f"matmuls reach in {chip.training_precision}",
            f"{reached:.1f} TFLOP/s ({chip.attainable_share:.1%})",
        ),
        ("memory", "not known" if chip.memory_bytes is None else format_bytes(chip.memory_bytes)),
        (
            "memory bandwidth",
            "not known"
            if chip.memory_bandwidth is None
            else f"{chip.memory_bandwidth / 1e9:g} GB/s",
        ),
        ("link, one direction", f"{chip.link_bytes_per_second / 1e9:g} GB/s"),
        ("chips that it joins", f"{chip.node_size:,}"),
        ("network", f"{chip.network_bytes_per_second / 1e9:g} GB/s"),
        ("power", "not known" if chip.watts is None else f"{chip.watts:g} W"),
        (
            "list price",
            f"{money(chip.usd_per_hour)} ({chip.price_source}{seen})"
            if chip.usd_per_hour
            else money(chip.usd_per_hour),
        ),
        ("low price", money(chip.low_usd_per_hour)),
        *([("to buy", f"${chip.buy_usd:,.0f}")] if chip.buy_usd else []),
        ("source", chip.source),
        *([("note", chip.note)] if chip.note else []),
        *(("assumed", text) for text in chip.assumed),
    ]


def remarks(notes: list[str], warnings: list[str]) -> list[Table]:
    """A table of warnings and notes, if there are any."""
    rows = [("warning", text) for text in warnings] + [("note", text) for text in notes]
    return [Table("notes", ["kind", "text"], rows)] if rows else []


def _days(value: float) -> str:
    return f"{value:,.1f}" if value >= 1 else f"{value:.3g}"


def _with_range(value: float, band: tuple[float, float]) -> str:
    if band[0] == band[1]:
        return _days(value)
    return f"{_days(value)} ({_days(band[0])} to {_days(band[1])})"
