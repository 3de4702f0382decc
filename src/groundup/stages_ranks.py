"""The plan's predictions for the processes that a run has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from groundup.architecture.config import ModelConfig
from groundup.plan.local.ranks import Division, predicted_of
from groundup.plan.parallelism import Layout, Recompute
from groundup.plan.states import kept_by
from groundup.train.config import Settings
from groundup.train.parallel.layout import AXES, LayoutConfig, layout_of


def predicted_for(
    plan: Mapping[str, Any], settings: Settings, n_ranks: int, machines: float = 1
) -> dict[str, Any]:
    """What ``plan.json`` predicts of a run by ``n_ranks`` processes; `plan.local.ranks`.

    Args:
        machines: how often they use what one process was measured with; it is kept for the price.

    Raises:
        ConfigError: the layout is not of so many processes.
    """
    if n_ranks == 1:
        return {**plan["predicted"], "band": plan["band"]}
    found = predicted_of(
        plan,
        ModelConfig.from_dict(plan["model"]),
        division_of(settings, n_ranks),
        context_length=settings.context_length,
        optimizer=optimizer_of(settings),
        flash_attention=settings.attention != "bmm",
    )
    return {**found, "of": {**found["of"], "machines": machines}}


def division_of(settings: Settings, n_ranks: int) -> Division:
    """A layout of the trainer as the plan's memory knows it.

    Raises:
        ConfigError: it is not one of so many processes.
    """
    layout = LayoutConfig(**settings.layout)
    axes = layout_of(layout, n_ranks)
    rows = -(-settings.batch_size // (axes["dp_replicate"] * axes["dp_shard"]))
    size = min(settings.micro_batch_size, rows)
    words = ", ".join(f"{axis} {axes[axis]}" for axis in AXES if axes[axis] > 1)
    cut = axes["dp_shard"] * axes["cp"] > 1
    return Division(
        processes=n_ranks,
        words=words + (f", zero {layout.zero}" if cut else "") + (", sp" if layout.sp else ""),
        layout=Layout(
            dp=axes["dp_shard"], tp=axes["tp"], pp=axes["pp"], cp=axes["cp"],
            virtual_stages=layout.vpp, zero=layout.zero if cut else 0, micro_batch_size=size,
            recompute=cast(Recompute, settings.recompute), sequence_parallel=layout.sp,
        ),
        alone=min(settings.micro_batch_size, settings.batch_size),
        n_micro_batches=-(-rows // size),
        keeps_all=layout.schedule == "gpipe",
    )  # fmt: skip


def optimizer_of(settings: Settings) -> str:
    """As the plan's memory knows it."""
    return kept_by(settings.optimizer, settings.momentum, settings.optimizer_dtype)
