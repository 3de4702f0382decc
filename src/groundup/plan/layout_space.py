"""Every layout of a cluster: those that fit, and why the others do not.

All (dp, tp, pp, cp) whose product is the number of chips, with every number of virtual stages,
stage of ZeRO, micro-batch and recomputation (ep is 1; sequence parallelism goes with tp > 1, where
it saves memory and moves the same bytes). Refused, in this order: tensor parallel wider than a
node; heads, widths or layers that do not divide; a context or batch that does not; micro-batches
that do not come in whole groups of stages where those are interleaved (Megatron-LM's demand);
memory over 90 % of the device.

Memory grows with the micro-batch and falls with recomputation, so the largest micro-batch that fits
is looked for, not each tried; and where weights, gradients and optimizer alone are too much, so is
all else: a hundred thousand layouts take some ten thousand looks.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from groundup.architecture.config import ModelConfig
from groundup.plan.communication import sums_in_fp32
from groundup.plan.efficiency_terms import Job
from groundup.plan.layout_words import describe
from groundup.plan.memory import USABLE, DeviceMemory, check_divides, device_memory
from groundup.plan.parallelism import Layout, Recompute

RECOMPUTE: tuple[Recompute, ...] = ("none", "selective", "full")
MESH = ("dp", "tp", "pp", "cp")
FIELDS = (*MESH, "virtual_stages", "zero", "micro_batch_size", "recompute")
MOST_UNEVEN = 0.10  # of the layers that stages of unequal size may lack; beyond it nobody goes


@dataclass(frozen=True)
class Problem:
    """What is spread, over how many chips."""

    job: Job
    n_chips: int
    optimizer: str
    uneven: bool = False  # only layouts whose stages have unequal numbers of layers

    @property
    def capacity_bytes(self) -> float:
        """What may be filled of a device."""
        assert self.job.chip.memory_bytes is not None  # the search refuses such chips
        return USABLE * self.job.chip.memory_bytes

    def memory(self, layout: Layout) -> DeviceMemory:
        """Of the fullest device, with gradients as they are summed."""
        return device_memory(
            filled(self.job.config, layout.pp * layout.virtual_stages),
            layout,
            context_length=self.job.context_length,
            optimizer=self.optimizer,
            precision=self.job.precision,
            flash_attention=self.job.flash_attention,
            fp32_gradients=bool(sums_in_fp32(layout.zero)),
        )


def n_layers_of(config: ModelConfig) -> int:
    """Layers that stages share out, of both stacks."""
    return config.n_layers + config.n_encoder_layers


def filled(config: ModelConfig, chunks: int) -> ModelConfig:
    """The model with layers added until they divide: every stage then is like the fullest."""
    missing = -n_layers_of(config) % chunks
    return dataclasses.replace(config, n_layers=config.n_layers + missing) if missing else config


@dataclass
class Found:
    """What the enumeration leaves."""

    fitting: list[tuple[int, ...]] = field(default_factory=list)  # FIELDS; recompute as its place
    rejected: dict[str, tuple[int, str]] = field(default_factory=dict)
    considered: int = 0
    least: tuple[DeviceMemory, Layout] | None = None  # of those that only memory refuses

    def refuse(self, reason: str, count: int, example: Callable[[], str]) -> None:
        """Count ``count`` layouts under ``reason``; the first of a reason is its example."""
        self.considered += count
        entry = self.rejected.get(reason)
        self.rejected[reason] = (entry[0] + count, entry[1]) if entry else (count, example())

    def too_large(self, problem: Problem, count: int, layout: Layout) -> None:
        """Refuse ``count`` layouts for their memory; ``layout`` is one of them."""

        def example() -> str:
            return f"{describe(layout)} needs {problem.memory(layout).used / 2**30:.1f} GiB"

        self.refuse(f"memory over {USABLE:.0%} of the device", count, example)


def enumerate_layouts(problem: Problem, fixed: Mapping[str, int | str]) -> Found:
    """Every layout, refused with a reason or fitting; simple ones come first."""

    def allowed(name: str, values: Sequence[Any]) -> list[Any]:
        return [value for value in values if name not in fixed or value == fixed[name]]

    found = Found()
    n_layers = n_layers_of(problem.job.config)
    for mesh in _meshes(problem.n_chips):
        if any(name in fixed and fixed[name] != getattr(mesh, name) for name in MESH):
            continue
        dp, pp = mesh.dp, mesh.pp
        per_replica, uneven = divmod(int(problem.job.global_batch_size), dp)
        if problem.uneven:
            chunks = _uneven_chunks(n_layers, pp, "pp" in fixed)
        else:
            chunks = _divisors(n_layers // pp) if pp > 1 and n_layers % pp == 0 else [1]
        if problem.job.config.stack == "encoder-decoder":
            chunks = chunks and [1]  # an encoder with a decoder cannot be interleaved
        chunks = allowed("virtual_stages", chunks)
        zeros = allowed("zero", (0, 1, 2, 3) if dp * mesh.cp > 1 else (0,))
        recomputes = allowed("recompute", RECOMPUTE)
        batches = allowed("micro_batch_size", [1] if uneven else _divisors(per_replica))
        count = len(zeros) * len(recomputes) * len(batches)
        refusal = _undivided(problem, mesh, uneven)
        if refusal and count and chunks:
            reason, text = refusal
            found.refuse(reason, count * len(chunks), lambda text=text: text)  # type: ignore[misc]
        if refusal or not count:
            continue
        whole: list[tuple[int, list[int]]] = []  # chunks and the micro-batches that go with them
        for v in chunks:
            even = [b for b in batches if v == 1 or per_replica // b % pp == 0]
            if len(even) < len(batches):
                found.refuse(
                    "micro-batches do not divide over interleaved stages",
                    (len(batches) - len(even)) * len(zeros) * len(recomputes),
                    lambda v=v, pp=pp: (  # type: ignore[misc]
                        f"pp {pp} with {v} virtual stages takes {pp} micro-batches at a time"
                    ),
                )
            if even:
                whole.append((v, even))
        for zero in zeros:
            _keep_fitting(problem, mesh, zero, whole, recomputes, found)
    return found


def _uneven_chunks(n_layers: int, pp: int, given: bool) -> list[int]:
    """Virtual stages of a pipeline that does not divide: those whose fullest stage is no fuller."""
    fullest = math.ceil(n_layers / pp)
    if pp >= n_layers or (not given and fullest * pp > (1 + MOST_UNEVEN) * n_layers):
        return []
    return [v for v in _divisors(fullest) if n_layers % (pp * v)]


def _keep_fitting(
    problem: Problem,
    mesh: Layout,
    zero: int,
    whole: Sequence[tuple[int, list[int]]],
    recomputes: Sequence[Recompute],
    found: Found,
) -> None:
    """Add the layouts that fit; of each kind, those up to the largest micro-batch that does."""
    row = (mesh.dp, mesh.tp, mesh.pp, mesh.cp)
    for index, (v, batches) in enumerate(whole):
        frugal = _with(mesh, v, zero, recomputes[-1], batches[0])
        memory = problem.memory(frugal)
        if memory.used > problem.capacity_bytes:
            if found.least is None or memory.used < found.least[0].used:
                found.least = memory, frugal
            # States that are too much alone are so with any number of virtual stages.
            states = memory.weights + memory.gradients + memory.optimizer
            rest = whole[index:] if states > problem.capacity_bytes else whole[index : index + 1]
            count = len(recomputes) * sum(len(batches) for _, batches in rest)
            found.too_large(problem, count, frugal)
            if states > problem.capacity_bytes:
                return
            continue
        n_fit = 0
        for recompute in recomputes:
            layout = _with(mesh, v, zero, recompute, batches[0])
            n_fit = _n_fitting(problem, layout, batches, n_fit)
            place = RECOMPUTE.index(recompute)
            found.fitting += [(*row, v, zero, batch, place) for batch in batches[:n_fit]]
            found.considered += n_fit
            if n_fit < len(batches):
                refused = _with(mesh, v, zero, recompute, batches[n_fit])
                found.too_large(problem, len(batches) - n_fit, refused)


def _n_fitting(problem: Problem, layout: Layout, batches: Sequence[int], n_known: int) -> int:
    """How many of the rising ``batches`` fit, of which the first ``n_known`` surely do.

    Memory falls with recomputation, so what fits with less of it fits with more. Activations grow
    with the micro-batch, so what the first leaves free bounds the largest; mostly it is that one.
    """

    def memory(batch: int) -> DeviceMemory:
        spread = _with(layout, layout.virtual_stages, layout.zero, layout.recompute, batch)
        return problem.memory(spread)

    if n_known == len(batches):
        return n_known
    batch = batches[n_known]
    first = memory(batch)
    if first.used > problem.capacity_bytes:
        return n_known
    growth = max((first.activations + first.logits) / batch, 1)
    most = batch + (problem.capacity_bytes - first.used) / growth
    n_possible = bisect.bisect_right(batches, most)
    if n_possible == n_known + 1 or memory(batches[n_possible - 1]).used <= problem.capacity_bytes:
        return n_possible
    return bisect.bisect_left(
        batches,
        True,
        lo=n_known + 1,
        hi=n_possible - 1,
        key=lambda batch: memory(batch).used > problem.capacity_bytes,
    )


def _with(
    mesh: Layout, virtual_stages: int, zero: int, recompute: Recompute, micro_batch_size: int
) -> Layout:
    """As `dataclasses.replace`, without the checks: these values come from here."""
    layout = object.__new__(Layout)
    layout.__dict__.update(
        mesh.__dict__,
        virtual_stages=virtual_stages,
        zero=zero,
        recompute=recompute,
        micro_batch_size=micro_batch_size,
    )
    return layout


def _undivided(problem: Problem, mesh: Layout, uneven: int) -> tuple[str, str] | None:
    """Why no layout of this mesh can be: the reason, and it in words."""
    job = problem.job
    if mesh.tp > job.chip.node_size:
        text = f"tp {mesh.tp} on nodes of {job.chip.node_size} chips"
        return "tensor parallel wider than a node", text
    reasons = check_divides(filled(job.config, mesh.pp) if problem.uneven else job.config, mesh)
    if reasons:
        kind = next((word for word in ("head", "layer", "feed-forward") if word in reasons[0]), "")
        named = {"head": "heads", "layer": "layers", "feed-forward": "feed-forward width"}
        return f"{named.get(kind, 'sizes')} do not divide", reasons[0]
    if mesh.cp > 1 and job.context_length % (2 * mesh.cp):
        text = f"{job.context_length} tokens in a head and a tail part for each of cp {mesh.cp}"
        return "context does not divide", text
    if uneven:
        return "batch does not divide", f"{job.global_batch_size} sequences over dp {mesh.dp}"
    return None


def enough_chips(problem: Problem, doublings: int = 12) -> int | None:
    """The first doubling of the chips on which the most frugal layouts fit."""
    capacity = problem.capacity_bytes
    for n_chips in (problem.n_chips << k for k in range(1, doublings + 1)):
        for mesh in _meshes(n_chips):
            if _undivided(problem, mesh, int(problem.job.global_batch_size) % mesh.dp):
                continue
            frugal = _with(mesh, 1, 3 if mesh.dp * mesh.cp > 1 else 0, "full", 1)
            if problem.memory(frugal).used <= capacity:
                return n_chips
    return None


def _meshes(n_chips: int) -> Iterator[Layout]:
    """Every (dp, tp, pp, cp) of that product, the least split first."""
    for pp in _divisors(n_chips):
        for cp in _divisors(n_chips // pp):
            for tp in _divisors(n_chips // pp // cp):
                dp = n_chips // pp // cp // tp
                yield Layout(dp=dp, tp=tp, pp=pp, cp=cp, sequence_parallel=tp > 1)


def _divisors(number: int) -> list[int]:
    small = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    return sorted({*small, *(number // n for n in small)})
