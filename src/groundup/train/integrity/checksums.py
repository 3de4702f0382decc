"""Are the weights still those that the last update left? A checksum by bit pattern says.

Between two updates nothing writes to a weight or to an optimizer's state; a bit that changes there
was changed by the memory or by a stray write. A loss does not show it: 16 rows of a matrix scaled
by 200 pass every detector that is quiet on clean runs (docs/reliability.md).

A tensor's bytes are read as 64-bit words in rows of `WIDTH`. The words of each row are summed, and
those of each column, modulo 2^64; each sum is mixed with its place by a one-to-one function. The
checksum is the sum of the rows' mixed values and that of the columns'. A change inside one word
changes the sum of one row by the difference, which is not 0 modulo 2^64, so one mixed value, so the
checksum: always, and so for every flipped bit. Any other change escapes by chance only (2^-64).
Integer sums do not depend on their order, so the checksum does not either, on any device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from groundup.train.integrity.finding import Kind
from groundup.train.parallel.pieces import local_tensor
from groundup.train.state import RunState

WIDTH = 512  # words of a row
ROW_BYTES = 8 * WIDTH
# SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators", mix64),
# its odd constants as signed words.
GOLDEN = 0x9E3779B97F4A7C15 - 2**64
FIRST, SECOND = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64


def watched(state: RunState) -> dict[tuple[Kind, str], Tensor]:
    """The pieces on this process that only updates change, by kind and name.

    Buffers are left out: a forward pass moves the running averages of batch norms, on each rank by
    its own rows.
    """
    parameters = dict(state.model.named_parameters())
    groups = state.tensors()
    kinds: list[tuple[Kind, Mapping[str, Tensor]]] = [
        ("weight", parameters),
        ("optimizer state", groups["optimizer"]),
        ("average", groups.get("average", {})),
    ]
    return {
        (kind, name): local_tensor(tensor.detach())
        for kind, tensors in kinds
        for name, tensor in tensors.items()
    }


def checksums(tensors: Sequence[Tensor]) -> Tensor:
    """Rows' and columns' sum of each tensor, of any dtype and shape: [n, 2] int64 on the CPU.

    Reads each tensor twice; computed on the device of the first.
    """
    if not tensors:
        return torch.empty(0, 2, dtype=torch.int64)
    device = tensors[0].device
    data = [byte_view(tensor.to(device)) for tensor in tensors]
    n_rows = [one.numel() // ROW_BYTES for one in data]  # whole ones; the rest is one more
    columns = torch.zeros(len(data), WIDTH, dtype=torch.int64, device=device)
    rows = torch.empty(sum(n_rows), dtype=torch.int64, device=device)
    last = torch.zeros(len(data), ROW_BYTES, dtype=torch.uint8, device=device)
    begin = 0
    for number, (one, n) in enumerate(zip(data, n_rows, strict=True)):
        if n:
            whole = one[: n * ROW_BYTES].view(torch.int64).view(n, WIDTH)
            rows[begin : begin + n] = whole.sum(1)
            columns[number] = whole.sum(0)
            begin += n
        rest = one[n * ROW_BYTES :]
        last[number, : rest.numel()] = rest
    columns += last.view(torch.int64)
    places = torch.cat([torch.arange(n) for n in n_rows]).to(device)
    owners = torch.arange(len(data)).repeat_interleave(torch.tensor(n_rows)).to(device)
    of_rows = mixed(last.view(torch.int64).sum(1), torch.tensor(n_rows, device=device))
    of_rows.index_add_(0, owners, mixed(rows, places))
    of_columns = mixed(columns, torch.arange(WIDTH, device=device)).sum(1)
    return torch.stack([of_rows, of_columns], dim=1).cpu()


def byte_view(tensor: Tensor) -> Tensor:
    """The bytes of a tensor in row order: [bytes] uint8, whose words are aligned."""
    flat = tensor.detach().contiguous().reshape(-1)
    if flat.storage_offset() * flat.element_size() % 8:
        flat = flat.clone()
    return flat.view(torch.uint8)


def mixed(sums: Tensor, places: Tensor) -> Tensor:
    """Each sum mixed with its place, from 0: int64, one to one for each place."""
    word = sums + (places + 1) * GOLDEN
    word = (word ^ shifted(word, 30)) * FIRST
    word = (word ^ shifted(word, 27)) * SECOND
    return word ^ shifted(word, 31)


def shifted(word: Tensor, n_bits: int) -> Tensor:
    """To the right as unsigned words: torch's shift repeats the sign, which is not one to one."""
    return (word >> n_bits) & (2 ** (64 - n_bits) - 1)
