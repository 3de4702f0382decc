from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.evaluate import memorisation as module
from groundup.evaluate.memorisation import distinct, find_copies, memorisation


class Tokens:
    """Stands in for a dataset."""

    def __init__(self, tokens: list[int]) -> None:
        self.tokens = np.array(tokens, dtype=np.uint16)
        self.n_tokens = len(tokens)


def holds(train: list[int], run: list[int]) -> bool:
    return any(train[i : i + len(run)] == run for i in range(len(train) - len(run) + 1))


@given(
    train=st.lists(st.integers(0, 2), max_size=60),
    texts=st.lists(st.lists(st.integers(0, 2), max_size=30), max_size=4),
    size=st.sampled_from([7, 1000]),
)
@settings(deadline=None, max_examples=60)
def test_copies_are_those_of_a_search_run_by_run(
    train: list[int], texts: list[list[int]], size: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "COPIED", (3, 5))
        patch.setattr(module, "SEARCHED_AT_ONCE", size)
        copies = find_copies(texts, Tokens(train))  # type: ignore[arg-type]
    for ids, found in zip(texts, copies, strict=True):
        for n in (3, 5):
            expected = [holds(train, ids[i : i + n]) for i in range(len(ids) - n + 1)]
            assert found.copied[n].tolist() == expected
        lengths = [
            n for n in range(3, len(ids) + 1) for i in range(len(ids) - n + 1)
            if holds(train, ids[i : i + n])
        ]  # fmt: skip
        assert len(found.longest) == max(lengths, default=0)
        assert not found.longest or holds(train, found.longest)


def test_the_figures_of_a_recited_a_repeated_and_a_new_text() -> None:
    rng = np.random.default_rng(0)
    train = rng.integers(1, 4000, 5000).tolist()
    texts = {
        "recited": [train[100:140], train[300:340]],
        "repeated": [[5, 6] * 20],
        "new": [rng.integers(1, 4000, 40).tolist()],
        "half": [train[10:30] + rng.integers(1, 4000, 20).tolist()],
        "none": [],
    }
    found = memorisation(texts, Tokens(train))  # type: ignore[arg-type]
    assert found["recited"]["copy_rate"] == {"8": 1.0, "16": 1.0}
    assert found["recited"]["longest_copy"] == 40
    assert found["repeated"]["distinct"] == {"1": 2 / 40, "2": 2 / 39, "3": 2 / 38, "4": 2 / 37}
    assert found["new"]["copy_rate"] == {"8": 0.0, "16": 0.0}
    assert found["new"]["longest_copy"] == 0
    assert found["half"]["copy_rate"]["16"] == pytest.approx(5 / 25)
    assert found["half"]["longest_copy_ids"] == train[10:30]
    assert found["none"]["copy_rate"] == {"8": None, "16": None}
    assert found["none"]["distinct"]["1"] is None
    assert found["none"]["distinct_tokens"] == 0
    assert found["recited"]["distinct_tokens"] == found["new"]["distinct_tokens"] == 40


def test_a_larger_set_of_the_same_kind_is_not_called_less_varied() -> None:
    rng = np.random.default_rng(0)
    few, many = ([rng.integers(1, 50, 30).tolist() for _ in range(n)] for n in (4, 60))
    found = memorisation({"few": few, "many": many}, Tokens([1]))  # type: ignore[arg-type]
    assert found["few"]["distinct"]["1"] == pytest.approx(found["many"]["distinct"]["1"], abs=0.1)
    assert distinct(many, 1) < 0.1  # what it was: 50 symbols among 1,800 tokens
    uneven = memorisation({"a": few, "b": [few[0] + few[1], few[2] + few[3]]}, Tokens([1]))  # type: ignore[arg-type]
    assert uneven["a"]["distinct"]["1"] == uneven["b"]["distinct"]["1"]


def test_runs_do_not_cross_from_one_text_to_the_next() -> None:
    train = list(range(1, 60))
    copies = find_copies([train[:8], train[8:16]], Tokens(train))  # type: ignore[arg-type]
    assert [len(copy.longest) for copy in copies] == [8, 8]


def test_a_false_match_of_hashes_is_not_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Blind(module.RunHashes):
        def at(self, places: np.ndarray, n: int) -> np.ndarray:
            return np.zeros(len(places), dtype=np.uint64)

    monkeypatch.setattr(module, "RunHashes", Blind)
    (copy,) = find_copies([list(range(100, 120))], Tokens(list(range(50))))  # type: ignore[arg-type]
    assert copy.longest == []


def test_distinct_counts_runs_inside_texts_alone() -> None:
    assert distinct([[1, 2], [1, 2, 3]], 2) == 2 / 3
    assert distinct([[1], [2]], 2) is None
