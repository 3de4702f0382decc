"""What the guard remembers between two steps; part of the state that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass
class GuardMemory:
    """All plain numbers, so that a resumed run decides as the uninterrupted one.

    Attributes:
        losses, grad_norms: of the last accepted steps, oldest first; at most ``window`` of each.
        probe: loss and gradient norm on the probe batch when the last good checkpoint was made.
        skips: ``{"step", "cursor", "samples", "batch", "why"}`` of every batch left out; ``batch``
            is its number among those judged.
        rewinds: ``{"from_step", "to_step", "cursor", "batch", "in_a_row", "furthest_step", "why"}``
            of every rewind; ``furthest_step`` is the highest ``from_step`` of those in a row.
        n_batches: batches judged so far, those of abandoned steps too.
        skips_in_a_row: batches left out since the last accepted step.
        alarms_in_a_row: alarming steps that were taken all the same since the last calm one.
        slow_until: step before which the learning rate is lowered.
    """

    losses: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)
    probe: list[float] | None = None
    skips: list[dict[str, Any]] = field(default_factory=list)
    rewinds: list[dict[str, Any]] = field(default_factory=list)
    n_batches: int = 0
    skips_in_a_row: int = 0
    alarms_in_a_row: int = 0
    slow_until: int = 0

    def remember(self, loss: float, grad_norm: float, window: int) -> None:
        """Take in one accepted step."""
        self.losses = [*self.losses, loss][-window:]
        self.grad_norms = [*self.grad_norms, grad_norm][-window:]

    def learn_anew(self) -> None:
        """Forget what is usual: after a change on purpose (data, lengths, activation)."""
        self.losses, self.grad_norms, self.probe, self.alarms_in_a_row = [], [], None, 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """What `to_dict` gave."""
        return cls(**record)
