"""What the ranks tell each other about corruption, as tensors of bytes: nothing is unpickled."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import asdict

import torch
from torch import Tensor

from groundup.train.distributed import Ranks, summed
from groundup.train.integrity.finding import Finding

MESSAGE_BYTES = 4096  # of one rank's findings; what does not fit is left out
HOST_BYTES = 64  # the longest host name of Linux


def gathered(mine: Tensor, ranks: Ranks) -> Tensor:
    """Every rank's ``mine``, of one shape on all: [size, *shape], the same on each."""
    if ranks.size == 1:
        return mine[None]
    parts = [torch.empty_like(mine) for _ in range(ranks.size)]
    torch.distributed.all_gather(parts, mine.contiguous())
    return torch.stack(parts)


def share(findings: Sequence[Finding], ranks: Ranks, device: torch.device) -> list[Finding]:
    """The findings of all ranks, in the same order on each, so that all decide the same.

    One small all-reduce where nobody has any.
    """
    if ranks.size == 1:
        return list(findings)
    n_findings = summed(torch.tensor([len(findings)], dtype=torch.int64, device=device), ranks)
    if not n_findings.item():
        return []
    messages = gathered(padded(message(findings), MESSAGE_BYTES, device), ranks)
    return [finding for row in messages for finding in read(unpadded(row))]


def message(findings: Sequence[Finding]) -> bytes:
    """As many of the findings as fit, as JSON."""
    kept = list(findings)
    while len(text := json.dumps([asdict(one) for one in kept]).encode()) > MESSAGE_BYTES:
        kept.pop()
    return text


def read(text: bytes) -> list[Finding]:
    """What `message` wrote."""
    return [
        Finding(**{**record, "ranks": tuple(record["ranks"]), "hosts": tuple(record["hosts"])})
        for record in json.loads(text)
    ]


def host_names(ranks: Ranks, device: torch.device) -> list[str]:
    """The machine of every rank."""
    name = socket.gethostname().encode()[:HOST_BYTES]
    rows = gathered(padded(name, HOST_BYTES, device), ranks)
    return [unpadded(row).decode(errors="replace") for row in rows]


def padded(text: bytes, size: int, device: torch.device) -> Tensor:
    """``text`` and zeros: [size] uint8."""
    return torch.tensor(list(text.ljust(size, b"\0")), dtype=torch.uint8, device=device)


def unpadded(row: Tensor) -> bytes:
    """The text of `padded`."""
    return bytes(row.tolist()).rstrip(b"\0")
