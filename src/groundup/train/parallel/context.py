"""Context parallelism: the processes of cp share every row of a batch.

Each has the tokens of two pieces of the row, the k-th from the start and the k-th from the end, so
that under a causal mask all have as many pairs of query and key to compare. Everything but
attention works on tokens one by one; there the keys and values of all processes are put together,
and their gradients summed back (Llama 3, arXiv:2407.21783, section 3.3.2, does the same).

    B rows   T tokens of a row   C processes   G key/value heads   E head size
    the row in 2C pieces:  0 1 2 … 2C-1;  process k has the pieces k and 2C-1-k
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from groundup.architecture.config import ModelConfig
from groundup.model.masks import Mask
from groundup.model.positions import Places, numbers
from groundup.model.sdpa import sdpa
from groundup.model.transformer import Transformer, counted_places
from groundup.train.batch import Batch, lengthened
from groundup.train.distributed import Ranks
from groundup.train.parallel.collectives import gathered, together

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.distributed import ProcessGroup


def columns_of(process: int, n_processes: int, n_tokens: int) -> Tensor:
    """Where in its row each token of a process stands: [T/C] int64, ascending."""
    length = n_tokens // (2 * n_processes)
    piece = torch.arange(length)
    return torch.cat((piece + process * length, piece + (2 * n_processes - 1 - process) * length))


def in_order(pieces: Tensor, n_processes: int, dim: int) -> Tensor:
    """What `together` gives, as it stands in the row."""
    parts = pieces.chunk(2 * n_processes, dim)  # 0, 2C-1, 1, 2C-2, …
    return torch.cat((*parts[::2], *parts[::-2]), dim)


def tokens_of(batch: Batch, config: ModelConfig, ranks: Ranks) -> Batch:
    """The process's own tokens of a batch's rows; what masks are made of stays whole.

    Rows whose length differs from batch to batch are padded to one that divides.

    Args:
        batch: for cp, inputs and targets [B, T] of a single stack.
    """
    multiple = (2 * ranks.cp if ranks.cp > 1 else 1) * (ranks.tp if ranks.sp else 1)
    batch = lengthened(batch, multiple)
    if ranks.cp == 1:
        return batch
    n_rows, n_tokens = batch.inputs.shape
    columns = columns_of(ranks.at("cp"), ranks.cp, n_tokens)
    places, padding_id = batch.places, config.positions.padding_id
    if places is None and padding_id is not None:
        places = counted_places(batch.inputs, padding_id)
    return replace(
        batch,
        inputs=batch.inputs[:, columns],
        targets=batch.targets[:, columns],
        token_types=None if batch.token_types is None else batch.token_types[:, columns],
        places=columns.expand(n_rows, -1) if places is None else places[:, columns],
        columns=columns.expand(n_rows, -1),
    )


def share_rows(model: Transformer, ranks: Ranks) -> None:
    """Attention, and the biases of places, between this process's tokens and those of all."""
    group = ranks.group("cp")
    scale = model.config.attention.scale
    model.attend = partial(attend_to_all, group, scale=scale)
    model.position.__dict__["bias"] = partial(bias_to_all, model.position.bias, group)


def attend_to_all(
    group: ProcessGroup,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Mask,
    *,
    bias: Tensor | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """`sdpa.Attend` of own queries [B, H, T/C, E] to the keys of the whole row.

    A causal mask without a prefix spares a piece the keys behind it.
    """
    assert mask.queries is not None, "the tokens of a row are divided by `tokens_of`"
    n = group.size()
    k, v = (in_order(gathered(x, group, 2), n, 2) for x in (k, v))
    length, n_tokens = q.shape[2] // 2, k.shape[2]
    results = []
    for half, number in enumerate((group.rank(), 2 * n - 1 - group.rank())):
        rows = slice(half * length, (half + 1) * length)
        seen = (number + 1) * length if mask.causal and mask.prefix is None else n_tokens
        results.append(
            sdpa(
                q[:, :, rows],
                k[:, :, :seen],
                v[:, :, :seen],
                mask.kept(("half", half), partial(_half, mask, rows)),
                bias=None if bias is None else bias[:, :, rows, :seen],
                scale=scale,
                dropout=dropout,
            )
        )
    return torch.cat(results, 2)


def bias_to_all(
    bias: Callable[[Places, Places, torch.device], Tensor | None],
    group: ProcessGroup,
    places: Places,
    key_places: Places,
    device: torch.device,
) -> Tensor | None:
    """The bias [B or 1, H, T/C, T] of own queries to all keys of a row."""
    everywhere = together(numbers(key_places, device), group, -1)
    return bias(places, in_order(everywhere, group.size(), -1), device)


def _half(mask: Mask, rows: slice) -> Mask:
    assert mask.queries is not None
    return replace(mask, queries=mask.queries[rows])
