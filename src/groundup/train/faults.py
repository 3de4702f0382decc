"""Faults on purpose, so that anyone can see a run survive them: ``GROUNDUP_FAULT=kill@step=37``.

``kill@step=N``: SIGKILL at the end of step N, before it is logged. ``kill@checkpoint=N``: SIGKILL
inside the N-th checkpoint's write, when the tensors are on disk and the manifest is not.
``GROUNDUP_FAULT_RANK=1``: in that rank only. What torchrun has restarted is spared.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from functools import cache

from groundup.errors import UserError

_reached: Counter[str] = Counter()


def point(place: str, count: int | None = None) -> None:
    """Say that ``place`` was reached (the ``count``-th time); die here if that was asked for."""
    _reached[place] += 1
    wanted = check()
    if wanted == (place, _reached[place] if count is None else count) and is_meant():
        os.kill(os.getpid(), signal.SIGKILL)


def is_meant() -> bool:
    """Whether the fault is for this rank, in the first start of a run under torchrun."""
    rank = os.environ.get("RANK", "0")
    first_start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
    return first_start and os.environ.get("GROUNDUP_FAULT_RANK", rank) == rank


def check() -> tuple[str, int] | None:
    """The fault asked for. Called before any work too: nobody waits minutes for a misspelling.

    Raises:
        UserError: GROUNDUP_FAULT is not a fault.
    """
    return requested(os.environ.get("GROUNDUP_FAULT", ""))


@cache
def requested(text: str) -> tuple[str, int] | None:
    """Read ``kill@place=N``.

    Raises:
        UserError: it is something else.
    """
    if not text:
        return None
    match = re.fullmatch(r"kill@(step|checkpoint)=(\d+)", text)
    if match is None:
        raise UserError(
            f"GROUNDUP_FAULT={text!r} is not a fault",
            fix="write kill@step=N or kill@checkpoint=N, or unset it",
        )
    return match[1], int(match[2])
