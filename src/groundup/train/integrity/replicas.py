"""Replicas hold the same bits, or one of them was damaged: the majority says which.

Every replica applies the same summed gradients to the same weights, so all stay equal bit for bit
for ever; one flipped bit stays visible for ever too. Each rank hashes its own pieces (XXH3, 128
bits). What travels is 16 bytes a rank; only where they differ, 16 bytes a tensor.

    S processes of a replica   rank r holds piece r % S of replica r // S   (`distributed.AXES`)
"""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor
from xxhash import xxh3_128_digest

from groundup.train.distributed import Ranks
from groundup.train.integrity.checksums import byte_view, watched
from groundup.train.integrity.finding import Finding, Kind
from groundup.train.integrity.shared import gathered, host_names, share
from groundup.train.state import RunState

HASH_BYTES = 16


def digest(tensor: Tensor) -> bytes:
    """XXH3-128 of a tensor's dtype, shape and bytes."""
    head = f"{tensor.dtype} {tuple(tensor.shape)} ".encode()
    return xxh3_128_digest(head + xxh3_128_digest(byte_view(tensor).cpu().numpy().data))


def compare(state: RunState, ranks: Ranks) -> list[Finding]:
    """Compare the pieces of all replicas; every rank must call it, and all get the same answer.

    Returns:
        a finding for every rank whose piece is not what most hold; where no half is a majority (two
        replicas), one finding that names them all.
    """
    pieces = watched(state)
    if ranks.dp_replicate == 1 or not pieces:
        return []
    device = next(iter(pieces.values())).device
    hashes = [digest(piece) for piece in pieces.values()]
    summary = gathered(as_rows([xxh3_128_digest(b"".join(hashes))], device), ranks)[:, 0]
    if all(len(set(votes.values())) == 1 for votes in by_shard(summary, ranks)):
        return []
    counts = gathered(torch.tensor([len(hashes)], device=device), ranks)
    hashes += [bytes(HASH_BYTES)] * (int(counts.max()) - len(hashes))  # stages have other tensors
    table = gathered(as_rows(hashes, device), ranks)
    hosts = host_names(ranks, device)
    own = ranks.rank % (ranks.size // ranks.dp_replicate)
    findings = []
    for place, (kind, name) in enumerate(pieces):
        columns = by_shard(table[:, place], ranks)
        for votes in columns if ranks.pp == 1 else [columns[own]]:
            findings += [
                Finding("replicas", kind, name, odd, tuple(hosts[rank] for rank in odd))
                for odd in outvoted(votes)
            ]
    if ranks.pp == 1:
        return findings  # the same on all
    return share(findings if own == ranks.rank else [], ranks, device)


def by_shard(hashes: Tensor, ranks: Ranks) -> list[dict[int, bytes]]:
    """For each piece the hash of each rank that holds it; ``hashes``: [size, 16] uint8."""
    rows = [bytes(row) for row in hashes.tolist()]
    n_pieces = ranks.size // ranks.dp_replicate
    return [
        {rank: rows[rank] for rank in range(piece, ranks.size, n_pieces)}
        for piece in range(n_pieces)
    ]


def outvoted(votes: dict[int, bytes]) -> list[tuple[int, ...]]:
    """The ranks whose vote is not that of more than half, one by one; without a majority all."""
    (winner, n_votes), *others = Counter(votes.values()).most_common()
    if not others:
        return []
    if 2 * n_votes <= len(votes):
        return [tuple(votes)]
    return [(rank,) for rank, vote in votes.items() if vote != winner]


def as_rows(hashes: list[bytes], device: torch.device) -> Tensor:
    """[len(hashes), 16] uint8."""
    flat = torch.tensor(list(b"".join(hashes)), dtype=torch.uint8, device=device)
    return flat.view(-1, HASH_BYTES)


def settled(findings: list[Finding], named: list[Finding]) -> list[Finding]:
    """Ties of a comparison, with the culprit where a checksum ``named`` one of its ranks."""
    culprits: dict[tuple[Kind, str], set[int]] = {}
    for one in named:
        culprits.setdefault((one.kind, one.tensor), set()).update(one.ranks)
    result = []
    for finding in findings:
        guilty = culprits.get((finding.kind, finding.tensor), set()) & set(finding.ranks)
        for rank, host in zip(finding.ranks, finding.hosts, strict=True):
            if rank in guilty:
                result.append(
                    Finding(finding.check, finding.kind, finding.tensor, (rank,), (host,))
                )
        if not guilty:
            result.append(finding)
    return result
