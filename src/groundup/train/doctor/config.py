"""How long the doctor may take, and from where on a node is slow."""

from __future__ import annotations

from dataclasses import dataclass

from groundup.errors import InputError


@dataclass(frozen=True)
class Limits:
    """Time and thresholds of one visit.

    Attributes:
        seconds: of the checks of one node; each takes a share of it.
        join_seconds: how long a rank may take to come.
        hang_seconds: after this a check that should have ended has hung, and so has its node.
        slow_warn, slow_fail: speed as a share of the median of the peers.
        memory_share: of the free memory that is tested.
        memory_bytes: the most that is tested.

    Raises:
        InputError: a time that is not greater than zero: every node would fail.
    """

    seconds: float = 10.0
    join_seconds: float = 60.0
    hang_seconds: float = 60.0
    slow_warn: float = 0.8
    slow_fail: float = 0.5
    memory_share: float = 0.125
    memory_bytes: int = 256 * 2**20

    def __post_init__(self) -> None:
        for name in ("seconds", "join_seconds", "hang_seconds"):
            if not getattr(self, name) > 0:
                raise InputError(
                    f"{name} is {getattr(self, name):g}, but must be greater than zero",
                    where="limits of the doctor",
                    fix="leave it out for the default",
                )


DEFAULT = Limits()
