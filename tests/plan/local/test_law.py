from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.errors import InputError
from groundup.plan.laws import effective_tokens
from groundup.plan.local.fit import fit_law
from groundup.plan.local.law import (
    Run,
    read_runs,
    t_quantile_95,
)
from tests.plan.local.machines import TRUTH, runs


def test_twelve_exact_runs_give_back_their_law_where_it_will_be_asked() -> None:
    law = fit_law(runs())
    for n, d in [(4e5, 1e7), (3.1e6, 3.8e6), (1.06e7, 1e6), (1.06e7, 1e7)]:
        assert law.predict(n, d) == pytest.approx(TRUTH.loss(n, d), rel=2e-3)


def test_the_band_holds_the_truth_and_widens_outside_the_runs() -> None:
    law = fit_law(runs(noise=0.01, seed=3))
    widths = []
    for n, d in [(3.1e6, 2e6), (3.1e6, 3e7), (5e7, 3e8)]:
        low, high = law.band(n, d)
        assert low < TRUTH.loss(n, d) < high
        assert low < law.predict(n, d) < high
        widths.append(high / low)
    assert widths == sorted(widths)
    assert widths[0] < 1.1  # 1 % noise: a few percent either way


def test_runs_that_say_nothing_of_size_leave_the_prior_in_charge() -> None:
    one_size = [Run(1e6, 1e5 * 2**i, 0.5 + 50 / (1e5 * 2**i) ** 0.3) for i in range(7)]
    c = fit_law(one_size).coefficients
    assert 4 < (c.b / c.a) ** (1 / c.alpha) < 100  # tokens per parameter, published: about 20


def test_five_runs_are_too_few() -> None:
    with pytest.raises(InputError, match="needs 6 runs"):
        fit_law(runs()[:5])


@pytest.mark.parametrize("loss", [float("nan"), 0.0, -1.0, float("inf")])
def test_a_run_without_a_positive_loss_is_named(loss: float) -> None:
    with pytest.raises(InputError, match="not positive"):
        fit_law([*runs(), Run(1e6, 1e6, loss)])


def test_repeated_text_is_worth_what_muennighoff_2023_say() -> None:
    unique = 1e9
    assert effective_tokens(unique, unique) == unique
    # Their section 6: up to 4 epochs nearly as good as fresh; R* = 15 is where 1 - 1/e is left.
    assert effective_tokens(4 * unique, unique) > 0.9 * 4 * unique
    at_half_life = effective_tokens((1 + 15.387756) * unique, unique) - unique
    assert at_half_life == pytest.approx((1 - math.exp(-1)) * 15.387756 * unique)
    assert effective_tokens(1e6 * unique, unique) == pytest.approx(16.387756 * unique)


@given(st.floats(1e3, 1e12), st.floats(1e3, 1e12), st.floats(1, 10))
def test_more_tokens_are_never_worth_less_nor_more_than_fresh(
    unique: float, tokens: float, factor: float
) -> None:
    worth = effective_tokens(tokens, unique)
    assert worth <= tokens * (1 + 1e-12)
    assert effective_tokens(tokens * factor, unique) >= worth * (1 - 1e-12)


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(4, 2.132), (7, 1.895), (10, 1.812), (30, 1.697), (120, 1.658)]
)
def test_student_t_as_in_printed_tables(freedom: int, quantile: float) -> None:
    assert t_quantile_95(freedom) == pytest.approx(quantile, abs=6e-3)


HEADER = "corpus,family,non_embedding_parameters,tokens,bits_per_byte,unique_tokens\n"


def test_runs_are_read_by_family_if_it_has_enough(tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    ours = [f"stdlib,nanochat,{n}e6,1e6,1.5,\n" for n in range(1, 9)]
    file.write_text(HEADER + "".join(ours) + "stdlib,llama,1e6,2e6,1.6,1e6\n")
    assert len(read_runs(file, "nanochat")) == 8
    assert len(read_runs(file, "llama")) == 9
    assert read_runs(file)[-1] == Run(1e6, 2e6, 1.6, 1e6, "stdlib")


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", HEADER + "x,y,one,2,3,\n"])
def test_a_broken_table_of_runs_is_an_input_error(tmp_path: Path, content: str) -> None:
    file = tmp_path / "runs.csv"
    file.write_text(content)
    with pytest.raises(InputError, match="table of runs"):
        read_runs(file)


def test_a_missing_table_of_runs_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not there"):
        read_runs(tmp_path / "none.csv")


def test_the_shipped_runs_lie_on_their_law() -> None:
    law = fit_law(read_runs(family="nanochat"))
    assert law.noise < 0.05
    assert law.coefficients.irreducible > 0
    assert 0.1 < law.coefficients.alpha < 0.6


def test_the_law_of_the_shipped_runs_is_the_one_that_our_own_solver_found() -> None:
    """Predictions at nine places, written down before scipy took the solver's place."""
    law = fit_law(read_runs(family="nanochat"))
    found = [law.predict(n, d) for n in (4e5, 3e6, 1e7) for d in (2.5e5, 2e6, 1e7)]
    assert found == pytest.approx(
        [2.10892, 1.61346, 1.41719, 2.07821, 1.58274, 1.38647, 2.07008, 1.57461, 1.37834], rel=1e-3
    )
