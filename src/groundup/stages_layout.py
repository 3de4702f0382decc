"""``pretrain.layout: auto``: the layout that the plan finds fastest for the processes there are.

The number of processes is known when training starts, so the layout is decided then: by the first
process, on the machine that the plan was measured on, once for each number of processes. It is kept
as an artifact, which the other processes read; what the project file says of the layout stays.

On GPUs the search of `plan.layout` ranks every layout, and the first that the trainer can run is
taken. On a CPU processes share one memory and its bandwidth, and nothing is gained by dividing
layers or rows: they shard the model between them, and only where that does not fit is there a
search.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundup.architecture.config import ModelConfig
from groundup.errors import ConfigError, InputError
from groundup.files import write_json
from groundup.plan.hardware import Chip, find_chip
from groundup.plan.layout import LayoutSearch, RankedLayout, search
from groundup.plan.layout_space import RECOMPUTE
from groundup.plan.layout_words import describe
from groundup.plan.local.machine import Machine, read_machine
from groundup.plan.memory import USABLE, device_memory
from groundup.plan.parallelism import Layout, Recompute
from groundup.progress import say
from groundup.stages_ranks import optimizer_of
from groundup.train.config import Settings
from groundup.train.parallel.layout import MANY_STAGES, LayoutConfig, layout_of
from groundup.train.processes import told_number
from groundup.units import format_count

if TYPE_CHECKING:
    from groundup.stages_identity import RunToTrain
    from groundup.stages_work import Work

TOP = 400  # layouts that are asked one after the other whether the trainer can run them
FIELDS = {"tp": "tp", "cp": "cp", "pp": "pp", "vpp": "virtual_stages", "zero": "zero"}  # of both


@dataclass(frozen=True)
class Decided:
    """A layout for the trainer, and what the plan says of it.

    Attributes:
        layout: fields of `LayoutConfig`.
        micro_batch_size: sequences of a pass.
        recompute: what is computed again in the backward pass.
        words: it in one line.
        tokens_per_second: predicted, of all processes; None where the trainer's rates on this
            kind of machine are not in the model.
        considered, fitting: how many layouts there were; 0 where none were searched.
        why: the plan's explanation.
    """

    layout: Mapping[str, Any]
    micro_batch_size: int
    recompute: str
    words: str
    tokens_per_second: float | None
    considered: int
    fitting: int
    why: str


def with_layout(work: Work, run: RunToTrain) -> RunToTrain:
    """``run`` with its layout decided, where the project file leaves it to the plan.

    A run is not named after its layout: another number of processes goes on with the same run.

    Raises:
        ConfigError: no layout that the file allows can be run by so many processes.
        BudgetError: none fits in the memory.
        InputError: the GPU is not in the catalog of the plan.
    """
    given = work.project.pretrain
    if not given.layout.planned:
        return run
    n_ranks, n_local = processes()
    recompute = given.recompute if "recompute" in given.model_fields_set else None
    if n_ranks == 1:
        return with_settings(run, {"layout": LayoutConfig().model_dump()})

    def make(folder: Path) -> Mapping[str, Any]:
        machine = read_machine(work.done["machine"].json("machine.json"))
        model = ModelConfig.from_dict(dict(run.key["model"]))
        decided = decide(model, run.settings, given.layout, machine, n_ranks, n_local,
                         given.micro_batch_size, recompute)  # fmt: skip
        write_json(folder / "layout.json", decided.__dict__)
        rate = decided.tokens_per_second
        say(
            f"layout of {n_ranks} processes: {decided.words}"
            + (f"; predicts {format_count(rate)} tokens/s" if rate else "")
        )
        return {}

    artifact, _ = work.build(
        "layout",
        config={
            "model": run.key["model"],
            "settings": {name: getattr(run.settings, name) for name in DECIDES},
            "given": given.layout.model_dump(exclude_unset=True),
            "micro_batch_size": given.micro_batch_size,
            "recompute": recompute,
            "machine": work.done["machine"].path.name,
            "ranks": n_ranks,
            "ranks_of_a_node": n_local,
        },
        make=make,
    )
    found = artifact.json("layout.json")
    changed = {name: found[name] for name in ("layout", "micro_batch_size", "recompute")}
    return with_settings(run, changed)


def with_settings(run: RunToTrain, changed: Mapping[str, Any]) -> RunToTrain:
    """``run`` with other settings, under its own name; its fingerprint has them too."""
    bits = {name: value for name, value in changed.items() if name in run.key["settings"]}
    key = {**run.key, "settings": {**run.key["settings"], **bits}}
    return replace(run, key=key, settings=replace(run.settings, **changed))


def processes() -> tuple[int, int]:
    """How many processes the run has, and how many of them are on this machine."""
    n_ranks = told_number("WORLD_SIZE", 1)
    return n_ranks, told_number("LOCAL_WORLD_SIZE", n_ranks)


def decide(
    model: ModelConfig,
    settings: Settings,
    given: LayoutConfig,
    machine: Machine,
    n_ranks: int,
    n_local: int,
    micro_batch_size: int | None,
    recompute: Recompute | None,
) -> Decided:
    """The layout for ``n_ranks`` processes.

    Args:
        given: what the project file says of it; fields that it sets are kept.
        machine: of the plan; every node is one like it.
        n_local: processes on one node.
        micro_batch_size, recompute: as the file has them; None: open.

    Raises:
        ConfigError, BudgetError, InputError: see `with_layout`.
    """
    chip = chip_of(machine, settings.precision, n_local)
    if settings.asynchronous["kind"] == "local_sgd":  # each process has a replica of its own
        if "dp_replicate" not in given.model_fields_set:
            given = given.model_copy(update={"dp_replicate": n_ranks})
        copies = all_sharded(model, settings, given, chip, n_ranks, micro_batch_size, recompute)
        if copies is None:
            raise ConfigError(
                f"{n_ranks} replicas of local_sgd do not suit the layout, or not the memory",
                where="pretrain.layout",
                fix="leave the layout's other fields out, or set a smaller model or context_length",
            )
        return copies
    if machine.device == "cpu" and not given.model_fields_set & {"tp", "cp", "pp", "vpp"}:
        sharded = all_sharded(model, settings, given, chip, n_ranks, micro_batch_size, recompute)
        if sharded is not None:
            return sharded
    fixed: dict[str, int | str] = {
        theirs: getattr(given, ours)
        for ours, theirs in FIELDS.items()
        if ours in given.model_fields_set
    }
    if micro_batch_size is not None:
        fixed["micro_batch_size"] = micro_batch_size
    if recompute is not None:
        fixed["recompute"] = recompute
    found = search(
        model,
        chip,
        n_ranks,
        global_batch_size=settings.batch_size,
        context_length=settings.context_length,
        optimizer=optimizer_of(settings),
        precision=settings.precision,
        flash_attention=settings.attention != "bmm",
        top=TOP,
        fixed=fixed,
    )
    ranked, layout = first_possible(model, settings, given, found, n_ranks)
    return Decided(
        layout=layout.model_dump(),
        micro_batch_size=ranked.micro_batch_size,
        recompute=ranked.recompute,
        words=describe(ranked.layout),
        tokens_per_second=ranked.tokens_per_second if machine.device == "cuda" else None,
        considered=found.considered,
        fitting=found.fitting,
        why=found.explanation,
    )


def chip_of(machine: Machine, precision: str, n_local: int) -> Chip:
    """What one process computes with: a GPU of the catalog, or its share of this processor.

    Raises:
        InputError: the catalog does not have the GPU.
    """
    if machine.device == "cuda":
        chip = find_chip(machine.device_name)
        return replace(
            chip, memory_bytes=machine.memory_bytes, node_size=min(chip.node_size, n_local)
        )
    bandwidth = machine.memory_bytes_per_second
    if bandwidth is None:
        raise InputError(
            "the measurements of this machine do not say how fast its memory is",
            where="pretrain.layout",
            fix="remove the artifact of kind `machine` and run again, or set the layout by hand",
        )
    return Chip(
        id=machine.device_name,
        vendor="",
        peak_flops={precision: machine.matmul_flops_per_second / n_local},
        measured_matmul_flops=machine.matmul_flops_per_second / n_local,
        memory_bytes=(machine.memory_bytes - n_local * machine.base_memory_bytes) / n_local,
        memory_bandwidth=bandwidth / n_local,
        # What one process writes and another reads passes the memory twice.
        link_bytes_per_second=bandwidth / n_local / 2,
        node_size=n_local,
        network_bytes_per_second=bandwidth / n_local / 2,
        watts=None,
        usd_per_hour=None,
        low_usd_per_hour=None,
        price_source="",
        price_date=None,
        buy_usd=None,
        note="",
        source="measured",
    )


def all_sharded(
    model: ModelConfig,
    settings: Settings,
    given: LayoutConfig,
    chip: Chip,
    n_ranks: int,
    micro_batch_size: int | None,
    recompute: Recompute | None,
) -> Decided | None:
    """Copies cut over all processes, with the largest micro-batch that fits; None: none does.

    Computing again costs a third of a step, a small micro-batch next to nothing: it comes last.
    """
    layout = given.model_copy(update={"planned": False})
    if n_ranks != (layout.size() or n_ranks) or n_ranks % layout.least:
        return None
    assert chip.memory_bytes is not None
    n_shards, share = n_ranks // layout.least, -(-settings.batch_size // n_ranks)
    sizes = list(sizes_of(settings.batch_size, share, micro_batch_size))
    for again, size in itertools.product([recompute] if recompute else RECOMPUTE, sizes):
        spread = Layout(
            dp=n_shards, zero=layout.zero, micro_batch_size=min(size, share), recompute=again
        )
        memory = device_memory(
            model,
            spread,
            context_length=settings.context_length,
            optimizer=optimizer_of(settings),
            precision=settings.precision,
            flash_attention=settings.attention != "bmm",
        )
        # Buffers are a GPU's: context, libraries, buckets.
        used = memory.used - (memory.buffers if settings.device == "cpu" else 0)
        if used <= USABLE * chip.memory_bytes:
            return Decided(
                layout={**layout.model_dump(), "dp_shard": n_shards},
                micro_batch_size=size,
                recompute=again,
                words=f"dp_replicate {layout.dp_replicate}, {describe(spread)}",
                tokens_per_second=None,
                considered=0,
                fitting=0,
                why=f"each process has 1/{n_shards} of the model, and "
                f"needs {used / 2**20:,.0f} MiB beside what a bare process has",
            )
    return None


def sizes_of(batch_size: int, share: int, given: int | None) -> Iterator[int]:
    """Micro-batches to try, the largest first: the one given, or divisors of the batch."""
    if given is not None:
        yield given
        return
    yield batch_size  # the whole share at once
    yield from (n for n in range(share - 1, 0, -1) if batch_size % n == 0)


def first_possible(
    model: ModelConfig,
    settings: Settings,
    given: LayoutConfig,
    found: LayoutSearch,
    n_ranks: int,
) -> tuple[RankedLayout, LayoutConfig]:
    """The fastest layout that the trainer can run.

    Raises:
        ConfigError: none of them; the reasons are named.
    """
    reasons: dict[str, None] = {}
    for ranked in found.ranked:
        try:
            layout = as_ours(ranked, given)
            sizes = {name: getattr(ranked, name) for name in ("micro_batch_size", "recompute")}
            sized = replace(settings, **sizes)
            require_runnable(model, sized, layout, n_ranks)
        except ConfigError as error:
            reasons[error.message] = None
            continue
        return ranked, layout
    raise ConfigError(
        f"none of the {len(found.ranked)} fastest layouts of {n_ranks} processes can be run",
        where="pretrain.layout",
        problems=tuple(reasons),
        fix="set the layout by hand, or leave fewer of its fields fixed",
    )


def as_ours(ranked: RankedLayout, given: LayoutConfig) -> LayoutConfig:
    """A layout of the plan as the trainer takes it, with what the project file sets.

    Raises:
        ConfigError: the file's copies do not divide its replicas, or the fields contradict.
    """
    copies = ranked.dp if ranked.zero == 0 else 1
    if given.model_fields_set & {"dp_replicate", "dp_shard"}:
        copies = ranked.dp // given.dp_shard if given.dp_shard else given.dp_replicate
    if (
        copies < 1
        or ranked.dp % copies
        or ranked.dp // copies != (given.dp_shard or ranked.dp // copies)
    ):
        raise ConfigError(f"{ranked.dp} replicas are not {given.dp_replicate} copies")
    if ranked.zero == 0 and ranked.cp > 1:
        raise ConfigError("processes that share rows share the optimizer's states too")
    values = {
        "dp_replicate": copies,
        "dp_shard": ranked.dp // copies,
        "zero": ranked.zero or 3,
        "tp": ranked.tp,
        "sp": ranked.sequence_parallel,
        "cp": ranked.cp,
        "pp": ranked.pp,
        "vpp": ranked.virtual_stages,
        "schedule": MANY_STAGES[0] if ranked.virtual_stages > 1 else "1f1b",
        **given.model_dump(exclude_unset=True, include={"zero", "sp", "schedule"}),
    }
    try:
        return LayoutConfig(**values)
    except ValueError as error:
        raise ConfigError(str(error).splitlines()[-1].strip()) from error


def require_runnable(
    model: ModelConfig, settings: Settings, layout: LayoutConfig, n_ranks: int
) -> None:
    """Ask the trainer whether it can run a layout, without making anything.

    Raises:
        ConfigError: it cannot.
    """
    from groundup.train.distributed import Ranks, require_rows
    from groundup.train.parallel.possible import require_possible_config

    axes = layout_of(layout, n_ranks)
    ranks = Ranks(
        size=n_ranks, dp_replicate=axes["dp_replicate"], dp_shard=axes["dp_shard"],
        pp=axes["pp"], cp=axes["cp"], tp=axes["tp"],
    )  # fmt: skip
    require_rows(settings, ranks.n_shares)
    require_possible_config(model, replace(settings, layout=layout.model_dump()), ranks)


# Of the settings, those that a layout is decided by.
DECIDES = (
    "batch_size", "context_length", "optimizer", "optimizer_dtype", "momentum",
    "offload_optimizer", "precision", "attention", "device", "objective", "layer_dropout",
    "batch_size_ramp", "sequence_length_ramp", "changes", "asynchronous",
)  # fmt: skip
