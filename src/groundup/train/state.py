"""`RunState`: everything the next step depends on, which is exactly what a checkpoint holds."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from groundup.model.weights import weights_of
from groundup.track.run import EMPTY_CHAIN, chain_loss
from groundup.train.guard.memory import GuardMemory
from groundup.train.optimizers.groups import Optimizers, optimizer_tensors
from groundup.train.parallel.everywhere import whole_tensors


@dataclass
class RunState:
    """A run between two steps.

    Attributes:
        optimizers: of the weights, or none where the model is only looked at.
        average: moving average of the weights by parameter name, where one is kept.
        outer: of local SGD, what the outer step needs (`asynchronous.local_sgd`).
        asynchronous: what of asynchronous training is no tensor: a server's ledger, the last sync.
        guard: what the guard remembers (`guard.memory`).
        step: optimizer steps done.
        cursor: training samples used up, whether learnt from or left out: where the next batch
            begins. A batch is a function of the seed and this number.
        tokens: tokens of the batches learnt from.
        loss_chain: SHA-256 chained over (step, loss) of every step so far: the loss log in 64
            digits.
        mixtures: mixtures that took the place of the first one: ``{"cursor", "weights"}``.
        activation: ``{"before", "after", "share"}`` where a change has given the networks another.
        clip_norms: each parameter's usual gradient norm, of adaptive clipping.
        is_regular: of a checkpoint: whether the uninterrupted run has it too, as the one that a
            stop was asked for has not (`recovery`).
        n_changes: changes by hand that were known when the checkpoint was made.
        n_events, n_abandoned: lines of these logs that belong to the run up to here.
        validation_loss: measured at exactly this step; None at any other.
        elapsed_seconds, step_seconds, peak_memory_bytes: measured up to here; never hashed.
        part_seconds: where the time went, by the names of `breakdown.PARTS`; never hashed.
    """

    model: Any  # a Transformer, or a pair of them (ELECTRA)
    optimizers: Optimizers
    average: dict[str, Tensor] | None = None
    outer: dict[str, Tensor] | None = None
    asynchronous: dict[str, Any] | None = None
    guard: GuardMemory = field(default_factory=GuardMemory)
    step: int = 0
    cursor: int = 0
    tokens: int = 0
    loss_chain: str = EMPTY_CHAIN
    mixtures: list[dict[str, Any]] = field(default_factory=list)
    activation: dict[str, Any] | None = None
    clip_norms: dict[str, float] = field(default_factory=dict)
    is_regular: bool = True
    n_changes: int = 0
    n_events: int = 0
    n_abandoned: int = 0
    validation_loss: float | None = None
    elapsed_seconds: float = 0.0
    step_seconds: float = 0.0
    peak_memory_bytes: int = 0
    part_seconds: dict[str, float] = field(default_factory=dict)

    def record_loss(self, step: int, loss: float) -> None:
        """Chain one step's loss."""
        self.loss_chain = chain_loss(self.loss_chain, step, loss)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Weights, optimizer states and averages by name: one group per file of a checkpoint."""
        groups = {
            "model": weights_of(self.model),
            "optimizer": dict(optimizer_tensors(self.model, self.optimizers)),
        }
        more = {"average": self.average, "outer": self.outer}
        return groups | {name: tensors for name, tensors in more.items() if tensors}

    def record(self) -> dict[str, Any]:
        """Everything that is no tensor and no random generator, as JSON."""
        return {**{name: getattr(self, name) for name in SCALARS}, "guard": self.guard.to_dict()}

    def restore(self, record: Mapping[str, Any]) -> None:
        """Put back what `record` gave."""
        for name in SCALARS:
            if name in record or name not in LATER:
                setattr(self, name, record[name])
        self.guard = GuardMemory.from_dict(record["guard"])

    def final_hash(self) -> str:
        """SHA-256 over parameters, optimizer state and loss log: equal runs, equal hash.

        Of a model that is cut over several processes every one of them must call it.
        """
        digest = hashlib.sha256(f"{self.step} {self.cursor} {self.loss_chain}".encode())
        for group, tensors in sorted(self.tensors().items()):
            for name, whole in whole_tensors(self.model, tensors):
                digest.update(f"{group} {name} {whole.dtype} {tuple(whole.shape)}".encode())
                digest.update(tensor_bytes(whole))
        return digest.hexdigest()


SCALARS = (
    "step", "cursor", "tokens", "loss_chain", "mixtures", "activation", "clip_norms",
    "is_regular", "n_changes", "n_events", "n_abandoned", "validation_loss", "elapsed_seconds",
    "step_seconds", "peak_memory_bytes", "part_seconds", "asynchronous",
)  # fmt: skip
LATER = ("part_seconds", "asynchronous")  # checkpoints of earlier versions do not have them


def tensor_bytes(tensor: Tensor) -> bytes:
    """The bytes of a tensor of any dtype, in row order."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


RANK_STRIDE = 0x9E3779B97F4A7C15 % 2**62  # far apart, and rank 0 as a process alone


def rng_state() -> dict[str, Any]:
    """The state of every random generator of this process, as JSON."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "torch": encode(torch.get_rng_state()),
        "python": [version, list(internal), gauss],
        "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, cached],
    }
    if torch.cuda.is_available():
        state["cuda"] = [encode(tensor) for tensor in torch.cuda.get_rng_state_all()]
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Put back what `rng_state` gave."""
    torch.set_rng_state(decode(state["torch"]))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    if torch.cuda.is_available() and len(state.get("cuda", ())) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([decode(text) for text in state["cuda"]])


def seed_everything(seed: int, rank: int = 0) -> None:
    """Start every random generator of this process; each rank has draws of its own."""
    seed = (seed + rank * RANK_STRIDE) % 2**63
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def encode(tensor: Tensor) -> str:
    """A uint8 tensor as base64."""
    return base64.b64encode(tensor.numpy().tobytes()).decode()


def decode(text: str) -> Tensor:
    """Base64 as a uint8 tensor."""
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
