from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.errors import ConfigError, InputError
from groundup.plan import laws
from groundup.plan.catalogs import read_catalog
from groundup.plan.laws import (
    LossSurface,
    Point,
    data_constrained_loss,
    effective_tokens,
    find_law,
    frontier,
    loss_by_law,
    multipliers,
    surface,
)
from groundup.plan.loss_surface import KaplanSurface

LISTED = [
    "chinchilla-1",
    "chinchilla-2",
    "chinchilla-3",
    "chinchilla-3-printed",
    "besiroglu",
    "kaplan",
    "muennighoff",
    "deepseek",
    "llama3",
]
GOPHER = 5.76e23


def one(law: str, **given: float) -> Point:
    (point,) = frontier(law=law, **given)
    return point


def test_the_frontier_shows_the_nine_laws_and_one_default() -> None:
    points = frontier(flops=GOPHER)
    assert [point.law for point in points] == LISTED
    assert [point.law for point in points if point.default] == ["chinchilla-1"]


# Hoffmann et al. 2022 (arXiv:2203.15556), Table 3, which the white paper prints:
# id, N, FLOPs, tokens
TABLE_3 = [
    ("S1-01", 400e6, 1.92e19, 8.0e9),
    ("S1-02", 1e9, 1.21e20, 20.2e9),
    ("S1-03", 10e9, 1.23e22, 205.1e9),
    ("S1-04", 67e9, 5.76e23, 1.5e12),
    ("S1-05", 175e9, 3.85e24, 3.7e12),
    ("S1-06", 280e9, 9.90e24, 5.9e12),
    ("S1-07", 520e9, 3.43e25, 11.0e12),
    ("S1-08", 1e12, 1.27e26, 21.2e12),
    ("S1-09", 10e12, 1.30e28, 216.2e12),
]


@pytest.mark.parametrize(("params", "flops", "tokens"), [row[1:] for row in TABLE_3],
                         ids=[row[0] for row in TABLE_3])  # fmt: skip
def test_the_table_of_the_paper(params: float, flops: float, tokens: float) -> None:
    rounded = params == 67e9  # its printed tokens are 5 % above C/6N
    point = one("chinchilla-1", params=params)
    assert point.params == params
    assert point.flops == pytest.approx(flops, rel=0.03 if rounded else 0.01)
    assert point.tokens == pytest.approx(tokens, rel=0.08 if rounded else 0.01)


def test_s1_08_in_gopher_units() -> None:
    gopher_units = one("chinchilla-1", params=1e12).flops / laws.GOPHER_FLOPS
    assert gopher_units == pytest.approx(221.3, rel=0.01)


# The same paper, Table A3: approach, N, FLOPs, tokens (175B of approach 3 prints 1.26e24, a slip)
TABLE_A3 = [
    ("S1-10", 2, 10e9, 1.32e22, 219.5e9),
    ("S1-11", 2, 280e9, 1.18e25, 7.1e12),
    ("S1-12", 3, 175e9, 1.26e25, 12.0e12),
    ("A3-3-1B", 3, 1e9, 1.62e20, 27.1e9),
    ("A3-3-10T", 3, 10e12, 8.55e28, 1425.5e12),
]


@pytest.mark.parametrize(("approach", "params", "flops", "tokens"), [row[1:] for row in TABLE_A3],
                         ids=[row[0] for row in TABLE_A3])  # fmt: skip
def test_the_other_two_approaches(
    approach: int, params: float, flops: float, tokens: float
) -> None:
    point = one(f"chinchilla-{approach}", params=params)
    assert point.flops == pytest.approx(flops, rel=0.04)
    assert point.tokens == pytest.approx(tokens, rel=0.04)


@pytest.mark.parametrize("approach", [1, 2, 3])
def test_the_shipped_coefficients_are_the_fit_of_the_shipped_rows(approach: int) -> None:
    rows = [
        row for row in read_catalog("chinchilla_frontier") if row.text("approach") == str(approach)
    ]
    assert len(rows) == 9
    n, c = ([row.needed(name) for row in rows] for name in ("params", "flops"))
    a, log_k = np.polyfit(np.log(c), np.log(n), 1)
    law = find_law(f"chinchilla-{approach}").params
    assert law.exponent == pytest.approx(float(a), rel=1e-12)
    assert law.coefficient == pytest.approx(math.exp(log_k), rel=1e-12)


