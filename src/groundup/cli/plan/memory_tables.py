"""The answer of ``groundup plan memory`` as tables for people."""

from __future__ import annotations

from typing import Any

from groundup.tables import Table
from groundup.units import format_bytes

WHAT = {
    "weights": "as the forward pass reads them",
    "gradients": "of all weights here",
    "optimizer": "fp32 masters and moments",
    "kv_cache": "keys and values of all sequences",
    "activations": "what blocks keep, or hold while they compute",
    "logits": "logits in fp32; in training what embedding, final norm and head keep",
    "buffers": "CUDA, NCCL; gathered layers, gradient buckets, a block computed again",
    "fragmentation": "margin: a tenth of the total",
    "total": "",
}


def tables(record: dict[str, Any], gpu: str | None) -> list[Table]:
    """Bytes by kind, what they belong to, and what there is to say."""
    kinds = [
        (kind.replace("kv_", "key/value "), format_bytes(record[kind]), what)
        for kind, what in WHAT.items()
        if kind in record
    ]
    found = [
        Table(f"bytes on the fullest device: {record['model']}", ["kind", "size", "what"], kinds),
        Table("of which", ["fact", "value"], _facts(record, gpu)),
    ]
    if "terms" in record:
        found.append(_terms(record["terms"]))
    if record["notes"]:
        found.append(Table("notes", ["note"], [(note,) for note in record["notes"]]))
    return found


def _facts(record: dict[str, Any], gpu: str | None) -> list[tuple[str, str]]:
    facts = [("tokens of a sequence", f"{record['context_length']:,}")]
    if "kv_cache" in record:
        facts += [
            ("cache of a token", format_bytes(record["kv_bytes_per_token"])),
            ("cache of a sequence", format_bytes(record["kv_bytes_per_sequence"])),
        ]
    else:
        facts += [
            ("chips", f"{record['n_chips']:,}"),
            ("fullest pipeline stage, from 0", f"{record['stage']}"),
            ("parameters on a device, unshared", f"{record['parameters']:,}"),
            ("bytes of state per parameter", f"{record['bytes_per_parameter']:.4g}"),
        ]
        if record["host"]:
            facts.append(("in the processor's memory", format_bytes(record["host"])))
    if record["capacity"] is not None:
        share = record["used"] / record["capacity"]
        facts += [
            (f"memory of {gpu}" if gpu else "memory", format_bytes(record["capacity"])),
            ("filled, margin left out", f"{share:.1%} of it; up to 90.0% is allowed"),
            ("fits", "yes" if record["fits"] else "no"),
        ]
    if record.get("most_sequences") is not None:
        facts.append(("sequences that fit", f"{record['most_sequences']:,}"))
    return facts


def _terms(terms: list[dict[str, Any]]) -> Table:
    rows = [
        (
            term["name"],
            term["part"],
            term["bytes_per_token"],
            term["bytes_per_token_and_key"],
            "always" if term["split"] == "tensor" else "with sequence parallelism",
        )
        for term in terms
    ]
    columns = ["kept by one block", "of", "bytes per token", "and key", "split over tensor ranks"]
    return Table("terms, on one tensor rank before sequence parallelism", columns, rows)
