"""Whether the model writes, recites, or repeats itself.

- distinct-n (Li et al. 2016): different n-grams among all n-grams of the completions. Near 0 the
  model repeats itself.
- copy rate: share of the completions' n-grams that stand word for word in the training text.
- longest copy: the longest run of a completion that does.

Code has many common phrases, so the figures mean little alone: they stand beside those of the real
continuations of the same prompts, which were not copied by this model.

The more tokens, the fewer of their n-grams are new, so distinct-n is taken on as many tokens of
each set as the smallest has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from groundup.evaluate.runs import RunHashes
from groundup.tokens.dataset import TokenDataset

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

DISTINCT = (1, 2, 3, 4)
COPIED = (8, 16)  # tokens, some 30 and 60 bytes of code: a common phrase, and a passage
SEARCHED_AT_ONCE = 2**23  # training tokens


def memorisation(
    completions: Mapping[str, Sequence[Sequence[int]]], train: TokenDataset
) -> dict[str, dict[str, Any]]:
    """The figures of each set of completions (token ids without separators).

    Returns:
        for each set ``distinct`` and ``copy_rate`` (n → share, None where no text is that long),
        ``distinct_tokens`` (that distinct is counted on, the same for every set with any),
        ``longest_copy`` in tokens (0 if shorter than the smallest n of the copy rate) and
        ``longest_copy_ids``.
    """
    texts = [Text(name, list(ids)) for name, group in completions.items() for ids in group]
    copies = find_copies([text.ids for text in texts], train)
    n_tokens = {name: sum(map(len, group)) for name, group in completions.items()}
    least = min(filter(None, n_tokens.values()), default=0)
    result: dict[str, dict[str, Any]] = {}
    for name, group in completions.items():
        here = [number for number, text in enumerate(texts) if text.name == name]
        longest = max((copies[number].longest for number in here), key=len, default=[])
        result[name] = {
            "distinct": {str(n): distinct(_first(group, least), n) for n in DISTINCT},
            "distinct_tokens": min(least, n_tokens[name]),
            "copy_rate": {
                str(n): _share([copies[number].copied[n] for number in here]) for n in COPIED
            },
            "longest_copy": len(longest),
            "longest_copy_ids": longest,
        }
    return result


@dataclass(frozen=True)
class Text:
    """One completion of a set."""

    name: str
    ids: list[int]


def _first(texts: Sequence[Sequence[int]], n_tokens: int) -> list[Sequence[int]]:
    """The first texts, ``n_tokens`` in all; the last of them is cut."""
    taken: list[Sequence[int]] = []
    for ids in texts:
        taken.append(ids[:n_tokens])
        n_tokens -= len(taken[-1])
    return taken


def distinct(texts: Sequence[Sequence[int]], n: int) -> float | None:
    """Different n-grams among all, 1 if none occurs twice; None if no text has n tokens."""
    grams = [tuple(ids[i : i + n]) for ids in texts for i in range(len(ids) - n + 1)]
    return len(set(grams)) / len(grams) if grams else None


def _share(found: Sequence[Bools]) -> float | None:
    all_found = np.concatenate([*found, np.empty(0, dtype=bool)])
    return float(all_found.mean()) if len(all_found) else None


@dataclass(frozen=True)
class Copies:
    """What of a text stands in the training tokens.

    Attributes:
        copied: n → whether the n-gram at each place does, ``[len - n + 1] bool``.
        longest: the longest run that does, if it has at least ``min(COPIED)`` tokens.
    """

    copied: dict[int, Bools]
    longest: list[int]


def find_copies(texts: Sequence[Sequence[int]], train: TokenDataset) -> list[Copies]:
    """Look every run of ``min(COPIED)`` tokens or more of ``texts`` up in the training tokens.

    Runs are found by their hash and then compared token by token.
    """
    joined = np.concatenate([np.array(ids, dtype=np.int64) for ids in [*texts, []]])
    lengths = np.array([len(ids) for ids in texts], dtype=np.int64)
    ends = np.cumsum(lengths)
    left = np.repeat(ends, lengths) - np.arange(
        len(joined)
    )  # tokens from a place to its text's end
    most = int(lengths.max(initial=0))
    found = {n: np.zeros(len(joined), dtype=bool) for n in range(min(COPIED), most + 1)}
    for start in range(0, train.n_tokens, SEARCHED_AT_ONCE):
        part = np.asarray(train.tokens[start : start + SEARCHED_AT_ONCE + most], dtype=np.int64)
        _mark(found, joined, left, part)
    return [
        _copies_of(found, int(end - length), int(end), joined)
        for end, length in zip(ends, lengths, strict=True)
    ]


def _mark(found: dict[int, Bools], joined: Ints, left: Ints, train: Ints) -> None:
    """Set ``found[n][place]`` where the n tokens of ``joined`` from there are in ``train``.

    A longer run can only be where its first tokens were found, so places on both sides dwindle.
    """
    hashes, train_hashes = RunHashes(joined), RunHashes(train)
    places, train_places = np.arange(len(joined)), np.arange(len(train))
    for n in found:
        places = places[left[places] >= n]
        train_places = train_places[: np.searchsorted(train_places, len(train) - n, "right")]
        if not len(places) or not len(train_places):
            return
        wanted, which = np.unique(hashes.at(places, n), return_inverse=True)
        given = train_hashes.at(train_places, n)
        match = np.searchsorted(wanted, given).clip(max=len(wanted) - 1)
        matched = wanted[match] == given
        train_places, match = train_places[matched], match[matched]
        sample = np.full(len(wanted), -1)
        sample[match] = train_places  # one place in the training tokens for each hash
        places = places[sample[which] >= 0]
        origin = sample[which[sample[which] >= 0]]
        steps = np.arange(n)
        equal = (joined[places[:, None] + steps] == train[origin[:, None] + steps]).all(axis=1)
        places = places[equal]
        found[n][places] = True


def _copies_of(found: dict[int, Bools], start: int, end: int, joined: Ints) -> Copies:
    copied = {n: found[n][start : end - n + 1] for n in COPIED if n <= end - start}
    copied |= {n: np.empty(0, dtype=bool) for n in COPIED if n > end - start}
    for n in sorted(found, reverse=True):
        if n <= end - start and found[n][start : end - n + 1].any():
            place = start + int(np.argmax(found[n][start : end - n + 1]))
            return Copies(copied, joined[place : place + n].tolist())
    return Copies(copied, [])
