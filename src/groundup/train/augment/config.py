"""The section ``pretrain.augment``: what is done at random to the rows that are learnt from."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from groundup.section import Section
from groundup.units import Count


class AugmentConfig(Section):
    """Noise on the training rows, drawn anew whenever a sample comes; never on other splits."""

    token_drop: float = Field(0.0, ge=0, lt=1)
    """Share of the tokens that are left out; the row closes up and ends in padding."""
    span_shuffle: float = Field(0.0, ge=0, le=1)
    """Share of the spans whose tokens change places among themselves."""
    span_length: Annotated[Count, Field(ge=2)] = 3
    """Tokens of such a span."""
    synonyms: str | None = None
    """A file of tab-separated words: one a line, then those that may stand in its place."""
    synonym_rate: float = Field(0.1, gt=0, le=1)
    """Share of the words in that table that are replaced."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        fields = type(self).model_fields
        if not self.span_shuffle and self.span_length != fields["span_length"].default:
            raise ValueError("span_length says nothing without span_shuffle")
        if self.synonyms is None and self.synonym_rate != fields["synonym_rate"].default:
            raise ValueError("synonym_rate says nothing without synonyms")
        return self

    @property
    def is_off(self) -> bool:
        """Whether rows stay as they are."""
        return not (self.token_drop or self.span_shuffle or self.synonyms)
