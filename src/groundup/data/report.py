"""The report on a corpus: what came in, what each step removed and why, with examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from groundup.data.document import Row
from groundup.data.readers.folder import QUARANTINE_REASONS, Quarantined
from groundup.data.select import COPIES, RULES
from groundup.data.split import HELD_OUT, SPLITS

N_EXAMPLES = 5  # files named for each reason, copies named for each cluster
OVERLAP_WORDS = 16  # words that two texts share by copying, hardly by chance
N_CLUSTERS = 10  # the largest ones, where a deduplication gone wrong shows first


def corpus_report(rows: Sequence[Row], quarantined: Sequence[Quarantined]) -> dict[str, Any]:
    """The report as plain data: counts, bytes and names, the same for the same input."""
    kept = [row for row in rows if row.reason is None]
    return {
        "sources": _sources(rows, quarantined),
        "stages": _stages(rows, quarantined),
        "reasons": _reasons(rows, quarantined),
        "cleaning": dict(sorted(Counter(step for row in rows for step in row.cleaning).items())),
        "clusters": _clusters(rows),
        "overlap": {
            "words": OVERLAP_WORDS,
            "splits": {split: _overlap(kept, split) for split in HELD_OUT},
        },
        "splits": {split: _size(row for row in kept if row.split == split) for split in SPLITS},
        "documents": len(kept),
        "bytes": sum(row.n_bytes for row in kept),
    }


def _size(rows: Iterable[Row]) -> dict[str, int]:
    sizes = [row.n_bytes for row in rows]
    return {"documents": len(sizes), "bytes": sum(sizes)}


def _sources(rows: Sequence[Row], quarantined: Sequence[Quarantined]) -> list[dict[str, Any]]:
    """Files and bytes of each input, and how much of it is kept."""
    sources: dict[str, dict[str, Any]] = {}
    empty = {"files": 0, "bytes": 0, "kept_documents": 0, "kept_bytes": 0}
    files: list[Row | Quarantined] = [*rows, *quarantined]
    for file in files:
        source = sources.setdefault(file.source, {"source": file.source, **empty})
        source["files"] += 1
        source["bytes"] += file.raw_bytes if isinstance(file, Row) else file.n_bytes
        if isinstance(file, Row) and file.reason is None:
            source["kept_documents"] += 1
            source["kept_bytes"] += file.n_bytes
    return list(sources.values())


def _stages(rows: Sequence[Row], quarantined: Sequence[Quarantined]) -> list[dict[str, Any]]:
    """Documents and bytes in and out of each step, in the order of the steps."""
    raw_bytes = sum(row.raw_bytes for row in rows)
    n_files = len(rows) + len(quarantined)
    stages = [
        ("read", n_files, raw_bytes + sum(file.n_bytes for file in quarantined)),
        ("clean", len(rows), raw_bytes),
    ]
    left = list(rows)
    for stage, reasons in (
        ("rules", set(RULES)),
        ("exact copies", {"exact_copy"}),
        ("near copies", {"near_copy", "near_copy_of_held_out"}),
    ):
        stages.append((stage, len(left), sum(row.n_bytes for row in left)))
        left = [row for row in left if row.reason not in reasons]
    ends = [*stages[1:], ("kept", len(left), sum(row.n_bytes for row in left))]
    return [
        {
            "stage": stage,
            "documents_in": n_in,
            "bytes_in": bytes_in,
            "documents_out": n_out,
            "bytes_out": bytes_out,
        }
        for (stage, n_in, bytes_in), (_, n_out, bytes_out) in zip(stages, ends, strict=True)
    ]


def _reasons(rows: Sequence[Row], quarantined: Sequence[Quarantined]) -> list[dict[str, Any]]:
    """Every reason that dropped something, in the order of the steps, with examples."""
    dropped: dict[str, list[tuple[str, int]]] = {}
    for file in quarantined:
        place = "" if file.offset is None else f" at byte {file.offset}"
        name = f"{file.source}/{file.locator}{place}"
        dropped.setdefault(file.reason, []).append((name, file.n_bytes))
    for row in rows:
        if row.reason is not None:
            dropped.setdefault(row.reason, []).append((row.name, row.n_bytes))
    meanings = QUARANTINE_REASONS | {reason: rule[0] for reason, rule in RULES.items()} | COPIES
    return [
        {
            "reason": reason,
            "meaning": meaning,
            "documents": len(dropped[reason]),
            "bytes": sum(n_bytes for _, n_bytes in dropped[reason]),
            "examples": [name for name, _ in dropped[reason][:N_EXAMPLES]],
        }
        for reason, meaning in meanings.items()
        if reason in dropped
    ]


def _clusters(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The clusters with most copies: the document kept, and those dropped for it."""
    copies: dict[int, list[Row]] = {}
    for number, row in enumerate(rows):
        head = row.cluster
        while rows[head].cluster != head:  # the document it was dropped for was dropped later
            head = rows[head].cluster
        if head != number:
            copies.setdefault(head, []).append(row)
    largest = sorted(copies.items(), key=lambda item: (-len(item[1]), item[0]))[:N_CLUSTERS]
    return [
        {
            "kept": rows[head].name,
            "copies": len(members),
            "bytes_removed": sum(row.n_bytes for row in members),
            "examples": [
                {"copy": row.name, "similarity": round(row.similarity, 3)}
                for row in members[:N_EXAMPLES]
            ],
        }
        for head, members in largest
    ]


