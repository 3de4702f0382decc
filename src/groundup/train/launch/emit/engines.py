"""The engines by name."""

from __future__ import annotations

from collections.abc import Callable

from groundup.train.launch.emit import deepspeed, megatron, torchtitan
from groundup.train.launch.emit.job import EmitJob, Emitted

ENGINES: dict[str, Callable[[EmitJob], Emitted]] = {
    "deepspeed": deepspeed.emit,
    "megatron": megatron.emit,
    "torchtitan": torchtitan.emit,
}
