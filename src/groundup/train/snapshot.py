"""A moment of a run, copied into host memory that is allocated once: all that a save stalls for.

Each group of tensors becomes the image of its safetensors file: what is copied here is written as
it lies, without another copy. The memory is pinned where the tensors are on a GPU.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from groundup.train.asynchronous.local_sgd import replica_file, replica_tensors
from groundup.train.distributed import Ranks
from groundup.train.parallel.layout import Axis
from groundup.train.parallel.pieces import is_cut, local_tensor
from groundup.train.shards import header_of
from groundup.train.state import RunState, rng_state


class Image:
    """A safetensors file in memory.

    Attributes:
        header: its bytes up to the data.
        places: each tensor's [begin, end) in the data.
        data: the rest, ``[n_bytes] uint8``.
    """

    def __init__(self, header: bytes, places: Mapping[str, tuple[int, int]], pin: bool) -> None:
        self.header, self.places = header, places
        n_bytes = max((end for _, end in places.values()), default=0)
        self.data = torch.empty(n_bytes, dtype=torch.uint8, pin_memory=pin)

    @property
    def n_bytes(self) -> int:
        """Size of the file."""
        return len(self.header) + len(self.data)

    @torch.no_grad()
    def copy(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the tensors' values as they are now (on a GPU: once it is waited for)."""
        for name, (begin, end) in self.places.items():
            local = local_tensor(tensors[name])
            into = self.data[begin:end].view(local.dtype).view(local.shape)
            into.copy_(local, non_blocking=True)


@dataclass(frozen=True)
class Snapshot:
    """One rank's part of a checkpoint.

    Attributes:
        evaluation: validation loss at this step, where there is one.
        images: tensors by file name.
        documents: JSON by file name.
        n_bytes: of the whole checkpoint, all ranks and stages together (small files left out).
    """

    step: int
    evaluation: float | None
    images: Mapping[str, Image]
    documents: Mapping[str, bytes]
    n_bytes: int


class HostMemory:
    """The images of one run's files, used again for every snapshot."""

    def __init__(self) -> None:
        self._images: dict[str, Image] = {}

    def snapshot(self, state: RunState, fingerprint: Mapping[str, Any], ranks: Ranks) -> Snapshot:
        """Copy what this rank saves; ``state`` may change as soon as this returns.

        Of replicas only the first writes tensors. Every rank has random generators of its own.
        """
        groups = state.tensors()
        images = {}
        if writes_tensors(ranks):
            images = {
                f"{group}-{ranks.rank:05d}.safetensors": self._image(group, tensors, ranks)
                for group, tensors in groups.items()
            }
        elif state.outer is not None:  # a replica with steps of its own
            own = self._image("replica", replica_tensors(state), ranks)
            images = {replica_file(ranks): own}
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        documents = {f"rng-{ranks.rank:05d}.json": json.dumps(rng_state()).encode()}
        if ranks.is_first:
            record = {**state.record(), "fingerprint": dict(fingerprint)}
            documents["state.json"] = json.dumps(record).encode()
        loss = state.validation_loss
        return Snapshot(
            step=state.step,
            evaluation=loss if loss is not None and math.isfinite(loss) else None,
            images=images,
            documents=documents,
            n_bytes=of_all_stages(
                sum(t.numel() * t.itemsize for group in groups.values() for t in group.values()),
                ranks,
            )
            * (1 if state.outer is None else ranks.size)
            + sum(map(len, documents.values())),
        )

    def _image(self, group: str, tensors: Mapping[str, Tensor], ranks: Ranks) -> Image:
        """The group's image with the values of now; new memory only for another layout."""
        held = held_here(tensors, ranks)
        header, places = header_of(held)
        image = self._images.get(group)
        if image is None or image.header != header:
            self._images.pop(group, None)  # let go of the old memory before there is new
            pin = any(local_tensor(tensor).is_cuda for tensor in held.values())
            image = self._images[group] = Image(header, places, pin)
        image.copy(held)
        return image


def of_all_stages(n_bytes: int, ranks: Ranks) -> int:
    """The sum over a pipeline's stages: each process knows the tensors of its own only."""
    if ranks.pp == 1:
        return n_bytes
    total = torch.tensor(n_bytes)
    torch.distributed.all_reduce(total, group=ranks.group("pp"))
    return int(total)


def writes_tensors(ranks: Ranks) -> bool:
    """Whether this rank belongs to the first replica (replicas are the mesh's outer dimension)."""
    return ranks.rank < ranks.size // ranks.dp_replicate


def held_here(tensors: Mapping[str, Tensor], ranks: Ranks) -> dict[str, Tensor]:
    """Those of which this process writes a piece.

    Of seven rows over four ranks the last has none; what several hold alike the first of them
    writes.
    """
    return {
        name: tensor
        for name, tensor in tensors.items()
        if is_first_holder(tensor, ranks) and (local_tensor(tensor).numel() or not tensor.numel())
    }


def is_first_holder(tensor: Tensor, ranks: Ranks) -> bool:
    """Whether no process of the same replica and stage with a lower number has the same piece."""
    names: tuple[str, ...] = ()
    if is_cut(tensor):
        names = tensor.device_mesh.mesh_dim_names or ()
    shared_by: tuple[Axis, ...] = () if "tp" in names else ("tp",)
    if "shard" not in names:
        shared_by = (*shared_by, "dp_shard", "cp")
    return all(ranks.at(axis) == 0 for axis in shared_by)
