"""What only some stages of a pipeline have, brought to all of its processes: tensors and words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from groundup.train.distributed import Ranks
from groundup.train.parallel.pieces import whole_tensor

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def whole_tensors(model: Any, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the whole model, whole, in the order of the names; one is made at a time.

    Args:
        model: which may be cut; all processes that have a part of it call this together.
        tensors: those of this process, by their names in the whole model.
    """
    cut = getattr(model, "cut", None)
    if cut is None or cut.ranks.pp == 1:
        yield from ((name, whole_tensor(tensor)) for name, tensor in sorted(tensors.items()))
    else:
        device = next(model.parameters()).device
        yield from on_every_stage(tensors, cut.ranks, device)


def on_every_stage(
    tensors: Mapping[str, Tensor], ranks: Ranks, device: torch.device
) -> Iterator[tuple[str, Tensor]]:
    """Each tensor from the first stage's process that has it, on all along pp, by name."""
    group = ranks.group("pp")
    described = {name: (str(t.dtype), tuple(t.shape)) for name, t in tensors.items()}
    owners: dict[str, tuple[int, str, list[int]]] = {}
    for owner, text in enumerate(told_by_each(json.dumps(described).encode(), group, device)):
        for name, (dtype, shape) in json.loads(text).items():
            owners.setdefault(name, (owner, dtype, shape))
    for name, (owner, dtype, shape) in sorted(owners.items()):
        if owner == ranks.at("pp"):
            whole = whole_tensor(tensors[name].detach()).to(device).contiguous()
        else:
            kind = getattr(torch, dtype.removeprefix("torch."))
            whole = torch.empty(shape, dtype=kind, device=device)
        torch.distributed.broadcast(whole, group=group, group_src=owner)
        yield name, whole


def told_by_each(message: bytes, group: ProcessGroup, device: torch.device) -> list[bytes]:
    """What every process of ``group`` says, in the order of their numbers; nothing is unpickled."""
    n_bytes = torch.tensor([len(message)], device=device)
    sizes = [torch.empty_like(n_bytes) for _ in range(group.size())]
    torch.distributed.all_gather(sizes, n_bytes, group=group)
    longest = max(int(size) for size in sizes)
    text = torch.frombuffer(bytearray(message.ljust(longest, b" ")), dtype=torch.uint8).to(device)
    texts = [torch.empty_like(text) for _ in sizes]
    torch.distributed.all_gather(texts, text, group=group)
    return [bytes(one.tolist())[: int(n)] for one, n in zip(texts, sizes, strict=True)]
