from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from groundup.data.config import DataConfig
from groundup.data.dedup.minhash import MinHash, near_copies
from groundup.data.dedup.shingles import Hashes, hash_words, shingles

N_HASHES, BANDS = 112, 14


def pair_of_sets(random: np.random.Generator, similarity: float) -> tuple[Hashes, Hashes, float]:
    """Two sets of 1,000 random shingles and their Jaccard similarity."""
    n = 1000
    n_common = round(2 * n * similarity / (1 + similarity))
    values = random.integers(0, 2**64, 2 * n - n_common, dtype=np.uint64)
    return values[:n], values[n - n_common :], n_common / (2 * n - n_common)


@pytest.mark.parametrize("similarity", [0.1, 0.5, 0.7, 0.9])
def test_signatures_agree_as_often_as_the_sets_are_similar(similarity: float) -> None:
    minhash, random = MinHash(N_HASHES), np.random.default_rng(7)
    errors = []
    for _ in range(200):
        first, second, true = pair_of_sets(random, similarity)
        agree = minhash.signature(first) == minhash.signature(second)
        errors.append(agree.mean() - true)
    theory = math.sqrt(similarity * (1 - similarity) / N_HASHES)  # of a binomial share
    assert abs(np.mean(errors)) < 4 * theory / math.sqrt(len(errors))
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(theory, rel=0.2)


@pytest.mark.parametrize("similarity", [0.5, 0.6, 0.7, 0.8])
def test_pairs_share_a_band_as_often_as_the_curve_says(similarity: float) -> None:
    minhash, random = MinHash(N_HASHES), np.random.default_rng(11)
    n, found = 300, 0
    for _ in range(n):
        first, second, _ = pair_of_sets(random, similarity)
        agree = minhash.signature(first) == minhash.signature(second)
        found += agree.reshape(BANDS, -1).all(axis=1).any()
    chance = 1 - (1 - similarity ** (N_HASHES // BANDS)) ** BANDS
    assert DataConfig().chance_of_comparison(similarity) == pytest.approx(chance)
    assert abs(found / n - chance) < 4 * math.sqrt(chance * (1 - chance) / n)


def test_a_signature_is_of_the_set_not_of_the_order_or_repeats() -> None:
    random, minhash = np.random.default_rng(3), MinHash(N_HASHES)
    values = random.integers(0, 2**64, 1500, dtype=np.uint64)
    repeated = random.permutation(np.concatenate([values, values[:700]]))
    assert (minhash.signature(values) == minhash.signature(repeated)).all()


def deduplicate(
    texts: list[str], threshold: float = 0.7
) -> tuple[NDArray[np.int64], NDArray[np.float64], list[set[int]]]:
    """Heads, similarities and the sets of shingles; the longest text is kept."""
    runs = [shingles(hash_words(text.encode()), 5) for text in texts]
    signatures = np.array([MinHash(N_HASHES).signature(run) for run in runs])

    def sets(rows: NDArray[np.int64]) -> Mapping[int, Hashes]:
        return {row: np.unique(runs[row]) for row in rows.tolist()}

    order = np.argsort([-len(text) for text in texts], kind="stable")
    heads, similarities = near_copies(signatures, order, BANDS, threshold, sets)
    return heads, similarities, [set(run.tolist()) for run in runs]


def brute_force(first: set[int], second: set[int]) -> float:
    return len(first & second) / len(first | second)


def corpus_with_copies(n: int = 60) -> list[str]:
    """Random texts, and of each a copy in which 0.2 to 8 % of the words are others."""
    random = np.random.default_rng(5)
    texts = []
    for number in range(n):
        words = random.integers(0, 5000, 400)
        copy = words.copy()
        changed = random.random(len(words)) < random.uniform(0.002, 0.08)
        copy[changed] = random.integers(5000, 10000, changed.sum())
        texts += [f"text {number} " + " ".join(map(str, part)) for part in (words, copy)]
    return texts


def test_planted_copies_are_found_and_judged_by_their_true_similarity() -> None:
    heads, similarities, sets = deduplicate(corpus_with_copies())
    found = missed = 0
    for first, second in itertools.combinations(range(len(sets)), 2):
        true = brute_force(sets[first], sets[second])
        joined = heads[first] == second or heads[second] == first
        if joined:
            assert true >= 0.7
            assert true in (similarities[first], similarities[second])
        if true >= 0.8:
            found, missed = found + joined, missed + (not joined)
        if true < 0.7:
            assert not joined
    assert found > 10
    assert missed <= 0.1 * found  # 1 - (1 - 0.8^8)^14 = 0.92 at 0.8, and more above


def test_a_chain_of_copies_never_drops_a_text_unlike_the_one_kept() -> None:
    """Windows over one long text: each is like the next, the first and the last share nothing."""
    words = [f"word{i}" for i in range(1000)]
    texts = [" ".join(words[start : start + 300]) for start in range(0, 700, 20)]
    heads, _, sets = deduplicate(texts)
    dropped = [row for row, head in enumerate(heads) if head != row]
    kept = [row for row, head in enumerate(heads) if head == row]
    assert len(dropped) >= 10
    assert len(kept) >= 5
    for row in dropped:
        assert heads[heads[row]] == heads[row]
        assert brute_force(sets[row], sets[heads[row]]) >= 0.7


def test_the_longest_of_several_copies_is_kept_and_the_first_of_equals() -> None:
    base = " ".join(f"word{i}" for i in range(200))
    heads, _, _ = deduplicate([base + " b", base + " b", base + " and more", "nothing like it"])
    assert heads.tolist() == [2, 2, 2, 3]


def test_texts_without_words_are_no_copies_of_each_other() -> None:
    heads, _, _ = deduplicate(["...", "!!!", "", "a b"])
    assert heads.tolist() == [0, 1, 2, 3]


def test_no_rows_is_no_problem() -> None:
    none = np.empty((0, N_HASHES), dtype=np.uint32)
    heads, similarities = near_copies(none, np.empty(0, dtype=np.int64), BANDS, 0.7, lambda _: {})
    assert len(heads) == len(similarities) == 0