def test_approach_1_at_1e21_flops_is_the_model_that_the_paper_trained() -> None:
    """Appendix D.4: 2.86 billion by approach 1, 4.68 billion by Kaplan (who counts half the C)."""
    assert one("chinchilla-1", flops=1e21).params == pytest.approx(2.86e9, rel=2e-3)
    assert one("kaplan", flops=1e21 / 2).params == pytest.approx(4.68e9, rel=2e-3)


def test_s1_13_besiroglu_at_gophers_budget() -> None:
    point = one("besiroglu", flops=GOPHER)
    assert point.params == pytest.approx(72.2e9, rel=0.01)
    assert point.tokens == pytest.approx(1.329e12, rel=0.01)
    assert point.tokens_per_param == pytest.approx(18.4, rel=0.01)


def test_s1_14_the_rounded_surface_warns() -> None:
    point = one("chinchilla-3-printed", flops=GOPHER)
    assert point.params == pytest.approx(32.2e9, rel=0.01)
    assert point.tokens == pytest.approx(2.98e12, rel=0.01)
    assert point.tokens_per_param == pytest.approx(92.6, rel=0.01)
    assert "WARNING" in point.note
    assert "misses the paper's own Table A3" in point.note


@pytest.mark.parametrize(
    ("law", "low", "high"),
    [("chinchilla-3-printed", 1.57, 2.22), ("chinchilla-3-unrounded", 1.025, 1.186)],
)
def test_how_far_the_surfaces_miss_the_table_they_stand_beside(
    law: str, low: float, high: float
) -> None:
    rows = [row for row in read_catalog("chinchilla_frontier") if row.text("approach") == "3"]
    misses = [one(law, params=row.needed("params")).flops / row.needed("flops") for row in rows]
    assert (min(misses), max(misses)) == pytest.approx((low, high), abs=0.006)


def test_muennighoff_has_19_6_tokens_per_parameter_everywhere() -> None:
    for flops in (1e18, GOPHER, 1e27):
        assert one("muennighoff", flops=flops).tokens_per_param == pytest.approx(19.6, rel=2e-3)


@pytest.mark.parametrize(
    ("law", "ratio", "params", "tokens"),
    [
        ("kaplan", 10, 5.37, 1.86),  # S1-17; the paper says about 5 and 2
        ("kaplan", 100, 28.8, 3.47),  # and 25 and 4 in the white paper
        ("chinchilla-1", 10, 3.16, 3.16),  # S1-19
        ("chinchilla-1", 100, 10, 10),
    ],
    ids=["S1-17", "S1-18", "S1-19-x10", "S1-19-x100"],
)
def test_more_compute_is_shared_out(law: str, ratio: float, params: float, tokens: float) -> None:
    got = multipliers(ratio, law)
    assert got == pytest.approx((params, tokens), rel=0.01 if law == "kaplan" else 0.02)
    small, large = one(law, flops=1e22), one(law, flops=ratio * 1e22)
    assert large.params / small.params == pytest.approx(got[0])
    assert large.tokens / small.tokens == pytest.approx(got[1])


def test_kaplan_is_not_mended() -> None:
    """6·N·D is 1.806 C_min at one PF-day, as printed."""
    point = one("kaplan", flops=8.64e19)
    assert (point.params, point.tokens) == pytest.approx((1.3e9, 2e10))
    assert 6 * point.params * point.tokens / point.flops == pytest.approx(1.806, rel=1e-3)


@pytest.mark.parametrize(
    ("unique", "params", "tokens", "loss"),
    [(25e9, 6.34e9, 242e9, 2.2256440889984477), (25e9, 8.67e9, 178e9, 2.2269634075087867)],
    ids=["S1-20", "S1-21"],
)
def test_the_data_constrained_loss_of_the_datablations_readme(
    unique: float, params: float, tokens: float, loss: float
) -> None:
    assert data_constrained_loss(params, tokens, unique) == pytest.approx(loss, abs=1e-12)


def test_unique_text_to_spare_changes_nothing() -> None:
    fresh = data_constrained_loss(1e9, 20e9, 20e9)
    assert data_constrained_loss(1e9, 20e9, 1e12) == fresh
    assert data_constrained_loss(1e8, 20e9, 20e9) == surface("muennighoff").loss(1e8, 20e9)


@given(st.floats(1e6, 1e12), st.floats(1e8, 1e13), st.floats(1, 100))
def test_repeated_text_is_never_better_than_fresh(n: float, d: float, epochs: float) -> None:
    law = surface("muennighoff")
    assert data_constrained_loss(n, d, max(d / epochs, 1e3)) >= law.loss(n, d) * (1 - 1e-12)
    assert effective_tokens(d, d / epochs) <= d * (1 + 1e-12)


