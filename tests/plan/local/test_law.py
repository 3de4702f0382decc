from __future__ import annotations

import csv
import math
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.errors import InputError
from groundup.plan.local.fit import fit_free, fit_law
from groundup.plan.local.law import (
    Coefficients,
    Run,
    effective_tokens,
    read_runs,
    t_quantile_95,
)
from tests.plan.local.machines import TRUTH, runs

# 245 digitised points of Hoffmann et al. 2022 (Besiroglu et al. 2024). They state no licence and so
# are not in this repository: the refit runs where they lie beside it, the one after it everywhere.
POINTS = Path(__file__).parents[4] / "shared" / "planner" / "chinchilla_points_epoch.csv"
BESIROGLU = Coefficients(1.8172, 482.01, 0.3478, 2085.43, 0.3658)
STANDARD_ERRORS = Coefficients(0.03, 124.58, 0.02, 1293.23, 0.02)


def published_points() -> list[Run]:
    with POINTS.open(newline="") as file:
        points = [
            Run(float(row["params"]), float(row["tokens_C_over_6N"]), float(row["loss"]))
            for row in csv.DictReader(file)
        ]
    return sorted(points, key=lambda point: point.tokens / point.parameters)


@pytest.mark.skipif(not POINTS.exists(), reason="the digitised points are not here")
def test_the_refit_of_chinchilla_gives_the_published_coefficients() -> None:
    found = fit_free(published_points()[5:])  # without the five outliers of lowest tokens/parameter
    for name in ("irreducible", "a", "alpha", "b", "beta"):
        error = getattr(found, name) - getattr(BESIROGLU, name)
        assert abs(error) < getattr(STANDARD_ERRORS, name), name
    assert found.irreducible == pytest.approx(1.8172, abs=5e-4)
    assert found.alpha == pytest.approx(0.3473, abs=5e-4)
    assert found.beta == pytest.approx(0.3672, abs=5e-4)


def test_a_refit_of_as_many_runs_with_outliers_gives_their_coefficients() -> None:
    """Runs made with the published coefficients, as many and as large, 0.5 % of noise."""
    random = Random(0)
    points = []
    for _ in range(240):
        n, ratio = 10 ** random.uniform(7.6, 10.2), 10 ** random.uniform(0, 2.5)
        loss = BESIROGLU.loss(n, n * ratio) * math.exp(random.gauss(0, 0.005))
        points.append(Run(n, n * ratio, loss))
    points += [Run(n, n / 10, 1.3 * BESIROGLU.loss(n, n / 10)) for n in (1e9, 2e9, 3e9, 5e9)]
    found = fit_free(points)
    for name in ("irreducible", "a", "alpha", "b", "beta"):
        error = getattr(found, name) - getattr(BESIROGLU, name)
        assert abs(error) < 2 * getattr(STANDARD_ERRORS, name), name


def test_a_free_fit_recovers_a_known_law() -> None:
    sizes = [10 ** (7.5 + 0.35 * i) for i in range(8)]
    points = [
        Run(n, n * ratio, BESIROGLU.loss(n, n * ratio)) for n in sizes for ratio in (3, 20, 90)
    ]
    found = fit_free(points)
    assert found.irreducible == pytest.approx(1.8172, rel=2e-3)
    assert found.alpha == pytest.approx(0.3478, rel=5e-3)
    assert found.beta == pytest.approx(0.3658, rel=5e-3)


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
