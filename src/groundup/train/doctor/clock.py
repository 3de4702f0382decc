"""How far the clocks are apart: rank 0 asks each rank for its time and halves the round trip."""

from __future__ import annotations

import time

from groundup.train.doctor.meeting import Meeting
from groundup.train.doctor.result import Result

ROUNDS = 5  # the shortest round trip counts (Cristian 1989: the error is at most half of it)


def ask(meeting: Meeting, rank: int, seconds: float) -> Result | None:
    """The offset of the clock of ``rank`` from ours; None if it does not answer."""
    best: tuple[float, float] | None = None  # round trip, offset
    for count in range(ROUNDS):
        sent = time.time()
        meeting.post(f"clock/{rank}/{count}/ask", True)
        theirs = meeting.take(f"clock/{rank}/{count}/answer", seconds)
        back = time.time()
        if theirs is None:
            return None
        best = min(best or (float("inf"), 0.0), (back - sent, theirs - (sent + back) / 2))
    assert best is not None
    return Result("clock offset", "ok", 1e3 * best[1], "ms", f"± {1e3 * best[0] / 2:.2g} ms")


def answer(meeting: Meeting, rank: int, seconds: float) -> None:
    """Answer rank 0; the first question may take ``seconds`` to come."""
    for count in range(ROUNDS):
        meeting.take(f"clock/{rank}/{count}/ask", seconds)
        meeting.post(f"clock/{rank}/{count}/answer", time.time())
