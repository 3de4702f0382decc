"""Tensors cut into boxes over several safetensors files, written by one layout, read by any other.

A rank's piece of a tensor is a box: its offset and shape inside the whole tensor. Each file's
header says, under ``layout``, which box of which whole each of its tensors is. A reader asks for a
box of its own and gets the parts of it from whichever files hold them: FSDP's pieces along the
first dimension, tensor-parallel ones along any, layers that only some ranks have. Nothing but the
bytes that are used is read; each stored piece is hashed against the manifest before its first use
(safetensors itself notices no flipped bit).
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from groundup.errors import CorruptError, InputError
from groundup.train.parallel.pieces import is_cut, local_tensor

# The names of the safetensors format.
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U64": torch.uint64, "U32": torch.uint32, "U16": torch.uint16, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Box:
    """A piece of a tensor: ``whole`` is the tensor's shape, ``offset`` the piece's first place."""

    whole: tuple[int, ...]
    offset: tuple[int, ...]
    shape: tuple[int, ...]

    def overlap(self, other: Box) -> tuple[tuple[slice, ...], tuple[slice, ...]] | None:
        """Where the common part lies in this box and in the other; None if there is none."""
        starts = tuple(map(max, self.offset, other.offset))
        ends = tuple(
            min(a + n, b + m)
            for a, n, b, m in zip(self.offset, self.shape, other.offset, other.shape, strict=True)
        )
        if any(start >= end for start, end in zip(starts, ends, strict=True)):
            return None
        here, there = (
            tuple(slice(s - o, e - o) for s, e, o in zip(starts, ends, box.offset, strict=True))
            for box in (self, other)
        )
        return here, there


def box_of(tensor: Tensor) -> Box:
    """The box that this process holds: of a tensor that is not cut, all of it."""
    whole = tuple(tensor.shape)
    if not is_cut(tensor):
        return Box(whole, (0,) * len(whole), whole)
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    shape, offset = compute_local_shape_and_global_offset(
        whole, tensor.device_mesh, tensor.placements
    )
    return Box(whole, tuple(offset), tuple(shape))


def header_of(tensors: Mapping[str, Tensor]) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """The start of a safetensors file of these tensors' local pieces.

    Returns:
        the bytes before the data, and each tensor's [begin, end) in the data. Wide dtypes stand
        first, so that every tensor is aligned.
    """
    header: dict[str, Any] = {}
    layout: dict[str, Any] = {}
    places: dict[str, tuple[int, int]] = {}
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0])):
        box = box_of(tensor)
        begin, end = end, end + math.prod(box.shape) * tensor.itemsize
        places[name] = begin, end
        header[name] = {
            "dtype": DTYPE_NAMES[tensor.dtype],
            "shape": box.shape,
            "data_offsets": (begin, end),
        }
        layout[name] = {"global_shape": box.whole, "offset": box.offset}
    # One key: the order of several is not fixed in files that safetensors writes.
    metadata = {"layout": json.dumps(layout, sort_keys=True)}
    text = json.dumps({"__metadata__": metadata, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, places


@dataclass(frozen=True)
class Stored:
    """One piece in one file, ``begin``..``end`` in its bytes."""

    file: Path
    name: str
    box: Box
    dtype: torch.dtype
    begin: int
    end: int
    sha256: str


@dataclass
class Shards:
    """The pieces of one group of tensors ("model", "optimizer", "average") in a checkpoint.

    Attributes:
        pieces: by tensor name, in the order of the files.
    """

    pieces: dict[str, list[Stored]]
    _checked: set[tuple[Path, str]] = field(default_factory=set)

    def names(self) -> dict[str, tuple[int, ...]]:
        """Shape of every whole tensor."""
        return {name: pieces[0].box.whole for name, pieces in self.pieces.items()}

    def part(self, prefix: str) -> Shards:
        """Those tensors whose names begin with ``prefix``, without it."""
        found = {name: each for name, each in self.pieces.items() if name.startswith(prefix)}
        return Shards({name.removeprefix(prefix): each for name, each in found.items()})

    def dtype(self, name: str) -> torch.dtype:
        """What a tensor is stored as."""
        return self.pieces[name][0].dtype

    @torch.no_grad()
    def fill(self, name: str, target: Tensor) -> None:
        """Copy into the local piece of ``target`` what the files hold of it.

        Raises:
            CorruptError: a stored piece is not the one that was written; it is named.
            InputError: parts of the tensor are in no file.
        """
        wanted, into = box_of(target), local_tensor(target)
        missing = math.prod(wanted.shape)
        filled: list[Box] = []
        for stored in self.pieces[name]:
            if stored.box in filled:
                continue  # of a tensor that several ranks hold whole the first copy will do
            common = wanted.overlap(stored.box)
            if common is not None:
                here, there = common
                into[here].copy_(self._read(stored)[there])
                filled.append(stored.box)
                missing -= math.prod(place.stop - place.start for place in here)
        if missing > 0:
            raise InputError(
                f"{missing} elements of {name} are in no file of the checkpoint",
                where=str(self.pieces[name][0].file.parent),
                fix="use an earlier checkpoint of the same run",
            )

    def _read(self, stored: Stored) -> Tensor:
        """A stored piece, mapped; its hash is compared before its first use."""
        if stored.begin == stored.end:
            return torch.empty(stored.box.shape, dtype=stored.dtype)
        mapped = np.memmap(  # "c": torch asks for memory that may be written
            stored.file, np.uint8, "c", stored.begin, (stored.end - stored.begin,)
        )
        if (stored.file, stored.name) not in self._checked:
            if hashlib.sha256(mapped.data).hexdigest() != stored.sha256:
                raise damaged(stored.file, f"SHA-256 differs: tensor {stored.name}")
            self._checked.add((stored.file, stored.name))
        return torch.from_numpy(mapped).view(stored.dtype).view(stored.box.shape)


def open_shards(folder: Path, group: str, files: Mapping[str, Any]) -> Shards:
    """Find every piece of a group from the headers of its files.

    Args:
        files: of the folder's manifest.

    Raises:
        CorruptError: a file is missing, or its size or header is not what the manifest says.
    """
    pieces: dict[str, list[Stored]] = {}
    for file in sorted(name for name in files if name.startswith(f"{group}-")):
        for stored in stored_in(folder / file, files[file]):
            pieces.setdefault(stored.name, []).append(stored)
    for name, parts in pieces.items():
        if any(a.box.whole != b.box.whole or a.dtype != b.dtype for a, b in pairwise(parts)):
            raise InputError(f"the files do not agree on the shape of {name}", where=str(folder))
    return Shards(pieces)


def stored_in(path: Path, entry: Mapping[str, Any]) -> Iterable[Stored]:
    """The pieces in one file, from its header alone."""
    if not path.is_file():
        raise damaged(path, "missing")
    if path.stat().st_size != entry["bytes"]:
        raise damaged(path, f"{path.stat().st_size} bytes instead of {entry['bytes']}")
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        text = file.read(length) if length <= entry["bytes"] else b""
    if hashlib.sha256(start + text).hexdigest() != entry["header_sha256"]:
        raise damaged(path, "SHA-256 differs: the header is damaged")
    header = json.loads(text)
    layout = json.loads(header.pop("__metadata__")["layout"])
    for name, tensor in header.items():
        begin, end = (8 + length + place for place in tensor["data_offsets"])
        box = Box(
            tuple(layout[name]["global_shape"]),
            tuple(layout[name]["offset"]),
            tuple(tensor["shape"]),
        )
        digest = entry["tensors"][name]
        yield Stored(path, name, box, DTYPES[tensor["dtype"]], begin, end, digest)


def damaged(path: Path, why: str) -> CorruptError:
    """The error of a checkpoint's file."""
    return CorruptError(
        f"damaged checkpoint: {path.name}: {why}",
        where=str(path.parent),
        fix="use an earlier checkpoint of the same run",
    )
