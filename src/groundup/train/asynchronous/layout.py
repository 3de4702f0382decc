"""What asynchronous training cannot be combined with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from groundup.errors import ConfigError
from groundup.train.config import Settings

if TYPE_CHECKING:
    from torch import nn


def require_fitting(settings: Settings, axes: Mapping[str, int]) -> None:
    """Check the layout of a run's processes, the size of each axis by name.

    Raises:
        ConfigError: a parameter server in several processes under torchrun; or, of local SGD,
            weights that are cut over processes, or rows that do not come out even.
    """
    kind, size = settings.asynchronous["kind"], math.prod(axes.values())
    require_one_server(kind, size)
    if kind != "local_sgd":
        return
    n_replicas = axes["dp_replicate"]
    others = [f"{axis} {n}" for axis, n in axes.items() if axis != "dp_replicate" and n > 1]
    if others:
        raise ConfigError(
            f"a replica of local_sgd is one process, and the layout has {', '.join(others)}",
            where="pretrain.layout",
            fix=f"set pretrain.layout.dp_replicate to {size} and leave the rest of it out",
        )
    sizes = {settings.batch_size, *(c["batch_size"] for c in settings.changes if "batch_size" in c)}
    if settings.batch_size_ramp is not None:
        sizes.add(settings.batch_size_ramp["start"])
    for n_rows in sorted(sizes):
        if n_rows % n_replicas:
            raise ConfigError(
                f"a batch of {n_rows} rows does not divide evenly over {n_replicas} replicas",
                where="pretrain.batch_size",
                fix=f"set it to a multiple of {n_replicas}",
            )


def require_one_server(kind: str, size: int) -> None:
    """Refuse several processes where one of them would be the parameter server.

    Raises:
        ConfigError: there are.
    """
    if kind == "parameter_server" and size > 1:
        raise ConfigError(
            f"the parameter server is one process, and this is started as {size}",
            where="pretrain.asynchronous.kind",
            fix="start it as one (`groundup pretrain`, or --ranks 1): it starts "
            "pretrain.asynchronous.workers beside itself, and others join with `groundup worker`",
        )


def require_no_profile(settings: Settings, profile: bool) -> None:
    """Refuse to profile the steps of a process that computes none.

    Raises:
        ConfigError: a parameter server is to be profiled.
    """
    if profile and settings.asynchronous["kind"] == "parameter_server":
        raise ConfigError(
            "a parameter server has no steps of its own to profile: its workers compute them",
            where="--profile",
            fix="profile the ordinary run of these settings, with pretrain.asynchronous.kind: none",
        )


def require_no_batch_norm(model: nn.Module) -> None:
    """Refuse a model whose statistics would be those of one process.

    Raises:
        ConfigError: it has a batch norm.
    """
    from torch import nn  # the other questions are asked before torch is needed

    if any(isinstance(module, nn.BatchNorm1d) for module in model.modules()):
        raise ConfigError(
            "a batch norm averages over the rows of one process, not over those of all",
            where="model.norm",
            fix="train without pretrain.asynchronous, or choose a family with another norm",
        )
