"""What a run is to do, as the plan decided it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from groundup.tokens.dataset import TokenDataset
from groundup.train.config import Settings
from groundup.train.objective import CAUSAL, Objective

# A metrics function: (model, autocast) → ``loss`` (nats per target) and others by name.
Evaluate = Callable[[Any, Callable[[], Any]], Mapping[str, float]]


@dataclass(frozen=True)
class Job:
    """A run as the plan decided it.

    Attributes:
        key: what the run is named after and what its bits depend on: model, settings, tokens.
        settings: all of them, also those the bits do not depend on.
        predicted: the plan's predictions, kept beside the measurements.
        matmul_flops_per_second: this machine's rate with ``n_threads``, or its GPU's, for MFU.
        evaluate: the cheap validation loss inside the run.
        evaluate_whole: the validation split whole, once at the end.
        sample: (model, autocast, step) → a text.
        spent: seconds → cost_usd and energy_kwh.
        objective: what is trained for.
        held_out: what the guard's probe is made of.
        record: what else the run's record keeps.
        planned_samples: that its mixture was made for.
        allow: keys of the settings that may differ from the run's own.
        until: a step to stop after as if it was asked for; None: none.
        profile: whether a few steps are profiled.
        worker_command: starts a worker of the run where a parameter server trains it; None: the
            server starts none itself.
    """

    name: str
    key: Mapping[str, Any]
    settings: Settings
    predicted: Mapping[str, Any]
    matmul_flops_per_second: float
    evaluate: Evaluate
    evaluate_whole: Evaluate
    sample: Callable[[Any, Callable[[], Any]], str]
    spent: Callable[[float], Mapping[str, float | None]]
    objective: Objective = CAUSAL
    held_out: TokenDataset | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    planned_samples: int | None = None
    until: int | None = None
    profile: bool = False
    worker_command: tuple[str, ...] | None = None