def test_s1_25_llama_3_as_printed() -> None:
    point = one("llama3", flops=3.8e25)
    assert point.tokens == pytest.approx(10.46e12, rel=0.01)
    assert "16.55T" in point.note


def test_deepseek_spends_the_budget_it_is_given() -> None:
    """M·D = C with M = 6N FLOPs per token: 0.1715·5.8316 is 1.0001."""
    point = one("deepseek", flops=1e21)
    assert 6 * point.params * point.tokens == pytest.approx(1e21, rel=2e-4)


def test_s1_26_every_surface_prefers_chinchilla_to_gopher() -> None:
    gopher, chinchilla = loss_by_law(280e9, 300e9), loss_by_law(70e9, 1.4e12)
    assert len(gopher) >= 4
    for law, loss in gopher.items():
        assert chinchilla[law] < loss, law
    kaplan = find_law("kaplan")  # whose mistake Chinchilla was
    assert kaplan.loss(280e9, 300e9) < kaplan.loss(70e9, 1.4e12)  # type: ignore[operator]


def test_kaplan_loss_at_endless_text_is_its_law_of_size() -> None:
    """L(N, inf) = (N_c/N)^alpha_N with the coefficients of the joint fit."""
    of = KaplanSurface(6.4e13, 0.076, 1.8e13, 0.103)
    assert of.loss(1.5e9, 1e30) == pytest.approx((6.4e13 / 1.5e9) ** 0.076, rel=1e-6)


@pytest.mark.parametrize("law", [law.id for law in laws.laws().values()])
@given(flops=st.floats(1e15, 1e29))
def test_each_law_comes_back_from_its_own_params_and_tokens(law: str, flops: float) -> None:
    point = one(law, flops=flops)
    for name in ("params", "tokens"):
        again = one(law, **{name: getattr(point, name)})
        assert again.params == pytest.approx(point.params, rel=1e-9)
        assert again.tokens == pytest.approx(point.tokens, rel=1e-9)
        assert again.flops == pytest.approx(flops, rel=1e-9)
    if law not in ("kaplan", "deepseek"):
        assert 6 * point.params * point.tokens == pytest.approx(flops, rel=1e-9)


@pytest.mark.parametrize(
    "law", ["chinchilla-3", "chinchilla-3-printed", "besiroglu", "muennighoff"]
)
@given(flops=st.floats(1e15, 1e29), factor=st.floats(1.02, 50))
def test_no_other_split_of_the_budget_has_less_loss(law: str, flops: float, factor: float) -> None:
    of = surface(law)
    n, d = of.optimum(flops)
    least = of.loss(n, d)
    assert of.loss(n * factor, d / factor) > least
    assert of.loss(n / factor, d * factor) > least


@given(n=st.floats(1e6, 1e13), d=st.floats(1e8, 1e15))
def test_a_surface_inverts(n: float, d: float) -> None:
    of = surface("besiroglu")
    loss = of.loss(n, d)
    assert of.tokens_for_loss(n, loss) == pytest.approx(d, rel=1e-6)
    best_n, best_d = of.optimum_for_loss(loss)
    assert of.loss(best_n, best_d) == pytest.approx(loss, rel=1e-12)
    assert best_n * best_d <= n * d * (1 + 1e-9)
    assert of.optimal_tokens(best_n) == pytest.approx(best_d, rel=1e-9)
    assert of.optimal_params(best_d) == pytest.approx(best_n, rel=1e-9)


def test_a_loss_that_no_model_reaches() -> None:
    of = LossSurface(1.8, 400.0, 0.3, 400.0, 0.3)
    assert of.tokens_for_loss(1e6, 1.9) is None
    with pytest.raises(InputError, match="irreducible"):
        of.optimum_for_loss(1.8)


def test_the_default_lies_in_the_middle_of_the_laws() -> None:
    for flops in (1e19, 1e21, 1e23, 1e25, 1e27):
        band = sorted(p.params for p in frontier(flops=flops) if find_law(p.law).in_band)
        place = band.index(one("chinchilla-1", flops=flops).params)
        assert 2 <= place <= len(band) - 3


def test_far_extrapolation_is_said() -> None:
    assert "Extrapolated" not in one("chinchilla-2", flops=1e20).note
    assert "Extrapolated: 33,333 times" in one("chinchilla-2", flops=1e26).note


