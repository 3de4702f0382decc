"""Batch size and sequence length that grow over the first steps: pure functions of the step.

Batch size: stairs of equal height and equal length, as GPT-3's grew (Brown et al. 2020, appendix B:
linearly over the first billions of tokens). Sequence length: linear as in sequence length warm-up
(Li et al. 2022, arXiv:2108.06084, section 4), rounded down to a divisor of the context length, so
that a row of T tokens becomes T/t rows of t and the tokens of a step stay the same.

    B rows   T context_length   t sequence length
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from groundup.train.batch import Batch
    from groundup.train.config import Settings

Ramp = Mapping[str, Any]  # start: the first size; steps: how long it takes to the full one


def batch_size_at(settings: Settings, step: int) -> int:
    """Rows of the batch of ``step``, from 0."""
    return stair(settings.batch_size, settings.batch_size_ramp, step)


def samples_before(settings: Settings, step: int) -> int:
    """Rows that the first ``step`` steps take, where no batch is left out."""
    return rows_before(settings.batch_size, settings.batch_size_ramp, step)


def sequence_length_at(settings: Settings, step: int) -> int:
    """Tokens of a row of ``step``: the longest divisor of T that the straight line has reached."""
    full, ramp = settings.context_length, settings.sequence_length_ramp
    if ramp is None or step >= ramp["steps"]:
        return full
    reached = ramp["start"] + (full - ramp["start"]) * step // ramp["steps"]
    return next(length for length in range(reached, 0, -1) if full % length == 0)


def stair(full: int, ramp: Ramp | None, step: int) -> int:
    """``start``, 2 · ``start``, … up to ``full``, which stands from ``ramp["steps"]`` on."""
    if ramp is None or step >= ramp["steps"]:
        return full
    start: int = ramp["start"]
    n_stairs = full // start - 1
    # The least of the two: a batch that was made smaller on the way may lie below the start.
    return min(full, start * (1 + step * n_stairs // ramp["steps"])) if n_stairs > 0 else full


def rows_before(full: int, ramp: Ramp | None, step: int) -> int:
    """The sum of `stair` over the steps before ``step``."""
    if ramp is None:
        return full * step
    start, length = ramp["start"], ramp["steps"]
    n_stairs, within = full // start - 1, min(step, length)
    # Stair k (from 1) adds ``start`` from step ceil(k · length / n_stairs) on.
    added = sum(max(0, within + (-k * length) // n_stairs) for k in range(1, n_stairs))
    return start * (within + added) + full * (step - within)


def steps_for(n_rows: int, full: int, ramp: Ramp | None) -> int:
    """The fewest steps that take ``n_rows`` rows, by bisection."""
    low, high = 0, -(-n_rows // (full if ramp is None else ramp["start"]))
    while low < high:
        middle = (low + high) // 2
        low, high = (
            (middle + 1, high) if rows_before(full, ramp, middle) < n_rows else (low, middle)
        )
    return low


def cut_rows(batch: Batch, length: int) -> Batch:
    """The rows [B, T] of a causal batch as [B · T/t, t]; each piece is a text of its own.

    Args:
        length: t, a divisor of T.
    """
    if length == batch.inputs.shape[1]:
        return batch
    cut = replace(
        batch,
        inputs=batch.inputs.reshape(-1, length),
        targets=batch.targets.reshape(-1, length),
    )
    if batch.documents is None:
        return cut
    documents = batch.documents.reshape(-1, length)
    return replace(cut, documents=documents, places=places_in(documents))


def places_in(documents: Tensor) -> Tensor:
    """Place of each token behind the first of its document in its row: [B, t] → [B, t]."""
    columns = documents.new_ones(documents.shape).cumsum(1) - 1
    begins = documents.diff(dim=1, prepend=documents[:, :1]) != 0
    return columns - (columns * begins).cummax(1).values
