"""What stands in the lower sections of the page, as plain values; the template only lays it out.

One function a section, in the order of the page. A section whose source is absent is empty.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from groundup.data.report_tables import corpus_tables
from groundup.plan.local.report import plan_tables
from groundup.report.done import STAGES
from groundup.report.happened import happened_table
from groundup.report.plots import loss_chart, small_charts
from groundup.report.sources import Sources
from groundup.tables import Table
from groundup.units import format_bytes, format_count, format_flops

MOST_SAMPLES = 8


def training(sources: Sources) -> dict[str, Any] | None:
    """The charts of the run; None before its first logged step."""
    if not sources.metrics or "loss" not in sources.metrics[0]:
        return None
    return {
        "loss": Markup(loss_chart(sources)),
        "charts": [Markup(chart) for chart in small_charts(sources)],
        "happened": happened_table(sources),
    }


def samples(sources: Sources) -> list[dict[str, Any]]:
    """Texts written during training, evenly chosen, the first and the last among them."""
    events = [event for event in sources.happened("sample") if event.get("text")]
    return [
        {
            "step": event["step"],
            "tokens": format_count(sources.tokens_at(event["step"])),
            "text": event["text"],
        }
        for event in _evenly(events, MOST_SAMPLES)
    ]


def data_tables(sources: Sources) -> list[Table]:
    """In, out, why dropped, with examples."""
    return _tables(corpus_tables(sources.data)) if sources.data else []


def tokenizer_rows(sources: Sources) -> Table | None:
    """The tokens of each split, and how many bytes one stands for."""
    if not sources.tokens:
        return None
    rows = [
        [
            split,
            size["n_documents"],
            size["n_bytes"],
            size["n_tokens"],
            round(size["n_bytes"] / size["n_tokens"], 3) if size["n_tokens"] else None,
        ]
        for split, size in sources.tokens["splits"].items()
    ]
    vocabulary = sources.tokens["vocab_size"]
    return Table(
        f"Byte-level BPE, {vocabulary:,} tokens",
        ["split", "documents", "bytes", "tokens", "bytes per token"],
        rows,
    )


def plan_section(sources: Sources) -> list[Table]:
    """The sizes considered and why this one."""
    return _tables(plan_tables(sources.plan)) if sources.plan else []


def environment(sources: Sources) -> list[tuple[str, str]]:
    """What the run ran on."""
    found = dict(_flat(sources.run.get("environment") or {}))
    machine = sources.machine
    for key, name in (
        ("device_name", "device"),
        ("n_threads", "threads"),
        ("precision", "precision"),
        ("attention", "attention"),
    ):
        if machine.get(key) is not None:
            found[name] = str(machine[key])
    if machine.get("matmul_flops_per_second"):
        found["matrix products"] = f"{format_flops(machine['matmul_flops_per_second'])}/s, measured"
    if machine.get("memory_bytes"):
        found["memory"] = format_bytes(machine["memory_bytes"])
    return list(found.items())


def resolved(sources: Sources) -> list[tuple[str, str]]:
    """The resolved config of each stage, as JSON."""
    configs = {
        name: artifact.manifest.get("config") for name, artifact in sources.artifacts.items()
    }
    if sources.run.get("config"):
        configs["pretrain"] = sources.run["config"]
    return [
        (name, json.dumps(configs[name], indent=2, ensure_ascii=False))
        for name in STAGES
        if configs.get(name)
    ]


# What the plan chose → the key under which the project file can say it.
PINS = {
    "n_layers": "model.n_layers",
    "d_model": "model.d_model",
    "steps": "pretrain.steps",
    "device": "pretrain.device",
    "precision": "pretrain.precision",
    "attention": "pretrain.attention",
    "n_threads": "pretrain.n_threads",
}


def exact_command(sources: Sources) -> str | None:
    """The command that trains the same again: what clock and probes chose is written out."""
    choice = sources.choice
    pins = [shlex.quote(f"{key}={choice[name]}") for name, key in PINS.items() if name in choice]
    return " ".join(["groundup run .", *pins]) if pins else None


def _tables(tables: Iterable[tuple[str, Sequence[str], Sequence[Sequence[Any]]]]) -> list[Table]:
    return [Table(*table) for table in tables]  # packages below us give tables as plain tuples


def _evenly(items: Sequence[Any], most: int) -> list[Any]:
    """At most ``most`` of ``items``, evenly spaced, both ends among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _flat(record: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield key, str(value)
