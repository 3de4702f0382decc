"""What a run will reach and cost, before it starts: laws, memory, time, money. No torch here.

The questions of planning as functions that return dataclasses:

    frontier, loss_by_law, data_constrained_loss      parameters, tokens and loss by every law
    size_from_data, size_from_latency, smaller_longer, inference_optimal
    read_run_table, fit_runs                          a law from a table of runs
    device_memory                                     bytes on each device
    search_layouts                                    the fastest layouts of a cluster
    predict_efficiency, training_time                 MFU, days, chip-hours
    rental, owned, footprint                          money, energy and carbon
    places                                            known models on the map of training
    estimate                                          all of it at once
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from groundup.plan.carbon import footprint
    from groundup.plan.cost import owned, rental
    from groundup.plan.efficiency import predict_efficiency
    from groundup.plan.fit import fit_runs
    from groundup.plan.hardware import find_chip
    from groundup.plan.laws import data_constrained_loss, frontier, loss_by_law
    from groundup.plan.layout import search as search_layouts
    from groundup.plan.lifetime import inference_optimal
    from groundup.plan.megatron import days_by_8tp, megatron_flops, mfu_from_throughput
    from groundup.plan.memory import device_memory
    from groundup.plan.parallelism import Layout
    from groundup.plan.run_table import read_run_table
    from groundup.plan.sizing import size_from_data, size_from_latency, smaller_longer
    from groundup.plan.time import training_time
    from groundup.plan.undertraining import places
    from groundup.plan.whole import estimate
    from groundup.plan.wish import Wish

# name → (module, its name there); imported when first used (PEP 562)
_LAZY = {
    "Layout": ("parallelism", "Layout"),
    "Wish": ("wish", "Wish"),
    "data_constrained_loss": ("laws", "data_constrained_loss"),
    "days_by_8tp": ("megatron", "days_by_8tp"),
    "device_memory": ("memory", "device_memory"),
    "estimate": ("whole", "estimate"),
    "find_chip": ("hardware", "find_chip"),
    "fit_runs": ("fit", "fit_runs"),
    "footprint": ("carbon", "footprint"),
    "frontier": ("laws", "frontier"),
    "inference_optimal": ("lifetime", "inference_optimal"),
    "loss_by_law": ("laws", "loss_by_law"),
    "megatron_flops": ("megatron", "megatron_flops"),
    "mfu_from_throughput": ("megatron", "mfu_from_throughput"),
    "owned": ("cost", "owned"),
    "places": ("undertraining", "places"),
    "predict_efficiency": ("efficiency", "predict_efficiency"),
    "read_run_table": ("run_table", "read_run_table"),
    "rental": ("cost", "rental"),
    "search_layouts": ("layout", "search"),
    "size_from_data": ("sizing", "size_from_data"),
    "size_from_latency": ("sizing", "size_from_latency"),
    "smaller_longer": ("sizing", "smaller_longer"),
    "training_time": ("time", "training_time"),
}
__all__ = [
    "Layout",
    "Wish",
    "data_constrained_loss",
    "days_by_8tp",
    "device_memory",
    "estimate",
    "find_chip",
    "fit_runs",
    "footprint",
    "frontier",
    "inference_optimal",
    "loss_by_law",
    "megatron_flops",
    "mfu_from_throughput",
    "owned",
    "places",
    "predict_efficiency",
    "read_run_table",
    "rental",
    "search_layouts",
    "size_from_data",
    "size_from_latency",
    "smaller_longer",
    "training_time",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'groundup.plan' has no attribute {name!r}")
    import importlib

    module, there = _LAZY[name]
    return getattr(importlib.import_module(f"groundup.plan.{module}"), there)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
