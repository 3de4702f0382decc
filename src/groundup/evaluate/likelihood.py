"""How well a model predicts text it has not seen, in bits per byte.

A model with probability p for a text can store it in -log2 p bits; divided by the bytes of the text
the figure does not depend on the tokenizer and can stand beside that of a compressor.

Every token of every document is scored once, the separator at its start excepted (it is given, and
no byte of the text). Where a document is longer than the context, windows overlap by half: a
window scores only its second half (the stride), so that no token is judged with less than half a
context of history where the document has that much. That is twice the work of windows that do not
overlap, which would forget everything at each edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from groundup.errors import InputError
from groundup.intervals import ratio_interval
from groundup.model.transformer import Transformer
from groundup.progress import Progress
from groundup.tokens.dataset import TokenDataset
from groundup.train.objectives import CHUNK_ROWS

Autocast = Callable[[], AbstractContextManager[object]]
Array = npt.NDArray[np.int64]

LOGITS_AT_ONCE = 2**25  # 128 MB of float32 logits: bounds the memory of a batch for any vocabulary


@dataclass(frozen=True)
class Likelihood:
    """Negative log likelihood of a set of documents.

    Attributes:
        nats: a document, ``[n_documents] float64``.
        bytes: a document, UTF-8 bytes of its text.
        n_tokens: scored in all.
    """

    nats: npt.NDArray[np.float64]
    bytes: npt.NDArray[np.float64]
    n_tokens: int

    @property
    def n_bytes(self) -> int:
        """Bytes of all documents."""
        return int(self.bytes.sum())

    @property
    def bits_per_byte(self) -> float:
        """Bits needed for a byte of text."""
        return float(self.nats.sum()) / math.log(2) / self.n_bytes

    @property
    def nats_per_token(self) -> float:
        """Mean loss of a token."""
        return float(self.nats.sum()) / self.n_tokens

    def to_dict(self) -> dict[str, object]:
        """Plain values, with a 95 % interval of the bits per byte over documents (or None)."""
        interval = ratio_interval(self.nats / math.log(2), self.bytes)
        return {
            "bits_per_byte": self.bits_per_byte,
            "interval": list(interval) if interval else None,
            "nats_per_token": self.nats_per_token,
            "n_tokens": self.n_tokens,
            "n_bytes": self.n_bytes,
            "n_documents": len(self.nats),
        }

    def minus(self, other: Likelihood) -> dict[str, object]:
        """Bits per byte more than ``other`` on the same documents, with the paired interval."""
        interval = ratio_interval((self.nats - other.nats) / math.log(2), self.bytes)
        return {
            "bits_per_byte": self.bits_per_byte - other.bits_per_byte,
            "interval": list(interval) if interval else None,
        }


def bits_per_byte(
    model: Transformer,
    dataset: TokenDataset,
    *,
    stride: int | None = None,
    device: torch.device | str = "cpu",
    autocast: Autocast = nullcontext,
    job: Progress | None = None,
) -> Likelihood:
    """Score every document of ``dataset``.

    Args:
        model: causal, on ``device``.
        dataset: the held-out documents.
        stride: targets a further window of a document adds, at most the context; half the context
            where not given. The whole context halves the work and forgets at each edge.
        device: where the model is.
        autocast: context for the blocks; head and loss are computed in float32.
        job: progress, counted in tokens.

    Raises:
        InputError: the split has no text.
    """
    _require_text(dataset)
    context_length = model.config.context_length
    stride = stride or max(1, context_length // 2)
    documents = [dataset.document(number) for number in range(dataset.n_documents)]
    windows = [
        Window(number, start, end, scored)
        for number, document in enumerate(documents)
        for start, end, scored in windows_of(len(document), context_length, stride)
    ]
    windows.sort(key=lambda window: window.end - window.start)  # equal lengths share a batch
    nats = np.zeros(len(documents))
    batch_size = max(1, min(16, LOGITS_AT_ONCE // (context_length * dataset.vocab_size)))
    with evaluating(model):
        for first in range(0, len(windows), batch_size):
            batch = windows[first : first + batch_size]
            losses = _losses_of_windows(model, documents, batch, device, autocast)
            for window, loss in zip(batch, losses, strict=True):
                nats[window.document] += loss
                if job is not None:
                    job.advance(window.end - window.scored)
    n_tokens = dataset.n_tokens - dataset.n_documents
    return Likelihood(nats, dataset.document_bytes.astype(np.float64), n_tokens)


def _require_text(dataset: TokenDataset) -> None:
    if dataset.n_bytes == 0:
        raise InputError(
            f"split {dataset.split!r} has no text to measure on",
            where=str(dataset.folder),
            fix="give more documents, so that every split gets some",
        )


@dataclass(frozen=True)
class Window:
    """Tokens ``start … end-1`` of a document as inputs; targets ``scored+1 … end`` are counted."""

    document: int
    start: int
    end: int
    scored: int


def windows_of(length: int, context_length: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """``start, end, scored`` of each window over a document of ``length`` tokens.

    Every target 1 … length-1 is counted once, the last ``stride`` of each window but the first.
    """
    scored, last = 0, length - 1
    while scored < last:
        end = min(last, scored + (stride if scored else context_length))
        yield max(0, end - context_length), end, scored
        scored = end


def _losses_of_windows(
    model: Transformer,
    documents: list[Array],
    windows: list[Window],
    device: torch.device | str,
    autocast: Autocast,
) -> list[float]:
    """Nats of each window's counted targets."""
    longest = max(window.end - window.start for window in windows)
    rows = np.zeros((len(windows), longest + 1), dtype=np.int64)  # padding comes after: unseen
    for row, window in zip(rows, windows, strict=True):
        row[: window.end - window.start + 1] = documents[window.document][
            window.start : window.end + 1
        ]
    places = np.arange(longest)
    counted = np.array(
        [
            (places >= window.scored - window.start) & (places < window.end - window.start)
            for window in windows
        ]
    )
    ids, mask = torch.from_numpy(rows).to(device), torch.from_numpy(counted).to(device)
    with autocast():
        hidden = model.hidden(ids[:, :-1])[mask]  # the head only where it counts
    losses = next_token_losses(model, hidden, ids[:, 1:][mask])
    per_row = np.split(losses.cpu().double().numpy(), np.cumsum(counted.sum(axis=1))[:-1])
    return [float(row.sum()) for row in per_row]


