"""Text that is always there: Python's own library as bytes, every tenth file held out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.stride_tricks import sliding_window_view

from groundup.tokens.order import samples_at
from groundup.train.batch import Batch

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Text:
    """Bytes of files, one after the other."""

    training: Bytes
    validation: Bytes

    def batch_at(self, seed: int, cursor: int, rows: int, length: int) -> Batch:
        """The samples from ``cursor`` on, in the order that real runs have (`tokens.order`)."""
        n_windows = (len(self.training) - 1) // length
        return windows(self.training, samples_at(seed, cursor, rows, n_windows), length)

    def held_out(self, rows: int, length: int) -> Batch:
        """Windows spread evenly over the held-out files."""
        last = (len(self.validation) - 1) // length - 1
        return windows(self.validation, np.linspace(0, last, rows).astype(np.int64), length)


def windows(text: Bytes, numbers: npt.NDArray[np.int64], length: int) -> Batch:
    """Windows ``text[i*T : i*T + T + 1]`` as inputs and targets, both [B, T] int64."""
    rows = sliding_window_view(text, length + 1)[numbers * length].astype(np.int64)
    return Batch(torch.from_numpy(rows[:, :-1].copy()), torch.from_numpy(rows[:, 1:].copy()))


@cache
def library() -> Text:
    """The top modules of this Python's standard library, by name."""
    files = sorted(Path(os.__file__).parent.glob("*.py"))
    held_out = b"".join(path.read_bytes() for path in files[::10])
    rest = b"".join(path.read_bytes() for number, path in enumerate(files) if number % 10)
    return Text(np.frombuffer(rest, dtype=np.uint8), np.frombuffer(held_out, dtype=np.uint8))
