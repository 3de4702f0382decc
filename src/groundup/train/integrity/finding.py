"""What a check against silent corruption found: which tensor, on which process of which machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from groundup.errors import CorruptError

Kind = Literal["weight", "optimizer state", "average", "gradient"]

HOW = {
    "checksum": "changed between two updates, when nothing writes to it",
    "replicas": "is not what the other replicas hold",
    "replay": "came out differently when the same batch was computed again",
}


@dataclass(frozen=True)
class Finding:
    """One tensor that is not what it must be.

    Attributes:
        check: which check saw it: a key of `HOW`.
        ranks, hosts: the processes it must be on, and their machines, in the same order. One where
            the check can tell; several where it only knows that it is one of them.
    """

    check: Literal["checksum", "replicas", "replay"]
    kind: Kind
    tensor: str
    ranks: tuple[int, ...]
    hosts: tuple[str, ...]

    @property
    def rank(self) -> int | None:
        """The process, or None where it is one of several."""
        return self.ranks[0] if len(self.ranks) == 1 else None

    def __str__(self) -> str:
        places = [
            f"rank {rank} ({host})" for rank, host in zip(self.ranks, self.hosts, strict=True)
        ]
        one_of = "one of " if len(places) > 1 else ""
        return f"{self.kind} {self.tensor} on {one_of}{' and '.join(places)} {HOW[self.check]}"

    def details(self) -> dict[str, Any]:
        """For the line ``corruption`` of ``events.jsonl``."""
        return {**asdict(self), "rank": self.rank, "why": str(self)}


def error_of(findings: Sequence[Finding], where: str) -> CorruptError:
    """What a run ends with that does not go back before a corruption.

    Args:
        findings: at least one.
        where: the run's folder.
    """
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    hosts = sorted({host for finding in findings for host in finding.hosts})
    return CorruptError(
        f"{findings[0]}{more}",
        where=where,
        fix=f"test or leave out {' and '.join(hosts)}; the same command then goes on from the last "
        "checkpoint",
    )
