"""The evaluation of the finished model: figures beside their yardsticks, and what it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from groundup.report.plots import rate_chart, yardstick_chart
from groundup.report.sources import Sources
from groundup.tables import Table

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
MOST_OF_A_KIND = 4  # completions shown that parsed, and that did not

Interval = tuple[float, float]


def bits_of(sources: Sources) -> list[tuple[str, float]]:
    """Bits per byte on held-out text by kind, the least first."""
    bits: Mapping[str, float] = sources.evaluate.get("bits_per_byte", {})
    return sorted(bits.items(), key=lambda item: item[1])


def rates_of(sources: Sources) -> list[tuple[str, float, Interval]]:
    """Share of completions that parse by kind, with its interval, the largest first."""
    rates = sources.evaluate.get("completions", {}).get("parse_rate", {})
    found = [(kind, rate["rate"], _interval(rate)) for kind, rate in rates.items()]
    return sorted(found, key=lambda row: -row[1])


def name_of(kind: str) -> str:
    """The name people read."""
    return NAMES.get(kind, (kind, ""))[0]


def evaluation(sources: Sources) -> dict[str, Any] | None:
    """Charts and tables; None where nothing was evaluated."""
    if not sources.evaluate:
        return None
    bits, rates = bits_of(sources), rates_of(sources)
    found = sources.evaluate.get("completions", {})
    sampling = found.get("sampling", {})
    rate_rows = [(name_of(kind), rate, ends, kind == OURS) for kind, rate, ends in rates]
    bits_rows = [(name_of(kind), value, kind == OURS) for kind, value in bits]
    copies = sources.evaluate.get("memorisation", {})
    return {
        "split": sources.evaluate.get("split", "held-out"),
        "bits_chart": Markup(yardstick_chart(bits_rows)) if bits else None,
        "bits_table": _bits_table(sources),
        "rates_chart": Markup(rate_chart(rate_rows)) if rates else None,
        "rates_table": _rates_table(found.get("parse_rate", {})),
        "counted": sources.evaluate.get("likelihood", {}).get(OURS),
        "not_applicable": found.get("reason"),
        "sampling": ", ".join(
            f"{name.replace('_', ' ')} {value:g}" for name, value in sampling.items()
        ),
        "memorisation": _memorisation_table(copies),
        "longest_copy": copies.get(OURS, {}).get("longest_copy_text"),
    }


def completions(sources: Sources) -> list[tuple[str, list[dict[str, Any]]]]:
    """A few completions that parsed and a few that did not; without verdicts, the first."""
    items = [
        {
            "prompt": item["prompt"],
            "reference": item.get("reference", ""),
            **item["completions"][OURS],
        }
        for item in sources.evaluate.get("completions", {}).get("items", [])
        if OURS in item.get("completions", {})
    ]
    groups = [
        ("Completions that parsed", [item for item in items if item.get("parsed") is True]),
        ("Completions that did not", [item for item in items if item.get("parsed") is False]),
        ("Completions", [item for item in items if item.get("parsed") is None]),
    ]
    return [
        (f"{title} ({MOST_OF_A_KIND} of {len(group)})", group[:MOST_OF_A_KIND])
        if len(group) > MOST_OF_A_KIND
        else (title, group)
        for title, group in groups
        if group
    ]


def _bits_table(sources: Sources) -> Table:
    likelihood = sources.evaluate.get("likelihood", {})
    rows = [
        [*NAMES.get(kind, (kind, "")), f"{bits:.3f}", _range(likelihood.get(kind, {}), ".3f")]
        for kind, bits in bits_of(sources)
    ]
    return Table("Bits per byte", ["", "what it is", "bits per byte", "interval"], rows)


def _rates_table(rates: Mapping[str, Any]) -> Table | None:
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


def _memorisation_table(figures: Mapping[str, Any]) -> Table | None:
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


def _interval(figure: Mapping[str, Any]) -> Interval:
    low, high = figure["interval"]
    return float(low), float(high)
