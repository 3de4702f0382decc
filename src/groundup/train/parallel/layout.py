"""The section ``pretrain.layout``: how the processes of a run divide weights, layers and batch."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from groundup.section import Section
from groundup.units import Count

PipelineSchedule = Literal["gpipe", "1f1b", "interleaved", "zero_bubble"]
MANY_STAGES = ("interleaved", "zero_bubble")  # schedules for several stages a process


def _or_auto(schema: dict[str, Any]) -> None:
    """In the schema of project files: the section, or the word."""
    schema.update(type=["object", "string"], pattern="^auto$")


class LayoutConfig(Section):
    """The kinds of parallelism; the product of all sizes is the number of processes.

    With ``auto`` the fastest layout that the plan finds takes the place of what is left out here.
    """

    model_config = ConfigDict(json_schema_extra=_or_auto)

    auto: bool = False
    """Whether the plan chooses what is left out here, for the processes there are when training
    starts; `layout: auto` leaves out all."""
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
        return {"auto": True} if given == "auto" else given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.sp and self.tp == 1:
            raise ValueError("sp divides tokens over the processes of tp, and tp is 1")
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
