"""The checks against silent corruption as the training loop calls them.

    after an update                  checks.after_update(state)
    gradients of a step              found, findings = checks.computed(state, compute)
    before the next update           findings = checks.before_update(state)
    before it too, before a          findings = checks.at_step(state, now)
    checkpoint, at an alarm

Each list is the same on every rank and empty on a sound machine. A finding means that the weights
cannot be believed: the run goes back before it or ends with `finding.error_of`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import torch

from groundup.train.distributed import ALONE, Ranks
from groundup.train.integrity.checksums import checksums, watched
from groundup.train.integrity.config import IntegrityConfig
from groundup.train.integrity.finding import Finding, Kind
from groundup.train.integrity.replay import replay
from groundup.train.integrity.replicas import compare, settled
from groundup.train.integrity.shared import share
from groundup.train.optimizers.groups import Optimizers
from groundup.train.state import RunState
from groundup.train.step import Gradients


class IntegrityChecks:
    """What is due when, and the checksums of the last update that was summed."""

    def __init__(self, config: IntegrityConfig, ranks: Ranks = ALONE) -> None:
        self.config, self.ranks = config, ranks
        self._step = -1  # whose checksums are kept; no step: none are
        self._optimizers: Optimizers = []
        self._names: list[tuple[Kind, str]] = []
        self._sums = torch.empty(0, 2, dtype=torch.int64)
        self._compared = -1

    def after_update(self, state: RunState) -> None:
        """Remember what the update left, every ``checksum_every`` steps."""
        if is_due(state.step, self.config.checksum_every):
            tensors = watched(state)
            self._step, self._optimizers = state.step, state.optimizers
            self._names = list(tensors)
            self._sums = checksums([*tensors.values()])

    def forget(self) -> None:
        """Weights or optimizer states were written on purpose, with no step between.

        Other optimizers (a hot swap) and another step (a rewind) are noticed without it.
        """
        self._step = -1

    def before_update(self, state: RunState) -> list[Finding]:
        """What changed since `after_update`; nothing where the last update was not summed."""
        if self._step != state.step or self._optimizers is not state.optimizers:
            return []
        tensors = watched(state)
        if list(tensors) != self._names:
            return []
        device = next(iter(tensors.values())).device
        found = (checksums([*tensors.values()]) != self._sums).any(dim=1).tolist()
        here = (self.ranks.rank,), (socket.gethostname(),)
        mine = [
            Finding("checksum", kind, name, *here)
            for (kind, name), changed in zip(self._names, found, strict=True)
            if changed
        ]
        return share(mine, self.ranks, device)

    def at_step(self, state: RunState, now: bool = False) -> list[Finding]:
        """Compare the replicas every ``compare_every`` steps. A tie is settled by the checksums.

        Args:
            now: whether or not it is time. Before a checkpoint, so that what a run goes back to was
                the same on all replicas; at an alarm, whose cause this may be.
        """
        every = self.config.compare_every
        due = every is not None and (now or is_due(state.step, every))
        if not due or self._compared == state.step:
            return []
        findings = compare(state, self.ranks)
        if any(finding.rank is None for finding in findings):
            findings = settled(findings, self.before_update(state))
        self._compared = -1 if findings else state.step
        return findings

    def computed(
        self, state: RunState, compute: Callable[[], Gradients]
    ) -> tuple[Gradients, list[Finding]]:
        """A step's gradients; every ``replay_every`` steps computed at least twice.

        Args:
            compute: `step.gradients` of the step's batch; changes nothing else.
        """
        if not is_due(state.step, self.config.replay_every):
            return compute(), []
        return replay(state, compute, self.ranks)


def is_due(step: int, every: int | None) -> bool:
    """Whether ``step`` is one of every ``every``; never where that is None."""
    return every is not None and step > 0 and step % every == 0
