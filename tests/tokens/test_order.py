from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.tokens.order import permuted, samples_at

sizes = st.integers(1, 3000)
seeds = st.integers(0, 2**63)


@given(n=sizes, seed=seeds, epoch=st.integers(0, 10**6))
@settings(deadline=None)
def test_an_epoch_is_a_permutation(n: int, seed: int, epoch: int) -> None:
    assert sorted(permuted(np.arange(n), n, seed, epoch)) == list(range(n))


@given(n=st.integers(1, 150), batch=st.integers(3, 60), seed=seeds)
@settings(deadline=None)
def test_every_sample_comes_once_an_epoch_and_batches_cross_its_edge(
    n: int, batch: int, seed: int
) -> None:
    steps = -(-3 * n // batch)
    stream = np.concatenate([samples_at(seed, step * batch, batch, n) for step in range(steps)])
    for epoch in range(3):
        assert sorted(stream[epoch * n : (epoch + 1) * n]) == list(range(n))


@given(n=sizes, seed=seeds, step=st.integers(0, 10**9), batch=st.integers(1, 32))
@settings(deadline=None)
def test_a_batch_depends_on_seed_and_step_alone(n: int, seed: int, step: int, batch: int) -> None:
    whole = samples_at(seed, step * 2 * batch, 2 * batch, n)
    halves = [samples_at(seed, (2 * step + half) * batch, batch, n) for half in (0, 1)]
    assert whole.tolist() == np.concatenate(halves).tolist()
    assert whole.dtype == np.int64


def test_very_large_data_sets_are_ordered_without_a_table() -> None:
    n = 10**15
    samples = samples_at(1, 5000 * 10**11, 5000, n)
    assert len(set(samples.tolist())) == 5000
    assert samples.min() >= 0
    assert samples.max() < n
    assert abs(samples.mean() / n - 0.5) < 0.02  # five standard errors of a uniform mean


@pytest.mark.parametrize("n", [7, 64, 1000, 4096])
def test_places_are_spread_evenly_over_seeds_and_epochs(n: int) -> None:
    # Where place 0 and 1 go, over 4000 (seed, epoch): a chi-square over at most 8 cells.
    cells = min(n, 8)
    landed = np.array(
        [permuted(np.array([0, n // 2]), n, s, e) for s in range(200) for e in range(20)]
    )
    edges = np.arange(cells) * n // cells
    sizes_of_cells = np.diff(np.append(edges, n))
    for place in (0, 1):
        counts = np.bincount(np.searchsorted(edges, landed[:, place], "right") - 1, minlength=cells)
        expected = 4000 * sizes_of_cells / n
        chi_square = ((counts - expected) ** 2 / expected).sum()
        assert chi_square < 29.9  # 1 in 10,000 for 7 degrees of freedom


def test_neighbours_do_not_stay_neighbours() -> None:
    n = 5000
    order = permuted(np.arange(n), n, 0, 0)
    correlation = np.corrcoef(order[:-1], order[1:])[0, 1]
    assert abs(correlation) < 4 / np.sqrt(n)
    assert (np.diff(order) == 1).mean() < 0.01


def test_seeds_and_epochs_give_other_orders() -> None:
    orders = {tuple(permuted(np.arange(50), 50, s, e)) for s in range(10) for e in range(10)}
    assert len(orders) == 100


def test_the_order_is_the_one_of_version_one() -> None:
    # A changed order would break the resume of every run there is: change it knowingly.
    assert samples_at(0, 0, 8, 100).tolist() == [89, 46, 79, 57, 3, 2, 72, 67]