@pytest.mark.parametrize(
    "given", [{}, {"params": 1e9, "flops": 1e21}, {"params": 1.0, "tokens": 2.0}]
)
def test_exactly_one_number_is_given(given: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="exactly one"):
        frontier(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0.0, -1e9, math.nan, math.inf, 1e40, 3.0])
@pytest.mark.parametrize("name", ["params", "flops", "tokens"])
def test_absurd_numbers_are_named(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        frontier(**{name: value})  # type: ignore[arg-type]


def test_an_unknown_law_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no law 'chinchila-1'") as caught:
        frontier(params=1e9, law="chinchila-1")
    assert "did you mean chinchilla-1" in str(caught.value.fix)
    with pytest.raises(ConfigError, match="no loss surface"):
        surface("deepseek")
    with pytest.raises(ConfigError, match="no loss surface"):
        surface("kaplan")


HEADER = (
    "law,status,title,params_coefficient,params_exponent,loss_form,irreducible,a,alpha,b,beta\n"
)


def test_users_add_and_change_laws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "ours,listed,Our fit,0.1,0.5,,,,,,\nbesiroglu,,,,,,1.9,,,,\n"
    (tmp_path / "laws.csv").write_text(HEADER + rows)
    monkeypatch.setenv("GROUNDUP_CATALOG", str(tmp_path))
    assert one("ours", flops=1e20).params == pytest.approx(1e9)
    assert frontier(flops=1e20)[-1].law == "ours"
    assert surface("besiroglu").irreducible == 1.9
    assert surface("besiroglu").a == 482.01


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("ours,listed,Ours,,,,,,,,", "a law needs sizes"),
        ("ours,listed,Ours,-1,0.5,,,,,,", "params_coefficient is -1"),
        ("ours,listed,Ours,1,zero,,,,,,", "params_exponent is 'zero'"),
        ("ours,listed,Ours,,,additive,1.7,1,2,,4", "b is empty"),
    ],
)
def test_a_row_that_is_no_law_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: str, problem: str
) -> None:
    (tmp_path / "laws.csv").write_text(HEADER + row + "\n")
    monkeypatch.setenv("GROUNDUP_CATALOG", str(tmp_path))
    with pytest.raises(InputError, match=problem) as caught:
        frontier(flops=1e20)
    assert "laws.csv:2" in str(caught.value.where)


def test_every_law_has_its_source() -> None:
    for name, key in (("laws", "law"), ("hyperparameters", "law"), ("chinchilla_frontier", None)):
        for row in read_catalog(name, key):
            for column in ("source", "verification", "read"):
                assert row.text(column), (row.where, column)


def test_absurd_answers_are_left_out_of_the_list_and_refused_of_one_law() -> None:
    points = frontier(flops=1e7)
    assert 0 < len(points) < 9
    for point in points:
        assert 1e3 <= point.params <= 1e16
        assert 1e3 <= point.tokens <= 1e20
    with pytest.raises(InputError, match="chinchilla-1 answers with"):
        frontier(tokens=1e20)  # none has another answer
    with pytest.raises(InputError, match=r"kaplan answers with 0\.468 params"):
        frontier(flops=1e7, law="kaplan")


@pytest.mark.parametrize(
    ("tokens", "unique"), [(1e9, 0), (1e9, -5), (-1, 2), (math.nan, 1e9), (1e9, math.inf)]
)
def test_repeats_of_no_text_are_refused(tokens: float, unique: float) -> None:
    with pytest.raises(InputError, match="tokens is"):
        effective_tokens(tokens, unique)


@pytest.mark.parametrize("ratio", [math.nan, -1, 0])
def test_a_ratio_of_budgets_is_positive(ratio: float) -> None:
    with pytest.raises(InputError, match="flops_ratio"):
        multipliers(ratio)


def test_text_is_no_number() -> None:
    with pytest.raises(InputError, match="params is '7B', which is no number"):
        frontier(params="7B")  # type: ignore[arg-type]


def test_laws_by_other_spellings() -> None:
    assert laws.find_law("Chinchilla_1").id == "chinchilla-1"
    with pytest.raises(ConfigError, match="no law ''"):
        frontier(params=7e9, law="")


def test_an_optimum_of_a_surface_has_the_name_of_the_law_that_gives_it() -> None:
    for law in laws.surfaces():
        named = laws.name_of_optimum(law)
        (point,) = frontier(flops=5.76e23, law=named)
        assert (point.params, point.tokens) == pytest.approx(laws.surface(law).optimum(5.76e23))
    assert laws.name_of_optimum("chinchilla-3") == "chinchilla-3-unrounded"
