"""The section ``pretrain.integrity``: how often hardware is caught lying."""

from __future__ import annotations

from pydantic import Field

from groundup.section import Section
from groundup.units import Count


class IntegrityConfig(Section):
    """Checks against silent corruption. They change no bit of a healthy run."""

    checksum_every: Count | None = Field(None, ge=1)
    """Steps between checks that the weights are those that the last update left; null: never."""
    compare_every: Count | None = Field(100, ge=1)
    """Steps between comparisons of the weights' hashes across replicas; null: never. Without
    replicas (`pretrain.layout.dp_replicate` 1) there is nothing to compare."""
    replay_every: Count | None = Field(None, ge=1)
    """Steps between steps whose gradients are computed twice and compared bit by bit; null:
    never."""
