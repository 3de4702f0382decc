"""The parameter server's mind: who computes what with which weights, and what is done with it.

Dean et al. 2012 (Downpour SGD): workers fetch weights, compute gradients of samples of their own
and push them; the server applies each as it comes. A gradient's *staleness* τ is the number of
updates between the fetch of its weights and its own: with N equal workers about N - 1. Its learning
rate can be divided by τ (Zhang et al. 2016, arXiv:1511.05950, section 3.3; here by 1 for τ = 0).

Notable: no clock and no socket here (`serve`, `listener`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from groundup.train.asynchronous.config import AsynchronousConfig
from groundup.train.asynchronous.ledger import Lease, Ledger
from groundup.train.asynchronous.wire import pack
from groundup.train.config import Settings
from groundup.train.state import RunState

WAIT_SECONDS = 0.05  # of a worker for which there are no samples just now


@dataclass
class Tally:
    """What has come of the pushes so far.

    Attributes:
        updates: of each worker, by name.
        total_staleness, max_staleness: of the gradients applied.
        refused: why → how many gradients. late: its samples were learnt from another's; stale:
            beyond ``max_staleness``; malformed: not the gradients of this model, or for samples
            that another was given.
    """

    updates: dict[str, int] = field(default_factory=dict)
    total_staleness: int = 0
    max_staleness: int = 0
    refused: dict[str, int] = field(default_factory=dict)

    @property
    def n_updates(self) -> int:
        """Of all workers."""
        return sum(self.updates.values())

    def applied(self, worker: str, staleness: int) -> None:
        """Count an update."""
        self.updates[worker] = self.updates.get(worker, 0) + 1
        self.total_staleness += staleness
        self.max_staleness = max(self.max_staleness, staleness)

    def summary(self) -> dict[str, Any]:
        """For the run's record."""
        mean = self.total_staleness / self.n_updates if self.n_updates else 0.0
        return {
            "updates": dict(sorted(self.updates.items())),
            "mean_staleness": mean,
            "max_staleness": self.max_staleness,
            "refused": dict(sorted(self.refused.items())),
        }


@dataclass(frozen=True)
class Pushed:
    """A gradient that may be applied; it lies in the parameters.

    Attributes:
        loss: of its samples, nats per target.
        staleness: updates since its weights were fetched.
    """

    worker: str
    lease: Lease
    loss: float
    staleness: int


class ParameterServer:
    """The weights of ``state`` as workers see them.

    Args:
        state: changed by whoever applies what `push` gives.
    """

    def __init__(self, state: RunState, settings: Settings) -> None:
        self.state, self.settings = state, settings
        self.config = AsynchronousConfig(**settings.asynchronous)
        record = state.asynchronous
        self.ledger = Ledger.from_dict(record["ledger"]) if record else Ledger(state.cursor)
        self.tally = Tally(**record["tally"]) if record else Tally()
        self._packed = -1, b""  # the weights after so many updates

    def fetch(self, worker: str, now: float) -> list[bytes]:
        """Samples and weights for a worker, or word that there are none just now.

        Args:
            now: seconds, on the clock that `Ledger.lapse` is asked with.
        """
        if self.state.step + len(self.ledger.leases) >= self.settings.steps:
            return [pack({"kind": "wait", "seconds": WAIT_SECONDS})]
        step, until = self.state.step, now + self.config.lease_seconds
        number, lease = self.ledger.hand_out(worker, self.settings.batch_size, step, until)
        cursor, size = lease.range.cursor, lease.range.size
        work = {"kind": "work", "lease": number, "cursor": cursor, "size": size, "step": step}
        return [pack(work), self.weights()]

    def weights(self) -> bytes:
        """All parameters, packed once after each update."""
        if self._packed[0] != self.state.step:
            named = dict(self.state.model.named_parameters())
            self._packed = self.state.step, pack({"kind": "weights"}, named)
        return self._packed[1]

    def forget_weights(self) -> None:
        """The weights were written on purpose, with no update between."""
        self._packed = -1, b""

    def push(
        self, worker: str, message: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Pushed | str:
        """Put a worker's gradients into the parameters, or say why not.

        Args:
            message: ``lease`` and ``loss``.
            tensors: gradients by parameter; those that the loss does not depend on are left out.
        """
        name = worker.partition(" #")[0]
        number = message.get("lease")
        if type(number) is not int or self.ledger.worker_of(number) not in (worker, None):
            return self.refuse("malformed")  # and the lease stays with whom it was given to
        lease = self.ledger.settle(number)
        if lease is None:
            return self.refuse("late")
        staleness = self.state.step - lease.step
        if staleness > self.config.max_staleness:
            self.ledger.give_back(lease.range)
            return self.refuse("stale")
        loss = message.get("loss")
        if not isinstance(loss, float) or not self.fit(tensors):
            self.ledger.give_back(lease.range)
            return self.refuse("malformed")
        for parameter_name, parameter in self.state.model.named_parameters():
            gradient = tensors.get(parameter_name)
            parameter.grad = None if gradient is None else gradient.to(parameter.device)
        return Pushed(name, lease, loss, staleness)

    def fit(self, tensors: Mapping[str, Tensor]) -> bool:
        """Whether these are gradients of the model's parameters."""
        named = dict(self.state.model.named_parameters())
        return bool(tensors) and all(
            name in named
            and tensor.shape == named[name].shape
            and tensor.dtype == named[name].dtype == torch.float32
            for name, tensor in tensors.items()
        )

    def refuse(self, why: str) -> str:
        """Count a gradient that is not applied."""
        self.tally.refused[why] = self.tally.refused.get(why, 0) + 1
        return why

    def learning_rate_factor(self, staleness: int) -> float:
        """What the learning rate is multiplied by for a gradient of this staleness."""
        return 1 / max(1, staleness) if self.config.staleness_lr else 1.0

    def record(self) -> dict[str, Any]:
        """What of this a checkpoint holds, in `RunState.asynchronous`."""
        return {"ledger": self.ledger.to_dict(), "tally": asdict(self.tally)}
