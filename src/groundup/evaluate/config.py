"""The ``evaluate`` section of the project file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from groundup.section import Section
from groundup.units import Bytes, Count


class EvaluateConfig(Section):
    """What is measured on the finished model."""

    split: Literal["test", "validation"] = "test"
    """Documents to measure on. ``test`` is used for nothing else: not for training, not for
    choosing anything."""

    max_bytes: Annotated[Bytes, Field(ge=1)] | None = 4_000_000
    """Text to measure on, at most: whole documents, chosen by a hash, the same for every yardstick
    and for the validation at the end of training. 4 MB are some million tokens, and measuring on
    them about the work of training on as many; null measures on all."""

    n_completions: Annotated[Count, Field(ge=1)] = 60
    """Prompts to complete. 60 leave the parse rate uncertain by about 12 points either way."""

    max_new_tokens: Annotated[Count, Field(ge=1)] = 110
    """Tokens a completion may have; at most half the context. 110 are some 400 bytes of code."""

    temperature: Annotated[float, Field(ge=0)] = 0.7
    """Below 1 sharpens the distribution that is sampled from; 0 takes the likeliest token."""

    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Sample among the likeliest tokens that make up this probability (Holtzman et al. 2020)."""

    repetition_penalty: Annotated[float, Field(ge=1)] = 1.0
    """Divides the logits of tokens already there (Keskar et al. 2019); 1 is off. Off because it
    weighs differently on a network's logits and on the n-gram model's log-probabilities."""
