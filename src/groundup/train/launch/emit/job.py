"""What is written down for another engine, and the account of what could not be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from groundup.architecture.config import ModelConfig
from groundup.errors import ConfigError
from groundup.train.augment.config import AugmentConfig
from groundup.train.config import Settings
from groundup.train.launch.job import PORT
from groundup.train.parallel.layout import LayoutConfig

NOTHING: tuple[Any, ...] = (None, False, 0, 0.0, "none", (), [], {}, "")  # says: not in use
# Sections that do nothing while this field of theirs is off.
SWITCHES = {"asynchronous": "kind"}
# Settings that say something with some values of another only.
WITH = {
    "momentum": ("optimizer", ("muon", "sgd")),
    "lr_step_factor": ("schedule", ("step",)),
}
# What every engine does.
ORDINARY = {
    "objective": {"kind": "causal"},
    "attend_across_documents": True,
    "optimizer_dtype": "fp32",
    "augment": {
        name: value for name, value in AugmentConfig().model_dump().items() if value not in NOTHING
    },
}


@dataclass(frozen=True)
class EmitJob:
    """A training with nothing left open.

    Attributes:
        name: of the project.
        sizes: processes along each axis: dp_replicate, dp_shard, tp, cp, pp; the product is the
            number of GPUs.
        gpus_per_node: more GPUs than these are on several nodes.
    """

    name: str
    model: ModelConfig
    settings: Settings
    layout: LayoutConfig
    sizes: Mapping[str, int]
    gpus_per_node: int = 8

    @property
    def dp(self) -> int:
        """Processes with rows of their own."""
        return self.sizes["dp_replicate"] * self.sizes["dp_shard"]

    @property
    def n_ranks(self) -> int:
        """All processes."""
        return self.dp * self.sizes["tp"] * self.sizes["cp"] * self.sizes["pp"]

    @property
    def n_nodes(self) -> int:
        """Nodes, all of them full where there are several."""
        return -(-self.n_ranks // self.gpus_per_node)

    def require_full_nodes(self) -> None:
        """Check that the processes fill their nodes: one command starts as many on each.

        Raises:
            ConfigError: they do not; with what does.
        """
        n, per_node = self.n_ranks, self.gpus_per_node
        if n <= per_node or n % per_node == 0:
            return
        smaller = max(k for k in range(1, per_node) if n % k == 0)
        fix = f"--gpus-per-node {smaller}" if smaller > 1 else "name GPUs per node that divide it"
        least = math.lcm(self.layout.least, per_node)
        if self.layout.dp_shard is None:
            fix += f"; or --ranks {least * max(1, round(n / least))}, which fits"
        raise ConfigError(
            f"{n} processes do not fill nodes of {per_node} GPUs",
            where="--gpus-per-node",
            fix=fix,
        )

    def torchrun(self) -> str:
        """How torchrun starts it, on every node."""
        if self.n_nodes == 1:
            return f"torchrun --nproc-per-node {self.n_ranks}"
        return (
            f"torchrun --nnodes {self.n_nodes} --nproc-per-node {self.gpus_per_node} "
            f"--rdzv-backend c10d --rdzv-endpoint FIRST_NODE:{PORT}"
        )

    @property
    def micro_batch_size(self) -> int:
        """Sequences of a pass: ours may be larger than a process's share of the batch."""
        return min(self.settings.micro_batch_size, self.settings.batch_size // self.dp)

    @property
    def accumulation(self) -> int:
        """Micro-batches of a process in a step."""
        return self.settings.batch_size // (self.dp * self.micro_batch_size)

    @property
    def zero(self) -> int:
        """The stage of ZeRO; 0 where nothing is sharded."""
        return self.layout.zero if self.sizes["dp_shard"] > 1 else 0

    def require_even(self) -> None:
        """Check that the batch divides: other engines make up no rows.

        Raises:
            ConfigError: it does not; the nearest that does is named.
        """
        batch_size, per_pass = self.settings.batch_size, self.dp * max(1, self.micro_batch_size)
        if batch_size % per_pass or batch_size < self.dp:
            nearest = max(per_pass, round(batch_size / per_pass) * per_pass)
            raise ConfigError(
                f"a batch of {batch_size} rows does not divide into micro-batches of "
                f"{max(1, self.micro_batch_size)} on {self.dp} processes, and other engines make "
                "up no rows",
                where="pretrain.batch_size",
                fix=f"the nearest that does is {nearest}; or set pretrain.micro_batch_size",
            )


@dataclass(frozen=True)
class LeftOut:
    """A setting that does not carry over."""

    key: str
    value: Any
    why: str

    def __str__(self) -> str:
        return " ".join(f"{self.key}: {self.value} ({self.why})".split())  # one line of a comment


@dataclass(frozen=True)
class Emitted:
    """The files of an engine, by their name, and what they do not say."""

    files: Mapping[str, str]
    left_out: tuple[LeftOut, ...]
    command: str
    notes: tuple[str, ...] = field(default=())


def left_out_of(
    job: EmitJob, carried: Iterable[str], reasons: Mapping[str, str], otherwise: str
) -> tuple[LeftOut, ...]:
    """Every setting that is in use and was not carried over; of a section all in one line.

    Args:
        carried: names of fields of `Settings` that the engine's configuration says.
        reasons: why not, for some of the others.
        otherwise: why not, for the rest.
    """
    done = {*carried, "layout"}
    return tuple(
        LeftOut(f"pretrain.{name}", said(value), reasons.get(name, otherwise))
        for name, value in in_use(job.settings).items()
        if name not in done
    )


def in_use(settings: Settings) -> dict[str, Any]:
    """The settings that do something, sections as mappings of what is not off in them."""
    found: dict[str, Any] = {}
    for name, value in settings.to_dict().items():
        if isinstance(value, Mapping):
            value = {key: each for key, each in value.items() if each not in NOTHING}
            if not ({SWITCHES[name]} if name in SWITCHES else value.keys()) & value.keys():
                continue
        if name in WITH and getattr(settings, WITH[name][0]) not in WITH[name][1]:
            continue
        if value not in NOTHING and value != ORDINARY.get(name, NOTHING):
            found[name] = value
    return found


def said(value: Any) -> Any:
    """A section as ``policy rewind, window 128``; any other value as it is."""
    if not isinstance(value, Mapping):
        return value
    return ", ".join(f"{key} {each}" for key, each in value.items())


def decay_steps_of(settings: Settings) -> int:
    """Steps over which the learning rate falls: at the end (wsd), else all after the warm-up."""
    if settings.schedule == "wsd":
        return settings.decay_steps or round(settings.decay_fraction * settings.steps)
    return settings.decay_steps or settings.steps - settings.warmup_steps
