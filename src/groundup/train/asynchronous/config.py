"""The section ``pretrain.asynchronous``: training in which processes do not wait for each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from groundup.section import Section
from groundup.units import Count, Duration

if TYPE_CHECKING:
    from groundup.train.config import PretrainConfig

ServerOptimizer = Literal["sgd", "momentum", "adam"]

# Peak learning rates of the server's optimizers, of those tried in docs/asynchronous.md without
# staleness: adam's is the best; of sgd and momentum the next below it, as staleness asks for less.
SERVER_LEARNING_RATE = {"sgd": 0.3, "momentum": 0.03, "adam": 2e-3}

BY_KIND = {  # which kind each key belongs to
    "parameter_server": (
        "workers", "optimizer", "max_staleness", "staleness_lr", "lease_seconds", "host", "port",
    ),
    "local_sgd": ("sync_every", "outer_learning_rate", "outer_momentum"),
}  # fmt: skip

# Who computes and where: changes nothing that a run is named after.
WHO_WORKS = ("workers", "lease_seconds", "host", "port")


class AsynchronousConfig(Section):
    """How processes train one model without waiting for each other at every step."""

    kind: Literal["none", "parameter_server", "local_sgd"] = "none"
    """none: every step waits for all; parameter_server: workers fetch weights and push gradients,
    which a server applies as they come; local_sgd: each replica (`pretrain.layout.dp_replicate`,
    under torchrun) takes steps of its own, and their weights are brought together now and then."""
    workers: Count = Field(2, ge=0)
    """parameter_server: worker processes started beside the server; others join with `groundup
    worker` at any time."""
    optimizer: ServerOptimizer = "sgd"
    """parameter_server: what the server applies gradients with, in place of `pretrain.optimizer`:
    sgd; momentum: SGD with `pretrain.momentum`; adam: Adam with decoupled weight decay. The peak
    rate is `pretrain.learning_rate`; null: 0.3, 0.03, 0.002."""
    max_staleness: Count = Field(16, ge=0)
    """parameter_server: a gradient is not applied where more updates than this were made since its
    weights were fetched; somebody computes its samples anew."""
    staleness_lr: bool = False
    """parameter_server: divides the learning rate of each update by the gradient's staleness."""
    lease_seconds: Annotated[Duration, Field(gt=0)] = 300.0
    """parameter_server: how long a worker may take over its samples before they are given to
    another; those of a worker that leaves or dies are free at once."""
    host: str = "127.0.0.1"
    """parameter_server: address that the server listens at; 0.0.0.0: all of this machine. Weights
    and gradients travel unencrypted."""
    port: int = Field(0, ge=0, lt=2**16)
    """parameter_server: port that it listens at; 0: a free one."""
    sync_every: Count = Field(50, ge=1)
    """local_sgd: steps of each replica between two synchronisations."""
    outer_learning_rate: float = Field(0.7, gt=0)
    """local_sgd: what the mean change of the replicas is multiplied by, as the gradient of an outer
    SGD; with 1, and `outer_momentum` 0, the weights are averaged."""
    outer_momentum: float = Field(0.9, ge=0, lt=1)
    """local_sgd: Nesterov momentum of the outer SGD."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        fields = type(self).model_fields
        for kind, names in BY_KIND.items():
            set_here = [name for name in names if getattr(self, name) != fields[name].default]
            if set_here and kind != self.kind:
                raise ValueError(f"{set_here[0]} goes with kind: {kind}, and kind is {self.kind}")
        return self


# What the server's optimizer is among those of `pretrain.optimizer`.
AS_ORDINARY: dict[ServerOptimizer, str] = {"sgd": "sgd", "momentum": "sgd", "adam": "adamw"}


def server_settings(section: PretrainConfig) -> dict[str, Any]:
    """The settings that a parameter server's optimizer stands for; none of another kind."""
    config = section.asynchronous
    if config.kind != "parameter_server":
        return {}
    return {
        "optimizer": AS_ORDINARY[config.optimizer],
        "momentum": 0.0 if config.optimizer == "sgd" else section.momentum,
        "learning_rate": section.learning_rate or SERVER_LEARNING_RATE[config.optimizer],
    }


def asynchronous_problems(section: PretrainConfig) -> list[str]:
    """What of the section ``pretrain`` does not go with its ``asynchronous``."""
    kind, problems = section.asynchronous.kind, []
    if kind == "parameter_server":
        if section.optimizer != type(section).model_fields["optimizer"].default:
            problems.append("asynchronous.optimizer takes the place of optimizer: leave that out")
        ordinary = AS_ORDINARY[section.asynchronous.optimizer]
        for name in ("adam_learning_rate", "embedding_learning_rate"):
            if getattr(section, name) is not None:
                problems.append(f"{name} goes with optimizer: muon; set learning_rate")
        if section.asynchronous.optimizer == "sgd" and section.optimizer_dtype != "fp32":
            problems.append(f"{ordinary} keeps no moments: leave optimizer_dtype out")
        if (
            section.asynchronous.optimizer != "momentum"
            and section.momentum != type(section).model_fields["momentum"].default
        ):
            problems.append("momentum goes with asynchronous.optimizer: momentum")
        if section.precision == "fp8":
            problems.append(
                f"precision: fp8 does not go with asynchronous.kind: {kind} (workers run the "
                "blocks as they are): set it to bf16"
            )
        if section.compile:
            problems.append(
                f"compile does not go with asynchronous.kind: {kind} (workers run the blocks as "
                "they are): leave it out"
            )
        if section.offload_optimizer:
            problems.append(
                f"offload_optimizer does not go with asynchronous.kind: {kind}, whose server "
                "sends whole weights"
            )
        if section.integrity.replay_every is not None:
            problems.append(
                f"integrity.replay_every does not go with asynchronous.kind: {kind}, whose server "
                "computes no gradients"
            )
        for name in ("batch_size_ramp", "sequence_length_ramp", "changes"):
            if getattr(section, name):
                problems.append(f"{name} does not go with asynchronous.kind: {kind}")
    if kind == "local_sgd":
        if section.ema_decay is not None:
            problems.append("ema_decay does not go with asynchronous.kind: local_sgd")
        if section.clip == "adaptive":
            problems.append("clip: adaptive does not go with asynchronous.kind: local_sgd")
    return problems


def named_after(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of the section's values those that a run is named after: none where it is ``none``."""
    if values["kind"] == "none":
        return {}
    return {"asynchronous": {name: v for name, v in values.items() if name not in WHO_WORKS}}