def _overlap(kept: Sequence[Row], split: str) -> dict[str, Any]:
    """How much of a held-out split stands word for word in train, and where most."""
    rows = [row for row in kept if row.split == split]
    n_shingles = sum(row.n_shingles for row in rows)
    n_seen = sum(row.n_shingles_in_train for row in rows)
    worst = sorted(rows, key=lambda row: (-(row.overlap or 0.0), row.name))[:N_EXAMPLES]
    return {
        "share": round(n_seen / max(n_shingles, 1), 4),
        "examples": [
            {"document": row.name, "share": round(row.overlap, 4)} for row in worst if row.overlap
        ],
    }


def corpus_tables(report: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[Any]]]]:
    """The report as tables: (title, names of the columns, rows of plain values)."""
    tables: list[tuple[str, list[str], list[list[Any]]]] = [
        (
            "What came in",
            ["source", "files", "bytes", "documents kept", "bytes kept"],
            [list(source.values()) for source in report["sources"]],
        ),
        (
            "What each step left",
            ["step", "documents in", "bytes in", "documents out", "bytes out"],
            [list(stage.values()) for stage in report["stages"]],
        ),
        (
            "What was dropped, and why",
            ["reason", "meaning", "documents", "bytes", "examples"],
            [
                [*list(reason.values())[:-1], ", ".join(reason["examples"])]
                for reason in report["reasons"]
            ],
        ),
        (
            "What cleaning changed",
            ["step", "documents"],
            [[step, n] for step, n in report["cleaning"].items()],
        ),
        (
            "Largest clusters of copies",
            ["kept", "copies", "bytes removed", "examples (similarity)"],
            [
                [
                    cluster["kept"],
                    cluster["copies"],
                    cluster["bytes_removed"],
                    ", ".join(f"{e['copy']} ({e['similarity']:g})" for e in cluster["examples"]),
                ]
                for cluster in report["clusters"]
            ],
        ),
        (
            "Splits",
            ["split", "documents", "bytes"],
            [[split, *size.values()] for split, size in report["splits"].items()],
        ),
    ]
    if "overlap" in report:  # corpora of before have none
        words, splits = report["overlap"].values()
        tables.append(
            (
                f"Held-out text that stands in train (runs of {words} words)",
                ["split", "share", "documents with most of it (share)"],
                [
                    [
                        split,
                        overlap["share"],
                        ", ".join(f"{e['document']} ({e['share']:g})" for e in overlap["examples"]),
                    ]
                    for split, overlap in splits.items()
                ],
            )
        )
    return [table for table in tables if table[2]]
