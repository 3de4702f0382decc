"""One step's batch as tensors, and what of it a model must be told beside the tokens.

Legend: B rows, T inputs, U inputs of a decoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from groundup.model.masks import Mask
from groundup.tokens.samples import IGNORED


@dataclass(frozen=True)
class Batch:
    """Some rows; all tensors int64 but the padding.

    Attributes:
        inputs: [B, T].
        targets: [B, T], or [B, U] beside decoder inputs; `IGNORED` where nothing is predicted.
        decoder_inputs: [B, U], of an encoder-decoder.
        padding: [B, T] bool, True where a token stands; None: everywhere.
        prefix: [B], so many inputs see one another both ways.
        token_types: [B, T].
        order: [B, T], rank in the order of factorisation.
        sentence_labels: [B].
        documents, places: [B, T], where attention stays within documents.
        columns: [B, t], where in its row each token stands, if these are only some of them: then
            inputs, targets, token_types and places are [B, t], and what masks are made of [B, T].
    """

    inputs: Tensor
    targets: Tensor
    decoder_inputs: Tensor | None = None
    padding: Tensor | None = None
    prefix: Tensor | None = None
    token_types: Tensor | None = None
    order: Tensor | None = None
    sentence_labels: Tensor | None = None
    documents: Tensor | None = None
    places: Tensor | None = None
    columns: Tensor | None = None

    @property
    def about(self) -> dict[str, Any]:
        """The arguments of `Transformer.hidden` beside the tokens."""
        mask = Mask(
            prefix=self.prefix,
            padding=self.padding,
            documents=self.documents,
            queries=None if self.columns is None else self.columns[0],
        )
        return {"mask": mask, "token_types": self.token_types, "places": self.places}

    def to(self, device: str) -> Batch:
        """The same on ``device``."""
        moved = {name: x.to(device, non_blocking=True) for name, x in self._tensors()}
        return replace(self, **moved)

    def pinned(self) -> Batch:
        """The same in pinned memory, for a GPU to fetch while the processor goes on."""
        # What was expanded has several numbers in one place, and could not be written there.
        pinned = {name: x.contiguous().pin_memory() for name, x in self._tensors()}
        return replace(self, **pinned)

    def split(self, size: int) -> Iterator[Batch]:
        """Micro-batches of ``size`` rows."""
        for start in range(0, len(self.inputs), size):
            yield self.rows(slice(start, start + size))

    def rows(self, which: slice | Tensor) -> Batch:
        """Some of the rows."""
        return replace(self, **{name: x[which] for name, x in self._tensors()})

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                yield field.name, value


@dataclass(frozen=True)
class Counts:
    """What the sums of a step's losses are divided by, however the step is cut.

    Attributes:
        targets, tokens: scalars on the device: no one waits for them.
        rows: of the whole step.
    """

    targets: Tensor
    tokens: Tensor
    rows: int

    def to(self, device: str) -> Counts:
        """The same on ``device``."""
        targets, tokens = (x.to(device, non_blocking=True) for x in (self.targets, self.tokens))
        return Counts(targets, tokens, self.rows)

    def pinned(self) -> Counts:
        """The same in pinned memory."""
        return Counts(self.targets.pin_memory(), self.tokens.pin_memory(), self.rows)


def counts_of(batch: Batch) -> Counts:
    """The counts of a whole step."""
    targets = (batch.targets != IGNORED).sum()
    if batch.padding is None:
        tokens = torch.tensor(batch.inputs.numel(), device=batch.inputs.device)
    else:
        tokens = batch.padding.sum()
    return Counts(targets, tokens, len(batch.inputs))


def from_arrays(arrays: Mapping[str, Any]) -> Batch:
    """A batch of what `noise.example.collate` gives; padding is left out where there is none."""
    tensors = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in arrays.items()}
    tensors.pop("decoder_padding", None)  # a causal decoder's padding is behind all that it reads
    if bool(tensors["padding"].all()):
        del tensors["padding"]
    return Batch(**tensors)


def lengthened(batch: Batch, multiple: int) -> Batch:
    """``batch`` with rows, of a decoder's inputs too, that ``multiple`` divides.

    What is added is padding without targets: no other token sees it, and no loss counts it.
    """
    n_tokens, n_outputs = batch.inputs.shape[1], batch.targets.shape[1]
    more, more_outputs = -n_tokens % multiple, -n_outputs % multiple
    if not (more or more_outputs):
        return batch

    def longer(name: str, n: int, value: int) -> Any:
        x = getattr(batch, name)
        return None if x is None else F.pad(x, (0, n), value=value)

    padding = batch.padding
    if padding is None and more:
        padding = torch.ones_like(batch.inputs, dtype=torch.bool)
    return replace(
        batch,
        inputs=longer("inputs", more, 0),
        targets=longer("targets", more_outputs, IGNORED),
        decoder_inputs=longer("decoder_inputs", more_outputs, 0),
        padding=None if padding is None else F.pad(padding, (0, more), value=False),
        token_types=longer("token_types", more, 0),
        order=longer("order", more, n_tokens),
        documents=longer("documents", more, -1),
        places=longer("places", more, 0),
    )


def within_documents(batch: Batch, separator_id: int) -> Batch:
    """``batch`` with attention that stays within documents, each of which starts at place 0."""
    begins = batch.inputs == separator_id
    documents = begins.cumsum(1)
    columns = torch.arange(batch.inputs.shape[1]).expand_as(batch.inputs)
    first = torch.where(begins, columns, 0).cummax(1).values
    return replace(batch, documents=documents, places=columns - first)
