"""The top of the page: one sentence, a handful of figures, and what each stage did.

It is written for somebody who sees a report for the first time: what was trained, on what, how good
it is, how long it took and how far off the plan was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from groundup.data.config import STANDARD_LIBRARY
from groundup.evaluate.tables import OURS, name_of
from groundup.report.compare import compare
from groundup.report.evaluation import bits_of, rates_of
from groundup.report.happened import counts
from groundup.report.sources import Sources
from groundup.units import format_bytes, format_count, format_duration, format_flops

STAGES = ("data", "tokenizer", "tokens", "machine", "plan", "pretrain", "evaluate", "export")
# What each stage leaves for the page, for the line that says what is missing.
MEANINGS = {
    "data": "what came in and what was dropped",
    "tokenizer": "the tokenizer",
    "tokens": "the token counts",
    "machine": "what the machine can do",
    "plan": "the choice of size and its prediction",
    "pretrain": "the training run",
    "evaluate": "the figures on held-out text",
    "export": "the model for other programs",
}
# Each a fact of its own: speed, cost and energy are the duration again, the loss is bits per byte.
COUNTED = ("duration_seconds", "peak_memory_bytes", "bits_per_byte")
SPOKEN = {STANDARD_LIBRARY: "the Python standard library"}  # inputs with a name of their own
COMMANDS = {"tokens": "plan", "machine": "plan"}  # the others are called like their stage


def headline(sources: Sources) -> dict[str, Any]:
    """One sentence and up to five figures."""
    figures = [*_quality(sources), *_predictions(sources)]
    return {"sentence": _sentence(sources), "figures": figures}


def _sentence(sources: Sources) -> str:
    """What was trained, on what, where."""
    choice, tokens = sources.choice, sources.trained_tokens
    parts = ["A model"]
    if choice.get("n_layers"):
        size = format_count(choice.get("parameters", 0))
        parts.append(f"of {size} parameters ({choice['n_layers']} layers × {choice['d_model']})")
    if tokens:
        parts.append(f"trained from scratch on {format_count(tokens)} tokens")
        inputs = [
            SPOKEN.get(source["source"], str(source["source"]))
            for source in sources.data.get("sources", [])
        ]
        if inputs:
            parts.append(f"of {_series(inputs)}")
    processor = (sources.run.get("environment") or {}).get("processor")
    device = sources.machine.get("device_name") or processor
    if device:
        parts.append(f"on {device}")
    return " ".join(parts) + "."


def _quality(sources: Sources) -> list[dict[str, str]]:
    """How good the model is, each figure with the best of its yardsticks."""
    figures = []
    bits = dict(bits_of(sources))
    ours = bits.pop(OURS, None)
    if ours is not None:
        best = min(bits.items(), key=lambda item: item[1], default=None)
        note = f"best yardstick: {name_of(best[0])}, {best[1]:.3f}" if best else ""
        figures.append({"value": f"{ours:.3f}", "name": "bits per byte, held out", "note": note})
    rates = {kind: rate for kind, rate, _ in rates_of(sources)}
    rate = rates.pop(OURS, None)
    if rate is not None:
        note = ", ".join(f"{name_of(kind)} {share:.0%}" for kind, share in rates.items())
        own = sources.evaluate["completions"]["parse_rate"][OURS]
        sure = f"{own['interval'][0]:.0%} to {own['interval'][1]:.0%}, n = {own['n']}"
        note = f"{sure}, short functions; {note}" if note else f"{sure}, short functions"
        figures.append({"value": f"{rate:.0%}", "name": "completions that parse", "note": note})
    return figures


def _predictions(sources: Sources) -> list[dict[str, str]]:
    """Duration and loss with their errors, and how many of the `COUNTED` predictions held."""
    figures = []
    rows = {row.quantity: row for row in compare(sources.predicted, sources.measured, sources.band)}
    for key, name in (("duration_seconds", "pre-training"), ("loss", "validation loss")):
        row = rows.get(key)
        if row is not None and row.measured is not None:
            said = f"predicted {row.show(row.predicted)}: {row.words}"
            note = said if row.predicted is not None else row.words
            figures.append({"value": row.show(row.measured), "name": name, "note": note})
    judged = [rows[key] for key in COUNTED if key in rows and rows[key].grade != "none"]
    if judged:
        held = f"{sum(row.grade == 'good' for row in judged)} of {len(judged)}"
        off = [row.name.split(",")[0] for row in judged if row.grade != "good"]
        of = _series([row.name for row in judged])
        note = f"{of}; off: {_series(off)}" if off else of
        figures.append({"value": held, "name": "predictions held", "note": note})
    return figures


def missing(sources: Sources) -> list[tuple[str, str]]:
    """Stages without a result, and what the page lacks for it."""
    present = set(sources.artifacts) | ({"pretrain"} if sources.run else set())
    return [(name, MEANINGS[name]) for name in STAGES if name not in present]


def stage_rows(sources: Sources) -> list[dict[str, Any]]:
    """What was done: a line a stage, how long it took, its command and its result."""
    rows = []
    for name in STAGES:
        artifact = sources.artifacts.get(name)
        if name == "pretrain" and sources.run:
            record, place = sources.run, f"runs/{sources.run_name}"
            seconds = sources.measured.get("duration_seconds") or _seconds(record)
        elif artifact is not None:
            place = f"artifacts/{artifact.path.parent.name}/{artifact.path.name}"
            seconds = _seconds(artifact.manifest)
        else:
            continue
        rows.append(
            {
                "stage": name,
                "did": _did(name, sources),
                "took": _took(seconds),
                "command": f"groundup {COMMANDS.get(name, name)}",
                "place": place,
            }
        )
    return rows


def _took(seconds: float | None) -> str:
    """A duration known to the second."""
    if seconds is None:
        return ""
    return "under 1 s" if seconds < 1 else format_duration(seconds)


def _did(stage: str, sources: Sources) -> str:
    """One line on what a stage did."""
    data, plan, choice = sources.data, sources.plan, sources.choice
    match stage:
        case "data" if data:
            return (
                f"read {data['read']:,} and kept {data['kept']:,} documents "
                f"({format_bytes(data['bytes_out'])}) in {len(data['splits'])} splits"
            )
        case "tokenizer" if sources.tokenizer:
            size = sources.tokenizer.get("vocab_size", 0)
            return f"trained a byte-level BPE vocabulary of {size:,} tokens on the training split"
        case "tokens" if sources.tokens:
            train = sources.tokens["splits"]["train"]
            return f"packed {format_count(train['n_tokens'])} training tokens"
        case "machine" if sources.machine:
            rate = format_flops(sources.machine["matmul_flops_per_second"])
            n = len(sources.machine.get("steps", []))
            return (
                f"measured {rate}/s in {sources.machine['precision']} and steps of {n} model sizes"
            )
        case "plan" if choice:
            return (
                f"chose {choice['n_layers']} layers × {choice['d_model']} and "
                f"{choice['steps']:,} steps among {len(plan.get('candidates', []))} sizes"
            )
        case "pretrain":
            tokens = sources.trained_tokens
            trained = f"{sources.run.get('status', 'started')}: {format_count(tokens)} tokens"
            return ", ".join(filter(None, [trained, counts(sources)]))
        case "evaluate" if sources.evaluate:
            return "measured the model beside yardsticks on held-out text"
        case "export":
            return "wrote the model in the form that transformers opens"
    return ""


def _seconds(record: Mapping[str, Any]) -> float | None:
    """From ``started_at`` to ``finished_at``."""
    try:
        ends = [datetime.fromisoformat(record[key]) for key in ("started_at", "finished_at")]
    except (KeyError, TypeError, ValueError):
        return None
    seconds = (ends[1] - ends[0]).total_seconds()
    return seconds if seconds >= 0 else None  # the clock was set back meanwhile


def _series(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else ""
