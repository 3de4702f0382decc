"""The section ``pretrain.layout``: how the processes of a run divide weights, layers and batch."""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal, Self, get_args

from pydantic import ConfigDict, Field, model_validator

from groundup.errors import ConfigError
from groundup.section import Section
from groundup.units import Count

Axis = Literal["dp_replicate", "pp", "dp_shard", "cp", "tp"]
AXES: tuple[Axis, ...] = get_args(Axis)  # the last changes fastest: neighbours share most
PipelineSchedule = Literal["gpipe", "1f1b", "interleaved", "zero_bubble"]
MANY_STAGES = ("interleaved", "zero_bubble")  # schedules for several stages a process


def _or_auto(schema: dict[str, Any]) -> None:
    """In the schema of project files: the section, or the word."""
    schema.update(type=["object", "string"], pattern="^auto$")


class LayoutConfig(Section):
    """The kinds of parallelism; the product of all sizes is the number of processes.

    With ``planned`` the fastest layout that the plan finds fills what is left out here.
    """

    model_config = ConfigDict(json_schema_extra=_or_auto)

    planned: bool = False
    """Whether the plan chooses what is left out here, for the processes there are when training
    starts; `layout: auto` is short for this alone."""
    dp_replicate: Count = Field(1, ge=1)
    """Copies of the model; their weights can be compared (`pretrain.integrity.compare_every`)."""
    dp_shard: Count | None = Field(None, ge=1)
    """Processes over which each copy is cut; null: as many as there are for a copy."""
    zero: Literal[1, 2, 3] = 3
    """What of a cut copy each process has a part of only, beside the optimizer's states (1): also
    the gradients (2), also the weights (3)."""
    tp: Count = Field(1, ge=1)
    """Processes that share each layer: heads, the network's features, the vocabulary."""
    sp: bool = False
    """With tp: between the layers each of these processes has a part of the tokens only."""
    cp: Count = Field(1, ge=1)
    """Processes that share each row: each has two pieces of it, one from either end."""
    pp: Count = Field(1, ge=1)
    """Processes that have a part of the layers each, through which the micro-batches pass."""
    vpp: Count = Field(1, ge=1)
    """With schedule interleaved or zero_bubble: parts of the layers that each process of pp has."""
    schedule: PipelineSchedule = "1f1b"
    """With pp: the order in which a process works on its micro-batches, forward and backward."""

    @model_validator(mode="before")
    @classmethod
    def _word_for_auto(cls, given: Any) -> Any:
        if isinstance(given, str) and given != "auto":
            raise ValueError(f"{given!r} is no layout: write auto, or a section such as {{tp: 2}}")
        return {"planned": True} if given == "auto" else given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.sp and self.tp == 1:
            raise ValueError("sp divides tokens over the processes of tp, and tp is 1: set tp too")
        if self.pp == 1 and self.schedule != "1f1b":
            raise ValueError(
                f"schedule {self.schedule} orders the stages of pp, and pp is 1: set pp too"
            )
        if self.vpp > 1 and (self.pp == 1 or self.schedule not in MANY_STAGES):
            raise ValueError(
                f"vpp {self.vpp} needs pp of 2 or more and schedule {' or '.join(MANY_STAGES)}"
            )
        return self

    def size(self) -> int | None:
        """How many processes it asks for; None: any multiple of `least`."""
        return None if self.dp_shard is None else self.least * self.dp_shard

    @property
    def least(self) -> int:
        """Processes without those that shard."""
        return self.dp_replicate * self.tp * self.cp * self.pp


def layout_of(layout: LayoutConfig, size: int) -> dict[str, int]:
    """The size of every axis.

    Raises:
        ConfigError: their product is not ``size``; with the nearest number of processes of this
            layout, and the nearest layout of this number.
    """
    shards = layout.dp_shard or size // layout.least
    if layout.least * shards == size:
        return {
            "dp_replicate": layout.dp_replicate, "pp": layout.pp, "dp_shard": shards,
            "cp": layout.cp, "tp": layout.tp,
        }  # fmt: skip
    enough = nearest_size(layout, size)
    processes = f"{size} process{'' if size == 1 else 'es'}"
    raise ConfigError(
        f"{_product({axis: getattr(layout, axis) or 1 for axis in AXES})} does not come to "
        f"{processes}",
        where="pretrain.layout",
        fix=f"start {enough} (--ranks {enough}, or torchrun --nproc-per-node), or with {processes} "
        f"set it to {nearest_of(layout, size)}, or to auto",
    )


def require_multiple(layout: LayoutConfig, size: int) -> None:
    """Check that the plan can fill what the layout leaves out, if it is the plan that does.

    Raises:
        ConfigError: ``size`` is no multiple of the fields that are set.
    """
    least = layout.least * (layout.dp_shard or 1)
    if layout.planned and size % least:
        raise ConfigError(
            f"{_product({axis: getattr(layout, axis) or 1 for axis in AXES})} is set, and no "
            f"layout of {size} process{'' if size == 1 else 'es'} has it",
            where="pretrain.layout",
            fix=f"start {nearest_size(layout, size)}, or leave it to the plan: layout: auto",
        )


def nearest_size(layout: LayoutConfig, size: int) -> int:
    """The number of processes of this layout, or of one with its fields, nearest to ``size``."""
    least = layout.least * (layout.dp_shard or 1)
    if layout.dp_shard is not None and not layout.planned:
        return least
    return least * max(1, round(size / least))


def nearest_of(layout: LayoutConfig, size: int) -> str:
    """The layout of ``size`` processes that keeps most of this one, in words.

    Axes but dp_shard do not grow: heads and layers that divide by 4 divide by 2, not by 8.
    """
    kept: tuple[Axis, ...] = ("tp", "pp", "cp", "dp_replicate")
    ranges = [[n for n in range(1, getattr(layout, axis) + 1) if size % n == 0] for axis in kept]
    fitting = [sizes for sizes in itertools.product(*ranges) if size % math.prod(sizes) == 0]
    best = max(fitting, key=lambda sizes: (math.prod(sizes[:3]), *sizes))
    found: dict[Axis, int] = dict(zip(kept, best, strict=True))
    words = _product({**found, "dp_shard": size // math.prod(best)})
    words += " with vpp 1" if layout.vpp > 1 and found["pp"] == 1 else ""
    return words + (" without sp" if layout.sp and found["tp"] == 1 else "")


def _product(sizes: dict[Axis, int]) -> str:
    ordered = [(axis, sizes[axis]) for axis in AXES]
    return " × ".join(f"{axis} {n}" for axis, n in ordered if n > 1) or "dp_shard 1"
