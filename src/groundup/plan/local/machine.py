"""What was measured on this machine: the `machine` artifact as plain values.

`train/measure.py` writes ``machine.json``; the planner only reads it, so planning needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from groundup.errors import InputError


@dataclass(frozen=True)
class MeasuredStep:
    """One training step of one model size, measured in the shape it will run in."""

    n_layers: int
    d_model: int
    parameters: int
    flops_per_token: float
    tokens_per_step: int  # of a whole optimizer step
    seconds_per_step: float  # median: forward, backward, optimizer
    seconds_per_forward: float  # the same tokens, forward only
    peak_memory_bytes: int  # of the process on a CPU, of the allocator on a GPU
    seconds_per_checkpoint: float  # as long as training waits for it
    seconds_per_sample: float  # of a sample text of the length a run writes


@dataclass(frozen=True)
class Machine:
    """A device, how it will be used, and the steps measured on it."""

    device: Literal["cpu", "cuda"]
    device_name: str
    n_threads: int
    precision: str
    float32_matmul_precision: str
    attention: Literal["bmm", "sdpa"]
    matmul_flops_per_second: float
    memory_bytes: int  # all that the device has
    base_memory_bytes: int  # a training process before it has a model
    steps: tuple[MeasuredStep, ...]
    memory_bytes_per_second: float | None = None  # of a triad; older measurements lack it


def read_machine(values: Mapping[str, Any]) -> Machine:
    """A `Machine` from the content of ``machine.json``; keys it does not know are left alone.

    Raises:
        InputError: a key is missing, or nothing was measured.
    """
    try:
        steps = tuple(
            MeasuredStep(**{name: step[name] for name in MeasuredStep.__dataclass_fields__})
            for step in values["steps"]
        )
        optional = {"memory_bytes_per_second": None}
        fields = {name: {**optional, **values}[name] for name in Machine.__dataclass_fields__}
    except KeyError as error:
        raise InputError(
            f"the measurements of this machine lack {error}",
            fix="remove the artifact of kind `machine` and run again",
        ) from error
    machine = Machine(**{**fields, "steps": steps})
    if not steps:
        raise InputError("no training step was measured on this machine")
    return machine