def next_token_losses(
    model: Transformer, hidden: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Nats of each target, ``[N, D], [N] int64 -> [N] float32``, a chunk of logits at a time.

    Head and soft cap run in float32 whatever the blocks ran in, as in the exported model: logits
    rounded to bfloat16 are off by up to 1/256.
    """
    chunks = zip(hidden.split(CHUNK_ROWS), targets.split(CHUNK_ROWS), strict=True)
    with torch.autocast(hidden.device.type, enabled=False):
        return torch.cat(
            [
                functional.cross_entropy(model.logits(rows.float()), wanted, reduction="none")
                for rows, wanted in chunks
            ]
        )


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the model's mode is put back.

    Not ``inference_mode``: buffers that a model makes on its first call must serve training too.
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def validation_loss(
    model: Transformer,
    dataset: TokenDataset,
    *,
    context_length: int,
    n_windows: int,
    batch_size: int,
    device: torch.device | str = "cpu",
    autocast: Autocast = nullcontext,
) -> dict[str, float]:
    """The cheap figure inside training: the first ``n_windows`` windows of a split.

    Windows do not overlap, so the bits per byte are a little above those of `bits_per_byte`. A
    split shorter than one window is one shorter window.

    Returns:
        ``loss``: nats a token over all targets, as in training; ``bits_per_byte``: of the targets
        that are text (separators hold no byte).

    Raises:
        InputError: the split has no text.
    """
    _require_text(dataset)
    context_length = min(context_length, dataset.n_tokens - 1)
    n_windows = min(n_windows, dataset.n_windows(context_length))
    nats, text_nats, n_bytes = 0.0, 0.0, 0
    with evaluating(model):
        for numbers in _batches(range(n_windows), batch_size):
            rows = dataset.windows(np.array(numbers), context_length)
            ids = torch.from_numpy(rows).to(device)
            with autocast():
                hidden = model.hidden(ids[:, :-1]).flatten(0, 1)
            losses = next_token_losses(model, hidden, ids[:, 1:].flatten())
            losses_of_rows = losses.view(len(numbers), -1).cpu().double().numpy()
            lengths = dataset.token_lengths[rows[:, 1:]]
            nats += losses_of_rows.sum()
            text_nats += losses_of_rows[lengths > 0].sum()
            n_bytes += int(lengths.sum())
    return {
        "loss": float(nats) / (n_windows * context_length),
        "bits_per_byte": float(text_nats) / math.log(2) / max(n_bytes, 1),
    }


def _batches(numbers: range, size: int) -> Iterable[list[int]]:
    for first in range(0, len(numbers), size):
        yield list(numbers[first : first + size])
