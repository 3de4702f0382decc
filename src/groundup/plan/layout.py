"""The fastest layouts of a cluster: all that fit are priced and ranked by the seconds of a step.

`layout_space` says which layouts there are, which fit and why the others are refused; `efficiency`
prices those that fit in one go, as numpy columns. Equal ones stay in the order of the enumeration,
the simplest first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from groundup.architecture.config import ModelConfig
from groundup.errors import BudgetError, ConfigError, InputError
from groundup.plan.efficiency import Shares, expected_of, shares_of
from groundup.plan.efficiency_terms import COMMUNICATION, Job
from groundup.plan.hardware import Chip
from groundup.plan.layout_space import (
    FIELDS,
    RECOMPUTE,
    Found,
    Problem,
    enough_chips,
    enumerate_layouts,
    n_layers_of,
)
from groundup.plan.layout_words import describe, explain
from groundup.plan.limits import require_chips, require_context, require_count
from groundup.plan.memory import USABLE
from groundup.plan.parallelism import Layout, Recompute

MEMORY_KINDS = (
    "weights", "gradients", "optimizer", "activations", "logits", "buffers", "fragmentation",
)  # fmt: skip


@dataclass(frozen=True)
class RankedLayout:
    """One layout that fits, with its predicted step; shares are of the step's seconds."""

    rank: int
    dp: int
    tp: int
    pp: int
    cp: int
    ep: int
    virtual_stages: int
    zero: int
    micro_batch_size: int
    n_micro_batches: int
    recompute: Recompute
    sequence_parallel: bool
    step_seconds: float
    tokens_per_second: float  # of the whole cluster
    model_mfu: float  # by the fitted terms alone; the ranking is by it
    mfu: float  # 6·N + 12·l·w·s FLOPs over the dense peak; never more than was published if unlike
    mfu_low: float  # 8 of 10 published runs like it lie between these
    mfu_high: float
    hfu: float  # with what is computed again
    bubble_fraction: float
    recompute_fraction: float
    exposed_communication_fraction: dict[str, float]
    memory_bytes: dict[str, int]
    memory_fraction: float  # of the device, without the margin for fragments; at most 0.9

    @property
    def layout(self) -> Layout:
        """As the other plans take it."""
        names = (*FIELDS, "ep", "sequence_parallel")
        return Layout(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class Rejection:
    """How many layouts one reason refused, and one of them in words."""

    count: int
    example: str


@dataclass(frozen=True)
class LayoutSearch:
    """The best layouts, and why not the others."""

    ranked: tuple[RankedLayout, ...]
    rejected: dict[str, Rejection]
    considered: int
    fitting: int
    explanation: str


def search(
    config: ModelConfig,
    chip: Chip,
    n_chips: int,
    *,
    global_batch_size: int,
    context_length: int | None = None,
    optimizer: str = "adamw",
    precision: str | None = None,
    flash_attention: bool = True,
    top: int = 10,
    fixed: Mapping[str, int | str] | None = None,
    uneven: bool | None = None,
) -> LayoutSearch:
    """The ``top`` fastest layouts of ``config`` on ``n_chips``.

    Layers must divide over the stages, but for a pipeline that is given (``fixed``).

    Args:
        config: the model.
        chip: with memory, memory bandwidth and links.
        n_chips: all are used.
        global_batch_size: sequences per step.
        context_length: tokens per sequence; None: the model's.
        optimizer: see `memory`.
        precision: of the matmuls; None: what the chip trains in.
        flash_attention: whether the scores stay out of memory.
        top: how many to rank.
        fixed: fields of `FIELDS` that are given, with their values.
        uneven: only layouts whose stages have unequal numbers of layers; None: where the stages
            that are given make it so.

    Raises:
        InputError: a size that is not positive, a chip without memory or bandwidth or this
            precision, an unknown optimizer.
        ConfigError: a fixed field that is unknown, or values that no layout of ``n_chips`` has.
        BudgetError: nothing fits; the nearest is named, with the chips it would need.
    """
    length = config.context_length if context_length is None else context_length
    precision = precision or chip.training_precision
    fixed = _checked(fixed or {})
    if uneven is None:
        chunks = int(fixed.get("pp", 1)) * int(fixed.get("virtual_stages", 1))
        uneven = "pp" in fixed and n_layers_of(config) % chunks > 0
    job = Job(
        config,
        _complete(chip, precision),
        require_context(length),
        require_count(global_batch_size, "global_batch_size"),
        precision,
        flash_attention,
    )
    problem = Problem(job, require_chips(n_chips), optimizer, uneven)
    require_count(top, "top")
    found = enumerate_layouts(problem, fixed)
    if not found.considered:
        given = ", ".join(f"{name} {value}" for name, value in fixed.items())
        raise ConfigError(
            f"no layout of {n_chips} chips has {given or 'unequal stages'}",
            where="layout",
            fix="dp · tp · pp · cp must be the number of chips, micro-batches divide the batch of "
            "a replica, and every factor is a whole number",
        )
    rejected = {reason: Rejection(*entry) for reason, entry in found.rejected.items()}
    if not found.fitting:
        raise _nothing_fits(problem, found)
    shares = _price(job, found.fitting)
    order = np.argsort(-shares.mfu, kind="stable")[:top]  # equal ones stay simplest first
    ranked = tuple(
        _ranked(problem, found.fitting[index], shares, index, rank)
        for rank, index in enumerate(order.tolist(), 1)
    )
    caveats = expected_of(job, ranked[0].layout, ranked[0].model_mfu).notes
    if uneven:
        caveats = (_unequal(config, ranked[0]), *caveats)
    return LayoutSearch(
        ranked=ranked,
        rejected=rejected,
        considered=found.considered,
        fitting=len(found.fitting),
        explanation=explain(ranked, job.chip, found.considered, len(found.fitting), caveats),
    )


def _price(job: Job, rows: Sequence[tuple[int, ...]]) -> Shares:
    """MFU and parts of the step of every layout at once."""
    table = dict(zip(FIELDS, np.array(rows).T, strict=True))
    table["recompute"] = np.array(RECOMPUTE)[table["recompute"]]
    return shares_of(job, SimpleNamespace(**table))


def _ranked(
    problem: Problem, row: tuple[int, ...], shares: Shares, index: int, rank: int
) -> RankedLayout:
    def of(column: Any) -> float:
        return float(column[index]) if np.ndim(column) else float(column)

    job = problem.job
    fields: dict[str, Any] = dict(zip(FIELDS, row, strict=True))
    fields["recompute"] = RECOMPUTE[row[-1]]
    layout = Layout(**fields, sequence_parallel=fields["tp"] > 1)
    memory = problem.memory(layout)
    model_mfu = of(shares.mfu)
    expected = expected_of(job, layout, model_mfu)
    rate = expected.mfu * problem.n_chips * job.chip.peak(job.precision) / job.model_flops
    return RankedLayout(
        rank=rank,
        **{name: getattr(layout, name) for name in (*FIELDS, "ep", "sequence_parallel")},
        n_micro_batches=layout.n_micro_batches(int(job.global_batch_size)),
        step_seconds=job.global_batch_size * job.context_length / rate,
        tokens_per_second=rate,
        model_mfu=model_mfu,
        mfu=expected.mfu,
        mfu_low=expected.low,
        mfu_high=expected.high,
        hfu=of(shares.hfu) * expected.mfu / model_mfu,
        bubble_fraction=of(shares.of("bubble")),
        recompute_fraction=of(shares.of("recomputation")),
        exposed_communication_fraction={kind: of(shares.of(kind)) for kind in COMMUNICATION},
        memory_bytes={kind: getattr(memory, kind) for kind in MEMORY_KINDS},
        memory_fraction=memory.used * USABLE / problem.capacity_bytes,
    )


def _nothing_fits(problem: Problem, found: Found) -> BudgetError:
    """What is nearest, and how many chips would do."""
    where = f"{problem.n_chips} x {problem.job.chip.id}"
    if found.least is None:
        # The batch first: it is the easiest to change.
        order = sorted(found.rejected.items(), key=lambda item: not item[0].startswith("batch"))
        reasons = "; ".join(f"{text} ({name})" for name, (_, text) in order)
        odd = odd_part(problem.n_chips)
        batch = problem.job.global_batch_size
        near = max(1, round(batch / odd)) * odd
        fix = "choose a number of chips and a batch that divide by the same numbers"
        if batch % odd:
            fix = f"take a batch of {near:,} sequences, which divides by {odd:,}, or other chips"
        return BudgetError(f"no layout is possible: {reasons}", where=where, fix=fix)
    memory, layout = found.least
    enough = enough_chips(problem)
    more = f"{enough} such chips would do" if enough else "more chips alone do not help"
    return BudgetError(
        f"nothing fits: the nearest, {describe(layout)}, needs {memory.used / 2**30:.1f} GiB of "
        f"the {problem.capacity_bytes / 2**30:.1f} GiB that may be filled",
        where=where,
        fix=f"{more}; or take a chip with more memory, a smaller model or a shorter context",
    )


def odd_part(n_chips: int) -> int:
    """The number without its factors of two: what tensor ranks and stages seldom take up."""
    return n_chips // (n_chips & -n_chips)


def _unequal(config: ModelConfig, layout: RankedLayout) -> str:
    chunks = layout.pp * layout.virtual_stages
    fullest = -(-n_layers_of(config) // chunks) * layout.virtual_stages
    return (
        f"{n_layers_of(config)} layers do not divide over {layout.pp} stages: the fullest has "
        f"{fullest}, and the others wait for it"
    )


def _complete(chip: Chip, precision: str) -> Chip:
    """The chip, if the catalog says enough to lay a job out on it."""
    chip.peak(precision)
    missing = [name for name in ("memory_bytes", "memory_bandwidth") if getattr(chip, name) is None]
    if missing:
        raise InputError(
            f"the catalog does not say {' and '.join(missing)} of {chip.id}",
            where="chip",
            fix="add it to hardware.csv in the folder of GROUNDUP_CATALOG",
        )
    return chip


def _checked(fixed: Mapping[str, int | str]) -> Mapping[str, int | str]:
    """``fixed``, if these are values that a layout can have."""
    unknown = [name for name in fixed if name not in FIELDS]
    if unknown:
        raise ConfigError(
            f"a layout has no field {unknown[0]!r}",
            where="layout",
            fix=f"use {', '.join(FIELDS)}",
        )
    Layout(**{"pp": 2, **fixed})  # type: ignore[arg-type]  # names its problems
    return fixed
