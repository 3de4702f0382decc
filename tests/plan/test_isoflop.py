"""Approaches 1 and 2 on runs whose optimum is known in closed form."""

from __future__ import annotations

import math

import pytest

from groundup.errors import InputError
from groundup.plan.envelope import curves_of, fit_envelope
from groundup.plan.isoflop import fit_isoflop, group_by_flops, power_law
from groundup.plan.loss_surface import LossSurface
from groundup.plan.run_table import Run, read_run_table
from tests.plan.fits import BESIROGLU, POINTS, isoflop_runs, scattered, training_curves

PRINTED = LossSurface(1.69, 406.4, 0.34, 410.7, 0.28)  # Hoffmann et al. 2022, equation 10
LAWS = {"besiroglu": BESIROGLU, "printed": PRINTED}


def exponent(law: LossSurface) -> float:
    """Hoffmann et al. 2022, equation 4: N ~ C^a with a = beta / (alpha + beta)."""
    return law.beta / (law.alpha + law.beta)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize(("noise", "tolerance"), [(0, 1e-3), (0.002, 0.012), (0.005, 0.03)])
def test_isoflop_curves_give_the_exponent_of_their_law(
    name: str, noise: float, tolerance: float
) -> None:
    law = LAWS[name]
    found = fit_isoflop(isoflop_runs(law, noise))
    assert found.a == pytest.approx(exponent(law), abs=tolerance)
    assert found.b == pytest.approx(1 - exponent(law), abs=tolerance)
    assert len(found.budgets) == 9
    params, tokens = law.optimum(3e21)
    assert found.params.at(3e21) == pytest.approx(params, rel=0.02 + 30 * noise)
    assert found.params.at(3e21) * found.tokens.at(3e21) == pytest.approx(params * tokens)
    if noise:
        assert found.standard_error is not None
        assert abs(found.a - exponent(law)) < 3 * found.standard_error


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize(("noise", "tolerance"), [(0, 4e-3), (0.002, 0.03)])
def test_the_envelope_gives_the_exponent_of_its_law(
    name: str, noise: float, tolerance: float
) -> None:
    law = LAWS[name]
    found = fit_envelope(training_curves(law, noise))
    assert found.a == pytest.approx(exponent(law), abs=tolerance)
    assert found.b == pytest.approx(1 - exponent(law), abs=tolerance)
    params, _ = law.optimum(1e21)
    assert found.params.at(1e21) == pytest.approx(params, rel=0.05 + 50 * noise)


@pytest.mark.skipif(not POINTS.exists(), reason="the digitised points are not here")
def test_the_published_points_give_equal_scaling_as_the_paper_says() -> None:
    runs, _ = read_run_table(POINTS)
    # Hoffmann et al. 2022, table 2: a is .50 (.488-.502) by approach 1, .49 (.462-.534) by 2
    assert fit_isoflop(runs).a == pytest.approx(0.49, abs=0.04)
    assert fit_envelope(runs).a == pytest.approx(0.50, abs=0.04)


def test_flops_that_are_given_are_used_instead_of_6nd() -> None:
    plain = isoflop_runs(BESIROGLU)
    given = [Run(run.params, run.tokens, run.loss, 1.5 * run.flops) for run in plain]
    one, other = fit_isoflop(plain), fit_isoflop(given)
    assert other.params.at(1.5e20) == pytest.approx(one.params.at(1e20))
    assert other.tokens.at(1.5e20) == pytest.approx(one.tokens.at(1e20))


def test_a_budget_whose_minimum_is_not_bracketed_is_left_out_and_said() -> None:
    runs = isoflop_runs(BESIROGLU)
    best, _ = BESIROGLU.optimum(1e20)
    kept = [run for run in runs if not (0.9e20 < run.flops < 1.1e20 and run.params > best)]
    found = fit_isoflop(kept)
    (left_out,) = [budget for budget in found.budgets if budget.why]
    assert left_out.flops == pytest.approx(1e20)
    assert left_out.why == "the largest size is the best: the minimum is not bracketed"
    assert left_out.params is None
    assert found.a == pytest.approx(exponent(BESIROGLU), abs=1e-3)


def test_budgets_are_found_in_flops_that_are_not_exact() -> None:
    runs = [
        Run(run.params, run.tokens * math.exp(0.05 * math.sin(place)), run.loss)
        for place, run in enumerate(isoflop_runs(BESIROGLU))
    ]
    groups = group_by_flops(runs)
    assert [len(group) for group in groups] == [10] * 9
    exact = group_by_flops(isoflop_runs(BESIROGLU), tolerance=0)
    assert [len(group) for group in exact] == [10] * 9


def test_a_loss_that_hangs_on_the_exact_flops_is_corrected_for() -> None:
    runs = []
    for place, run in enumerate(isoflop_runs(BESIROGLU)):
        tokens = run.tokens * math.exp(0.06 * math.sin(2.5 * place))
        runs.append(Run(run.params, tokens, BESIROGLU.loss(run.params, tokens)))
    assert fit_isoflop(runs).a == pytest.approx(exponent(BESIROGLU), abs=0.01)


def test_a_power_law_has_the_error_of_the_textbook() -> None:
    law, error = power_law([1.0, math.e, math.e**2], [1.0, math.e, 1.0])
    # slope 0, residuals -1/3, 2/3, -1/3: variance (6/9)/1, over a sum of squares of 2
    assert law.exponent == pytest.approx(0)
    assert error == pytest.approx(math.sqrt(6 / 9 / 2))
    assert power_law([1.0, 2.0], [1.0, 4.0])[1] is None


@pytest.mark.parametrize("fit", [fit_isoflop, fit_envelope])
def test_runs_without_curves_are_refused(fit: object) -> None:
    assert callable(fit)
    for runs in ([], scattered(0, n=3), [Run(1e9, 1e10, 2.5)] * 9):
        with pytest.raises(InputError, match="needs"):
            fit(runs)
    with pytest.raises(InputError, match="loss"):
        fit([Run(1e9, 1e10, -2.5)])


def test_curves_that_do_not_cross_are_refused() -> None:
    # the smaller model is better everywhere
    runs = [Run(n, d, 2 + n / 1e10 + 1e9 / d) for n in (1e8, 1e9, 1e10) for d in (1e9, 1e10, 1e11)]
    with pytest.raises(InputError, match="3 sizes that are the best somewhere"):
        fit_envelope(runs)


def test_sizes_that_differ_by_rounding_are_one_curve() -> None:
    runs = [
        Run(1e8 * (1 + 0.001 * place), 10.0 ** (9 + place), 3 - 0.1 * place) for place in (0, 1)
    ]
    assert [len(curve) for curve in curves_of([*runs, Run(2e8, 1e9, 3.0)])] == [2]


def test_a_tolerance_out_of_range_is_refused() -> None:
    with pytest.raises(InputError, match="tolerance is 1"):
        group_by_flops([], tolerance=1)
