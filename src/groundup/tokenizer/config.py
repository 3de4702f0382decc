"""The ``tokenizer`` section of the project file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from groundup.section import Section
from groundup.units import Count

SMALLEST_VOCABULARY = 257  # 256 bytes and the document separator: less cannot spell every text


class TokenizerConfig(Section):
    """How text becomes tokens."""

    kind: Literal["byte_bpe"] = "byte_bpe"
    """Byte-level byte-pair encoding: spells any text, so no token is ever unknown."""

    vocab_size: Annotated[Count, Field(ge=SMALLEST_VOCABULARY)] = 4096
    """Number of tokens, the separator included. 4,096 suits models of a few million parameters:
    more would put most of the parameters into the embedding."""
