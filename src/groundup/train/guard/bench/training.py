"""One small training from a state to its last step, through the steps and the guard of real runs.

What differs from `train.loop`: checkpoints are copies in memory, and a fault may be injected.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from groundup.architecture.families import build
from groundup.train.batch import Batch, counts_of
from groundup.train.config import PretrainConfig, Settings, settle
from groundup.train.guard.bench.baselines import Judge
from groundup.train.guard.bench.events import Event
from groundup.train.guard.bench.text import Text
from groundup.train.guard.guard import Guard, Verdict
from groundup.train.guard.probe import gradients_aside
from groundup.train.objectives import next_token_loss
from groundup.train.optimizers.groups import load_optimizer_tensors
from groundup.train.state import RunState
from groundup.train.step import apply_gradients, drop_gradients, gradients

MODEL = build("gpt2", vocab_size=256, n_layers=2, d_model=64, context_length=48)
KEPT = 5  # checkpoints
PROBE_ROWS, EVALUATION_ROWS = 8, 512


def settings_of(seed: int, steps: int, *, clip: bool = True, **changed: Any) -> Settings:
    """A run's settings: those of the experiment that the guard's defaults come from."""
    config = PretrainConfig(
        **{"batch_size": 8, "optimizer": "adamw", "learning_rate": 3e-3, "beta1": 0.9,
           "grad_clip": 1.0 if clip else 1e30, **changed}
    )  # fmt: skip
    choice = {
        "steps": steps, "device": "cpu", "precision": "fp32", "attention": "sdpa", "n_threads": 1,
        "float32_matmul_precision": "highest", "evaluate_every": steps, "checkpoint_every": 20,
        "sample_every": steps,
    }  # fmt: skip
    return settle(config, choice, context_length=48, seed=seed)


@dataclass(frozen=True)
class Snapshot:
    """A state as a checkpoint would hold it."""

    record: dict[str, Any]
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]

    @classmethod
    def of(cls, state: RunState) -> Snapshot:
        """Copy everything."""
        groups = {
            group: {name: tensor.detach().clone() for name, tensor in tensors.items()}
            for group, tensors in state.tensors().items()
        }
        return cls(copy.deepcopy(state.record()), groups["model"], groups["optimizer"])

    @torch.no_grad()
    def restore(self, state: RunState) -> None:
        """Bring ``state`` back."""
        for name, parameter in state.tensors()["model"].items():
            parameter.copy_(self.model[name])
        copies = {name: tensor.clone() for name, tensor in self.optimizer.items()}
        load_optimizer_tensors(state.model, state.optimizers, copies)
        state.restore(copy.deepcopy(self.record))


@dataclass
class Outcome:
    """What became of a run.

    Attributes:
        verdicts: (batches judged before it, verdict) of every alarm, whatever was done about it.
        n_judged, n_probes: batches judged, those of abandoned steps too; probes computed.
        stopped: the diagnosis, if it was given up.
        is_lost: a loss that is no number was learnt from, so no weight is one any more.
        loss: of the held-out text at the end, nats per byte; NaN of a run without an end.
    """

    verdicts: list[tuple[int, Verdict]] = field(default_factory=list)
    n_judged: int = 0
    n_probes: int = 0
    stopped: str = ""
    is_lost: bool = False
    loss: float = math.nan

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come."""
        return bool(self.stopped) or self.is_lost

    def count(self, action: str) -> int:
        """Verdicts of one kind."""
        return sum(verdict.action == action for _, verdict in self.verdicts)


@dataclass(frozen=True)
class Fault:
    """An event of one run.

    Attributes:
        judged, place: batches judged before it; its first batch of the data.
    """

    event: Event
    judged: int
    place: int
    random: np.random.Generator

    def strike(self, state: RunState, n_judged: int) -> None:
        """Do the damage that belongs before this batch."""
        since = n_judged - self.judged
        if self.event.damage is not None and 0 <= since <= self.event.n_steps:
            self.event.damage(state, since, self.random)

    def spoilt(self, batch: Batch, place: int) -> Batch:
        """The batch, or what became of it."""
        is_there = 0 <= place - self.place < self.event.n_batches
        if self.event.spoil is None or not is_there:
            return batch
        return self.event.spoil(batch, self.random)


