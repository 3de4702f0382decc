"""Which links are measured, and a link between two processes' ends."""

from __future__ import annotations

import threading
from itertools import combinations
from typing import Any

import pytest
from torch.distributed import HashStore  # type: ignore[attr-defined]

from groundup.train.doctor.network import ALL_PAIRS_UP_TO, measure, measure_links, rounds


@pytest.mark.parametrize("n", range(1, ALL_PAIRS_UP_TO + 1))
def test_all_pairs_once_and_nobody_twice_in_a_round(n: int) -> None:
    ranks = [3 * rank for rank in range(n)]
    made = rounds(ranks)
    pairs = [frozenset(pair) for one in made for pair in one]
    assert sorted(map(sorted, pairs)) == sorted(map(sorted, combinations(ranks, 2)))
    for one in made:
        busy = [rank for pair in one for rank in pair]
        assert len(busy) == len(set(busy))


@pytest.mark.parametrize("n", [9, 10, 33])
def test_of_many_ranks_each_has_its_two_neighbours(n: int) -> None:
    made = rounds(list(range(n)))
    assert len(made) <= 3
    links = {frozenset(pair) for one in made for pair in one}
    assert links == {frozenset((rank, (rank + 1) % n)) for rank in range(n)}
    for one in made:
        busy = [rank for pair in one for rank in pair]
        assert len(busy) == len(set(busy))


def test_both_ends_of_a_link_have_the_same_numbers() -> None:
    store, found = HashStore(), {}

    def end(rank: int) -> None:
        found[rank] = list(measure_links(store, [0, 1], rank, "cpu", 0.1))

    threads = [threading.Thread(target=end, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [ours], [theirs] = found[0], found[1]
    assert (ours.pop("rank"), theirs.pop("rank")) == (1, 0)
    assert ours == theirs
    assert ours["error"] is None
    assert ours["bytes_per_second"] > 0
    assert ours["latency_seconds"] > 0


def test_a_dead_link_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise RuntimeError("Connection  refused\nby peer")

    monkeypatch.setattr("groundup.train.doctor.network.pair_group", refuse)
    found = measure(HashStore(), (0, 1), 0, "cpu", 0.1)
    assert found == {
        "latency_seconds": None, "bytes_per_second": None, "error": "Connection refused by peer",
    }  # fmt: skip
