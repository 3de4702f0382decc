"""An evaluation as tables, for the terminal and for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groundup.tables import Table

Found = Mapping[str, Any]  # the content of ``evaluation.json``

OURS = "model"
# What is compared → its name, and what it knows.
NAMES = {
    OURS: ("this model", "the trained network"),
    "untrained": ("untrained network", "the same network before its first step"),
    "ngram": ("token n-gram model", "counts of the training text's token runs, Kneser–Ney"),
    "xz": ("xz -9e", "a compressor; learns from the held-out text itself"),
    "byte_unigram": ("byte unigram", "how often each byte occurs in the training text"),
    "uniform": ("uniform", "every byte equally likely"),
    "reference": ("what really follows", "the held-out text after the same prompts"),
}


def evaluation_tables(found: Found) -> list[Table]:
    """Bits per byte, parse rates and memorisation, those that were measured."""
    tables = [bits_table(found), rates_table(found), memorisation_table(found)]
    return [table for table in tables if table is not None]


def name_of(kind: str) -> str:
    """The name people read."""
    return NAMES.get(kind, (kind, ""))[0]


def bits_table(found: Found) -> Table:
    """How well each predicts the held-out text, the best first."""
    likelihood = found.get("likelihood", {})
    ordered = sorted(found.get("bits_per_byte", {}).items(), key=lambda item: item[1])
    rows = [
        [*NAMES.get(kind, (kind, "")), f"{bits:.3f}", _range(likelihood.get(kind, {}), ".3f")]
        for kind, bits in ordered
    ]
    return Table("Bits per byte", ["", "what it is", "bits per byte", "interval"], rows)


def rates_table(found: Found) -> Table | None:
    """Whose completions parse; None where the text has no functions to complete."""
    rates = found.get("completions", {}).get("parse_rate", {})
    if not rates:
        return None
    outcomes = sorted({outcome for rate in rates.values() for outcome in rate.get("outcomes", {})})
    rows = [
        [
            name_of(kind),
            f"{rate['rate']:.0%}",
            _range(rate, ".0%"),
            rate.get("n"),
            *(rate.get("outcomes", {}).get(outcome, 0) for outcome in outcomes),
        ]
        for kind, rate in rates.items()
    ]
    return Table("Parse rate", ["", "parse rate", "interval", "prompts", *outcomes], rows)


def memorisation_table(found: Found) -> Table | None:
    """How much of what each wrote repeats itself or the training text."""
    figures = found.get("memorisation", {})
    if not figures:
        return None
    first = next(iter(figures.values()))
    distinct, copied = list(first.get("distinct", {})), list(first.get("copy_rate", {}))
    rows = [
        [
            name_of(kind),
            *(_percent(figure.get("distinct", {}).get(n)) for n in distinct),
            *(_percent(figure.get("copy_rate", {}).get(n)) for n in copied),
            figure.get("longest_copy"),
        ]
        for kind, figure in figures.items()
    ]
    columns = [
        "",
        *(f"different {n}-grams" for n in distinct),
        *(f"copied {n}-grams" for n in copied),
        "longest copy, tokens",
    ]
    return Table("Written or recited", columns, rows)


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.0%}"


def _range(figure: Mapping[str, Any], form: str) -> str | None:
    ends = figure.get("interval")
    return f"{ends[0]:{form}} – {ends[1]:{form}}" if ends else None
