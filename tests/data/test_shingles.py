from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from groundup.data.dedup import shingles as module
from groundup.data.dedup.shingles import hash_rows, hash_words, jaccard, shingles


def words_of(text: str) -> list[str]:
    """The definition of a word once more, by a regular expression on text."""
    lower = "".join(c.lower() if c.isascii() else c for c in text)
    return re.findall(r"[\u3000-\U0010ffff]|[0-9a-z_\u0080-\u2fff]+", lower)


TEXTS = st.text(st.sampled_from("aAbB_9 .\n-é€漢字😀"), max_size=60) | st.text(max_size=60)


@given(TEXTS, TEXTS)
def test_words_hash_alike_exactly_when_a_regular_expression_finds_them_alike(
    first: str, second: str
) -> None:
    words = words_of(first) + words_of(second)
    hashes = [*hash_words(first.encode()).tolist(), *hash_words(second.encode()).tolist()]
    assert len(words) == len(hashes)
    numbers: dict[str, int] = {}
    for word, hash_ in zip(words, hashes, strict=True):
        assert numbers.setdefault(word, hash_) == hash_
    assert len(set(numbers.values())) == len(numbers)


def test_a_word_starts_where_a_wide_character_ends() -> None:
    together, apart = hash_words("中abc😀é".encode()), hash_words("中 abc 😀 é".encode())
    assert together.tolist() == apart.tolist()
    assert len(together) == 4


@given(st.lists(st.sampled_from(["one", "two", "three"]), max_size=12), st.integers(1, 5))
def test_shingles_are_alike_exactly_when_their_words_are(words: list[str], n: int) -> None:
    hashes = shingles(hash_words(" ".join(words).encode()), n).tolist()
    n = min(n, len(words))
    runs = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)] if words else []
    assert len(hashes) == len(runs)
    assert len(set(zip(runs, hashes, strict=True))) == len(set(runs)) == len(set(hashes))


def test_a_long_text_is_hashed_in_pieces_that_change_only_words_on_their_borders() -> None:
    n = 4 * module._PIECE
    words = [f"w{i}" for i in range(n // 6)]
    together = hash_words(" ".join(words).encode())
    alone = np.concatenate([hash_words(word.encode()) for word in words[:2000]])
    assert together[:2000].tolist() == alone.tolist()
    assert len(words) <= len(together) <= len(words) + 5


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_jaccard_is_that_of_sets(first: set[int], second: set[int]) -> None:
    a, b = (np.array(sorted(values), dtype=np.uint64) for values in (first, second))
    expected = len(first & second) / len(first | second) if first | second else 0
    assert jaccard(a, b) == expected


def test_rows_hash_alike_exactly_when_they_are_alike() -> None:
    rows = np.array([[1, 2], [2, 1], [1, 2], [0, 5]], dtype=np.uint32)
    a, b, c, d = hash_rows(rows).tolist()
    assert a == c
    assert len({a, b, d}) == 3
