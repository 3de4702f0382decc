"""Whether the machines of a run are fit for it: each node checked, alone and against its peers.

``check(folder)`` is the whole of it; ``groundup doctor`` prints what it returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from groundup.train.doctor.config import DEFAULT, Limits

if TYPE_CHECKING:
    from groundup.train.doctor.result import Verdict

__all__ = ["DEFAULT", "Limits", "check"]


def check(folder: Path, limits: Limits = DEFAULT, hosts: Sequence[str] = ()) -> Verdict:
    """Check this node, and with several ranks (torchrun's environment) each node and the network.

    Args:
        folder: the project, whose disk is tested.
        limits: how long, and what counts as slow.
        hosts: host name of each rank, where it is known beforehand: names one that never comes.

    Returns:
        What was found on all nodes, the same on every rank.

    Raises:
        InputError: an environment that names no rank.
        UserError: rank 0 does not answer, or its port is taken.
    """
    from groundup.train.doctor.run import check as run

    return run(folder, limits, hosts)
