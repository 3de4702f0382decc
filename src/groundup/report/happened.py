"""What interfered with a run: every decision with its reason, for the table and for the loss chart.

What a run writes anyway (evaluations, samples, checkpoints) is not among it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from groundup.charts import Marks, Series
from groundup.report.sources import Sources
from groundup.tables import Table

ROUTINE = ("evaluation", "sample", "checkpoint")
BESIDE = ("step", "event", "at", "why", "details", "cursor")  # of an event without a text
MOST_ROWS = 500  # of the table; the log has them all

# Event → its name in the legend, plotly's symbol, its colour.
SHOWN = {
    "skipped": ("batch left out", "x", 1),
    "rewound": ("went back", "triangle-left", 4),
    "learning_rate_lowered": ("learning rate lowered", "triangle-down", 3),
    "corruption": ("silent corruption", "star", 4),
    "alarm": ("alarm", "cross", 1),
    "gave_up": ("stopped by the guard", "square", 4),
    "changed": ("settings changed", "diamond", 2),
    "resumed": ("restarted", "circle-open", 0),
}


@dataclass(frozen=True)
class Happening:
    """One event as people read it."""

    step: int
    kind: str
    text: str

    @property
    def name(self) -> str:
        """Of its kind, for people."""
        return SHOWN[self.kind][0] if self.kind in SHOWN else self.kind.replace("_", " ")


def happenings(sources: Sources) -> list[Happening]:
    """Everything that interfered, in the order in which it happened."""
    return [
        happening
        for event in sources.events
        if event.get("event") not in ROUTINE
        for happening in _read(event)
    ]


def happened_table(sources: Sources) -> Table | None:
    """A row for each; None where nothing happened."""
    rows = [[one.step, one.name, one.text] for one in happenings(sources)]
    if not rows:
        return None
    if len(rows) > MOST_ROWS:
        more = len(rows) - MOST_ROWS
        rows = [*rows[:MOST_ROWS], [None, "…", f"{more:,} more, in events.jsonl"]]
    return Table("What happened", ["step", "event", "what and why"], rows)


def marks(sources: Sources, at: Mapping[int, float]) -> list[Marks]:
    """The events on the loss chart: one set of symbols a kind.

    Args:
        at: the height of the curve by step, as far as it goes.
    """
    found = [one for one in happenings(sources) if one.kind in SHOWN and at]
    first, last = (min(at), max(at)) if at else (0, 0)
    sets = []
    for kind, (name, symbol, colour) in SHOWN.items():
        of_kind = [one for one in found if one.kind == kind]
        if of_kind:
            places = [min(max(one.step, first), last) for one in of_kind]
            sets.append(
                Marks(
                    name,
                    [sources.tokens_at(one.step) for one in of_kind],
                    [at.get(place, at[first]) for place in places],
                    [f"{one.name} (step {one.step}): {one.text}" for one in of_kind],
                    symbol,
                    colour,
                )
            )
    return sets


def given_up(sources: Sources, top: float) -> list[Series]:
    """The losses of the steps that were gone back before: a faint line for each rewind.

    Args:
        top: where a line ends that shoots up, so that it does not flatten the others.
    """
    lines = [line for line in sources.abandoned if "loss" in line and "tokens" in line]
    return [
        Series(
            "steps given up",
            [line["tokens"] for line in group],
            [min(line["loss"], top) for line in group],
            "faint",
            4,
            in_legend=number == 0,
        )
        for number, group in enumerate(
            list(group) for _, group in groupby(lines, lambda line: line.get("rewind"))
        )
    ]


def counts(sources: Sources) -> str:
    """How often the guard interfered, for one line: ``2 batches left out, 1 rewind``."""
    parts = []
    for kind, one, many in (
        ("resumed", "resumed {} time", "resumed {} times"),
        ("skipped", "{} batch left out", "{} batches left out"),
        ("rewound", "{} rewind", "{} rewinds"),
        ("corruption", "{} silent corruption", "{} silent corruptions"),
    ):
        n = len(sources.happened(kind))
        if n:
            parts.append((one if n == 1 else many).format(n))
    return ", ".join(parts)


def _read(event: Mapping[str, Any]) -> Iterator[Happening]:
    """What an event says; a rewind that lowers the learning rate says two things."""
    step, kind, why = event["step"], str(event.get("event")), str(event.get("why", ""))
    match kind:
        case "skipped":
            yield Happening(step, kind, f"{_samples(event)}: {why}")
        case "rewound":
            back = f"from step {event.get('from_step', '?')} to {event.get('to_step', step)}"
            yield Happening(step, kind, f"{back} ({event.get('checkpoint', '?')}): {why}")
            factor = (event.get("details") or {}).get("learning_rate_factor", 1)
            if isinstance(factor, int | float) and factor < 1:
                yield Happening(step, "learning_rate_lowered", f"to {factor:g} of its schedule")
        case "changed" if "key" in event:
            change = f"{event['key']}: {event.get('before')} → {event.get('after')}"
            yield Happening(step, kind, f"{change}, at a restart")
        case "changed":
            changes = event.get("changes") or {}
            text = ", ".join(f"{name} = {value}" for name, value in changes.items())
            over = event.get("over")
            yield Happening(step, kind, f"{text}, over {over} steps" if over else text)
        case "resumed":
            machine = event.get("changed") or []
            other = f"; this machine differs in {', '.join(map(str, machine))}" if machine else ""
            yield Happening(step, kind, f"from {event.get('checkpoint', 'a checkpoint')}{other}")
        case "checkpoint_failed":
            yield Happening(step, kind, str(event.get("error", "")))
        case _:
            said = [f"{name} {value}" for name, value in event.items() if name not in BESIDE]
            yield Happening(step, kind, why or ", ".join(said))


def _samples(event: Mapping[str, Any]) -> str:
    """Which samples of the order were left out."""
    cursor, n_samples = event.get("cursor"), event.get("samples")
    if isinstance(cursor, int) and isinstance(n_samples, int):
        return f"samples {cursor:,} to {cursor + n_samples - 1:,}"
    return "a batch"
