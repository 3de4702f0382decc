"""A prediction for one process, as far as it holds for several that share the work.

The plan measures one process. Of several it is known what each holds, but not what they lose by
telling each other and waiting: on the cores of one machine that is often more than they gain. So
the loss stays as predicted (a layout does not change it), memory is that of the fullest process,
and duration, speed, cost and energy are not predicted.

    peak = base + max(training, looking)
    training    each part of one process × its share by `plan.memory` (`shares`)
    looking     own weights and optimizer state, and the whole weights: validation and samples are
                computed on a copy

What a block of a cut model puts together while it runs is not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from groundup.architecture.config import ModelConfig
from groundup.errors import ConfigError
from groundup.plan.memory import device_memory, in_flight
from groundup.plan.parallelism import Layout

OF_ONE = ("duration_seconds", "tokens_per_second", "cost_usd", "energy_kwh")
PARTS = ("weights", "gradients", "optimizer", "activations", "logits")


@dataclass(frozen=True)
class Division:
    """How processes share a training.

    Attributes:
        processes: how many there are.
        words: the layout, for people.
        layout: of one copy of the model; its ``dp`` are the processes that cut it, and its
            micro-batch is what one process passes through at once.
        alone: rows that one process alone passes through at once.
        n_micro_batches: of a step, on each process.
        keeps_all: whether a pipeline keeps the activations of all of them (GPipe).
    """

    processes: int
    words: str
    layout: Layout
    alone: int
    n_micro_batches: int
    keeps_all: bool = False


def predicted_of(
    plan: Mapping[str, Any],
    model: ModelConfig,
    division: Division,
    *,
    context_length: int,
    optimizer: str,
    flash_attention: bool,
) -> dict[str, Any]:
    """The predictions of ``plan`` for these processes, with its band and what they are for.

    Args:
        plan: content of ``plan.json``.
        model: as it is trained.
        division: of more than one process.
        context_length: tokens of a row.
        optimizer: a key of `states.OPTIMIZERS`.
        flash_attention: whether attention scores are never kept.
    """
    part = shares(
        model, division, context_length=context_length, optimizer=optimizer,
        flash_attention=flash_attention,
    )  # fmt: skip
    return {
        **plan["predicted"],
        **dict.fromkeys(OF_ONE),
        "peak_memory_bytes": None if part is None else peak(plan["memory"], part),
        "band": {name: ends for name, ends in plan["band"].items() if name not in OF_ONE},
        "of": {"processes": division.processes, "layout": division.words},
    }


def peak(memory: Mapping[str, float], part: Mapping[str, float]) -> int:
    """Bytes of the fullest process at its peak.

    Args:
        memory: of one process alone, by the fields of `peak.MemoryParts`.
        part: from `shares`.
    """
    own = {name: memory[name] * part[name] for name in PARTS}
    looking = own["weights"] + own["optimizer"] + memory["weights"]
    return round(memory["base"] + max(sum(own.values()), looking))


def shares(
    model: ModelConfig,
    division: Division,
    *,
    context_length: int,
    optimizer: str,
    flash_attention: bool,
) -> dict[str, float] | None:
    """What the fullest process has of each of `PARTS`, against one process alone.

    None where the memory model has no such layout.
    """
    layout = division.layout

    def parts(of: Layout, n_micro_batches: int) -> dict[str, float]:
        found = device_memory(
            model, of, context_length=context_length, optimizer=optimizer, precision="fp32",
            flash_attention=flash_attention, n_micro_batches=n_micro_batches,
        )  # fmt: skip
        return {name: getattr(found, name) for name in PARTS}

    try:
        here = parts(layout, division.n_micro_batches)
    except ConfigError:
        return None
    alone = parts(replace(Layout(), micro_batch_size=division.alone, recompute=layout.recompute), 1)
    found = {name: here[name] / alone[name] if alone[name] else 1.0 for name in PARTS}
    if layout.zero in (1, 2):  # beside the weights that are put together lie the pieces
        found["weights"] += found["weights"] / (layout.dp * layout.cp)
    if division.keeps_all:
        kept = in_flight(0, layout.pp, 1, division.n_micro_batches)
        found["activations"] *= division.n_micro_batches / kept
    return found


def comparable(
    predicted: Mapping[str, Any], events: Iterable[Mapping[str, Any]]
) -> Mapping[str, Any]:
    """What of a prediction can be held against the run: little, if its processes changed.

    Args:
        events: of the run.
    """
    changed = [event.get("changed") or () for event in events if event.get("event") == "resumed"]
    if not any(key.startswith("ranks") for keys in changed for key in keys):
        return predicted
    of = {"processes": None, "layout": "not the same throughout"}
    return {**predicted, **dict.fromkeys((*OF_ONE, "peak_memory_bytes")), "of": of}


def said_of(predicted: Mapping[str, Any]) -> str | None:
    """Whom a run's predictions are for, where it is not one process."""
    of = predicted.get("of")
    if not of:
        return None
    if of["processes"] is None:
        return (
            "The run went on with another number of processes: its duration and its memory are "
            "of neither, and compared with no prediction."
        )
    return (
        f"The run had {of['processes']} processes ({of['layout']}), and the plan measured one. "
        "Memory is that of the fullest process. Duration, speed, cost and energy were not "
        "predicted: they depend on what the processes tell each other."
    )