@dataclass
class Training:
    """A run that can be copied at any step, and so be continued under several faults.

    Attributes:
        judge: the guard, or what stands in for it.
        kept: checkpoints, the newest last.
        outcome: so far.
    """

    state: RunState
    settings: Settings
    text: Text
    judge: Judge
    kept: list[Snapshot] = field(default_factory=list)
    outcome: Outcome = field(default_factory=Outcome)

    def until(self, step: int, fault: Fault | None = None) -> None:
        """Train up to ``step``, with a fault on the way."""
        while self.state.step < step and not self.outcome.is_over:
            if fault is not None:
                fault.strike(self.state, self.outcome.n_judged)
            verdict = self.step(self.batch(fault))
            if verdict.action == "apply" and self.state.step % self.settings.checkpoint_every == 0:
                self.checkpoint()

    def batch(self, fault: Fault | None) -> Batch:
        """The next batch, spoiled if the fault lies there."""
        size, length = self.settings.batch_size, self.settings.context_length
        batch = self.text.batch_at(self.settings.seed, self.state.cursor, size, length)
        return batch if fault is None else fault.spoilt(batch, self.state.cursor // size)

    def step(self, batch: Batch) -> Verdict:
        """Judge one batch and do what was decided."""
        state, settings = self.state, self.settings
        found = gradients(state, settings, batch, counts_of(batch), next_token_loss)
        loss, grad_norm = found.numbers()
        verdict = self.judge.judge(state.step, state.cursor, settings.batch_size, loss, grad_norm)
        self.outcome.n_judged += 1
        if verdict.action == "apply":
            factor = self.judge.learning_rate_factor(state.step)
            apply_gradients(state, settings, found, factor)
            self.judge.accepted(loss, grad_norm)
            self.outcome.is_lost = math.isnan(loss)
        self.act(verdict)
        return verdict

    def checkpoint(self) -> None:
        """Keep the state if it is found good."""
        verdict = self.judge.before_checkpoint(self.state.step)
        self.act(verdict)
        if verdict.action == "apply":
            self.kept = [*self.kept, Snapshot.of(self.state)][-KEPT:]

    def act(self, verdict: Verdict) -> None:
        """As `train.recovery`."""
        if verdict.why:
            self.outcome.verdicts.append((self.outcome.n_judged - 1, verdict))
        if verdict.action == "apply":
            return
        drop_gradients(self.state)
        state, size = self.state, self.settings.batch_size
        if verdict.action == "skip":
            state.cursor += size
        elif verdict.action == "stop" or not self.kept:
            self.outcome.stopped = verdict.why
        else:
            assert isinstance(self.judge, Guard)
            back = verdict.details["checkpoints_back"]
            from_step, memory = state.step, self.judge.memory
            behind = state.cursor + size * (1 + verdict.details["more_batches"])
            target = self.kept[-back:][0]
            target.restore(state)
            self.judge.rewound(state.guard, memory, from_step, state.step, behind, verdict.why)
            state.guard, state.cursor = self.judge.memory, behind
            self.kept = [kept for kept in self.kept if kept.record["step"] < state.step]
            self.kept.append(Snapshot.of(state))

    def probe(self) -> tuple[float, float]:
        """Loss and gradient norm on held-out text."""
        self.outcome.n_probes += 1
        batch = self.text.held_out(PROBE_ROWS, self.settings.context_length)
        with gradients_aside(self.state.model):
            found = gradients(self.state, self.settings, batch, counts_of(batch), next_token_loss)
            return found.numbers()

    @torch.no_grad()
    def finish(self) -> Outcome:
        """Evaluate."""
        if not self.outcome.is_over:
            batch = self.text.held_out(EVALUATION_ROWS, self.settings.context_length)
            counts = counts_of(batch)
            parts = [next_token_loss(self.state.model, part, counts) for part in batch.split(64)]
            self.outcome.loss = float(torch.stack(parts).sum())
        return self.outcome
