"""The split: train, validation or test as a function of the document's id and the seed alone.

A file that is added or removed moves no other file. Copies were removed before, over all documents
together; what MinHash missed is looked for again between train and the two held-out splits, where
every pair is compared, and dropped from train (`dedup.held_out`). So no train document is a near
copy of a held-out one. Between validation and test, neither of which is trained on, one may be
left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, get_args

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
HELD_OUT: tuple[Split, ...] = ("validation", "test")


def assign_splits(
    ids: Sequence[str], seed: int, validation_fraction: float, test_fraction: float
) -> list[Split]:
    """The split of each document; each split gets at least one.

    Documents are put in the order of their hash: those below ``test_fraction`` are for test, the
    next for validation. Only a split that would be empty takes its neighbour's nearest document.

    Args:
        ids: at least three, all different.
        seed: of the project.
        validation_fraction: expected share of the documents.
        test_fraction: expected share of the documents.
    """
    n = len(ids)
    if n < len(SPLITS):
        raise ValueError(f"{n} documents cannot fill {len(SPLITS)} splits")
    position = {document: _position(document, seed) for document in ids}
    order = sorted(ids, key=lambda document: (position[document], document))
    held_out = test_fraction + validation_fraction
    n_test = sum(value < test_fraction for value in position.values())
    n_test = min(max(n_test, 1), n - 2)
    n_held_out = sum(value < held_out for value in position.values())
    n_held_out = min(max(n_held_out, n_test + 1), n - 1)
    split: dict[str, Split] = dict.fromkeys(order, "train")
    split |= dict.fromkeys(order[:n_held_out], "validation")
    split |= dict.fromkeys(order[:n_test], "test")
    return [split[document] for document in ids]


def _position(document: str, seed: int) -> float:
    """A uniform number in [0, 1) for a document."""
    digest = hashlib.blake2b(f"{seed}:{document}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
