"""The ``model`` section of the project file: which family, how large."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from groundup.architecture.config import Init
from groundup.architecture.families import build, require_family, require_variant
from groundup.architecture.started import started
from groundup.errors import ConfigError
from groundup.section import Section
from groundup.units import Count

_ANY_SIZES = {"vocab_size": 8, "n_layers": 2, "d_model": 64, "context_length": 8}  # for checks
Size = Annotated[Count, Field(gt=0)]


class ModelSection(Section):
    """The network to train. Leave the sizes out and the plan chooses them from the budget."""

    family: str = "nanochat"
    """The architecture, by the name of a family (`groundup model list` shows all). nanochat learns
    fastest in a small budget (docs/experiments.md)."""
    variant: dict[str, Any] = Field(default_factory=dict)
    """What else the family's function takes, for example ``{tie_embeddings: true}`` for llama or
    ``{n_encoder_layers: 2}`` for t5."""
    init: Init | None = None
    """How the weights start (docs/model.md has the table); null: as the family's do. t-fixup takes
    the norms out and needs no warm-up; mup lets a learning rate serve all widths."""
    mup_base_width: Size | None = None
    """With init mup: the d_model whose learning rates are known."""
    n_layers: Size | None = None
    """Number of blocks. Given together with d_model, or chosen by the plan."""
    d_model: Size | None = None
    """Width of the residual stream. Given together with n_layers, or chosen by the plan."""
    n_heads: Size | None = None
    """Query heads. By default as many as give heads of 64."""
    n_kv_heads: Size | None = None
    """Key/value heads, shared by groups of query heads. By default one for each query head."""
    d_ff: Size | None = None
    """Width of the feed-forward network. By default the family's rule: 4·d, or 8/3·d for llama."""
    context_length: Size = 256
    """Most tokens the model sees at once. 256 is some 20 lines of code: cheap on a CPU."""

    @model_validator(mode="after")
    def _variant_is_known(self) -> Self:
        if strange := [name for name in self.variant if name in type(self).model_fields]:
            raise ValueError(f"variant: {strange[0]} is a key of its own: model.{strange[0]}")
        if "vocab_size" in self.variant:
            raise ValueError("variant: vocab_size is the tokenizer's: tokenizer.vocab_size")
        try:
            require_variant(self.family, self.variant)
            build(self.family, **_ANY_SIZES, **self.variant)
        except ConfigError as error:
            words = "; ".join(error.problems) or f"{error.message} ({error.fix})"
            raise ValueError(f"variant: {words}") from error
        return self

    @field_validator("family")
    @classmethod
    def _is_known(cls, family: str) -> str:
        try:
            require_family(family)
        except ConfigError as error:
            raise ValueError(f"{error.message}; {error.fix}") from error
        return family

    @model_validator(mode="after")
    def _sizes_come_together(self) -> Self:
        if (self.n_layers is None) != (self.d_model is None):
            raise ValueError(
                "n_layers and d_model are given both or not at all (then the plan chooses them)"
            )
        if self.n_layers is None:
            given = [n for n in ("n_heads", "n_kv_heads", "d_ff") if getattr(self, n) is not None]
            if given:
                raise ValueError(
                    f"{' and '.join(given)} needs n_layers and d_model, which the plan would choose"
                )
        return self

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        if self.n_layers is not None and self.d_model is not None:
            sizes = self.model_dump(exclude={"family", "variant", "init", "mup_base_width"})
            try:
                # The tokenizer decides the real vocabulary.
                config = build(self.family, vocab_size=1, **sizes, **self.variant)
                started(config, self.init, self.mup_base_width)
            except ConfigError as error:
                words = "; ".join(error.problems) or error.message
                raise ValueError(f"{words}; {error.fix}" if error.fix else words) from error
        return self
