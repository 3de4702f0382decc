"""Who is slow: the ranks' own work per step compared, and the table of all ranks.

On a GPU what a rank does itself is the host's part: a slow host or disk shows, a GPU with a low
clock does not (`groundup doctor` times it).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from pathlib import Path

from groundup.progress import say
from groundup.tables import Table
from groundup.train.heartbeat import Beat, Heart, beat_path, ranks_folder, read_beats
from groundup.units import format_duration

TINY_SECONDS = 1e-6
SLOW = 1.5  # times the others' median, for twenty steps and more (field notes, row 10)
WORTH_SAYING = 0.1  # of a whole step: less would not make the run faster by much
BEATS_BETWEEN_LOOKS = 5  # one rank reads all files


def slow_ranks(beats: Iterable[Beat]) -> dict[int, float]:
    """The slow ranks, each with its own work per step as a multiple of the others' median.

    Slow is a rank whose own work took more than `SLOW` times as long in two windows of steps one
    after the other. A rank alone, or one that has just begun, is never slow.
    """
    known = [beat for beat in beats if beat.steady_own_seconds is not None and beat.ended is None]
    slow = {}
    for beat in known:
        others = [other.own_seconds or 0.0 for other in known if other.rank != beat.rank]
        usual, own = statistics.median(others or [math.inf]), beat.steady_own_seconds or 0.0
        if own > SLOW * usual and own - usual > WORTH_SAYING * (beat.step_seconds or 0.0):
            slow[beat.rank] = (beat.own_seconds or 0.0) / max(usual, TINY_SECONDS)
    return slow


class SlowWatch:
    """Says once per episode that a rank has become slow; the first rank's heart calls `look`."""

    def __init__(self, folder: Path, heart: Heart) -> None:
        self.folder, self.heart = folder, heart
        self.beats, self.known = 0, set[int]()

    def look(self) -> None:
        """Called with every beat; reads all ranks' beats at every fifth."""
        self.beats += 1
        if self.beats % BEATS_BETWEEN_LOOKS:
            return
        beats = read_beats(self.folder, self.heart.launch)
        slow = slow_ranks(beats.values())
        for rank, times in slow.items():
            if rank not in self.known:
                beat = beats[rank]
                say(
                    f"rank {rank} is slow: its own work takes {times:.1f} times the others' "
                    f"(host {beat.host}, {beat.device})"
                )
                self.heart.news.put(
                    {
                        "kind": "slow_rank",
                        "rank": rank,
                        "host": beat.host,
                        "device": beat.device,
                        "own_seconds": beat.own_seconds,
                        "step_seconds": beat.step_seconds,
                        "times_the_others": round(times, 2),
                    }
                )
        self.known = set(slow)


def rank_table(folder: Path) -> Table:
    """All ranks of a run as they were at their last beats, for people.

    The age of a beat is counted from the newest beat of all, by the disk's own times: no reader's
    clock is in it.
    """
    beats = read_beats(folder)
    launch = max(beats.values(), key=lambda beat: beat.started).launch if beats else 0
    beats = {rank: beat for rank, beat in beats.items() if beat.launch == launch}
    written = {rank: modified(folder, rank) for rank in beats}
    slow = slow_ranks(beats.values())
    rows = [
        (
            str(rank),
            beat.host,
            str(beat.pid),
            beat.device,
            beat.step,
            beat.ended or beat.phase,
            beat.own_seconds,
            beat.step_seconds,
            f"{slow[rank]:.1f}× the others" if rank in slow else "",
            format_duration(max(written.values()) - written[rank]),
        )
        for rank, beat in sorted(beats.items())
    ]
    columns = (
        "rank", "host", "pid", "device", "step", "phase", "own s/step", "s/step", "slow", "behind"
    )  # fmt: skip
    return Table("ranks", columns, rows)


def modified(folder: Path, rank: int) -> float:
    """When a beat was written, by the disk; 0 if it is gone by now."""
    try:
        return beat_path(ranks_folder(folder), rank).stat().st_mtime
    except OSError:
        return 0.0
