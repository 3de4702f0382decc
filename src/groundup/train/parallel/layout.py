"""The section ``pretrain.layout``: how the processes of a run divide weights and batch."""

from __future__ import annotations

from pydantic import Field

from groundup.section import Section
from groundup.units import Count


class LayoutConfig(Section):
    """Data parallelism: replicas of the model, each cut over some processes (FSDP2)."""

    dp_replicate: Count = Field(1, ge=1)
    """Copies of the model; their weights can be compared (`pretrain.integrity.compare_every`)."""
    dp_shard: Count | None = Field(None, ge=1)
    """Processes over which each copy is cut; null: as many as there are for a copy."""
