"""Where the time of a run went: one sentence and one bar with its legend.

The parts are those of `train.breakdown`; a run that is not finished has them in its lines only, up
to its last step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from groundup.report.sources import Sources
from groundup.train.breakdown import PARTS
from groundup.units import format_duration

ENDING = "_seconds"
WIDTH = 900.0  # of the bar, in its own units
SAID = 0.01  # share below which a part is in the bar only


@dataclass(frozen=True)
class Segment:
    """One part in the bar.

    Attributes:
        x, width: in units of `WIDTH`.
        colour: number of its colour in the style sheet.
    """

    name: str
    share: str
    took: str
    x: float
    width: float
    colour: int


def time_spent(sources: Sources) -> dict[str, Any] | None:
    """``sentence``, ``segments`` and ``width``; None of a run that did not measure it."""
    seconds = part_seconds(sources)
    total = sum(seconds.values())
    if not total:
        return None
    segments: list[Segment] = []
    place = 0.0
    for colour, (part, name) in enumerate(PARTS.items()):
        width = WIDTH * seconds.get(part, 0.0) / total
        if width:
            share = f"{seconds[part] / total:.1%}"
            took = format_duration(seconds[part])
            segments.append(Segment(name, share, took, round(place, 2), round(width, 2), colour))
        place += width
    return {"sentence": sentence(seconds), "segments": segments, "width": WIDTH}


def part_seconds(sources: Sources) -> dict[str, float]:
    """Seconds by part: of the finished run's record, else the sum of its lines."""
    written = sources.run.get("part_seconds")
    if isinstance(written, Mapping) and written:
        return {part: float(written[part]) for part in PARTS if part in written}
    summed: dict[str, float] = defaultdict(float)
    for line in sources.metrics:
        for part in PARTS:
            summed[part] += float(line.get(part + ENDING, 0.0))
    return {part: taken for part, taken in summed.items() if taken}


def sentence(seconds: Mapping[str, float]) -> str:
    """``Of 4 min 01 s, 59 % were backward passes, 33 % forward passes and 6 % saving.``."""
    total = sum(seconds.values())
    largest = sorted(seconds.items(), key=lambda item: -item[1])
    said = [
        f"{taken / total:.0%} {PARTS[part]}" for part, taken in largest if taken / total >= SAID
    ]
    said[0] = said[0].replace("% ", "% were ", 1)
    listed = " and ".join(filter(None, [", ".join(said[:-1]), said[-1]]))
    return f"Of {format_duration(total)}, {listed}."
