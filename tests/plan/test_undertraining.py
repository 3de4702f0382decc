import math

import pytest

from groundup.errors import ConfigError, InputError
from groundup.plan.laws import frontier, surface
from groundup.plan.milestones import milestones
from groundup.plan.undertraining import field, frontier_line, place, places


def test_the_papers_five_models_are_far_under_trained():
    found = {one.name: one for one in places(milestones())}
    for name in ("LaMDA 137B", "GPT-3 175B", "Jurassic-1 178B", "Gopher 280B", "MT-NLG 530B"):
        assert found[name].factor < 0.1, name
        assert all(factor < 0.1 for factor in found[name].factor_by_law.values()), name
        assert found[name].verdict.startswith("under-trained")


@pytest.mark.parametrize(
    ("params", "tokens"),  # Hoffmann et al. 2022, table 3, optimal tokens of approach 1
    [(1e9, 20.2e9), (10e9, 205.1e9), (175e9, 3.7e12), (280e9, 5.9e12), (520e9, 11.0e12)],
)
def test_the_published_optima_are_near_the_optimum(params, tokens):
    found = place("optimum", params, tokens, "chinchilla-1")
    assert found.factor == pytest.approx(1, rel=0.01)
    assert found.verdict == "near the optimum for its compute"
    assert found.optimal_parameters_at_compute == pytest.approx(params, rel=0.01)


def test_chinchilla_is_near_and_llama_3_far_beyond():
    found = {one.name: one for one in places(milestones())}
    assert found["Chinchilla 70B"].factor == pytest.approx(1, abs=0.1)
    assert found["Llama 3 8B"].factor > 50
    assert found["Llama 3 8B"].verdict.startswith("over-trained")


def test_excess_compute_is_one_at_the_optimum_and_more_beside_it():
    (point,) = frontier(flops=1e23, law="besiroglu")
    at = place("at", point.params, point.tokens, "besiroglu")
    assert at.excess_compute == pytest.approx(1, abs=1e-9)
    assert at.factor == pytest.approx(1, rel=1e-9)
    for ratio in (0.1, 10):
        beside = place("beside", point.params * ratio, point.tokens / ratio, "besiroglu")
        assert beside.excess_compute > 1.05


def test_the_field_holds_both_surfaces():
    found = field((1e9, 1e12), (1e10, 1e14), "besiroglu", n_points=5)
    assert len(found.log10_factor) == len(found.tokens) == len(found.loss) == 5
    losses = surface("besiroglu")
    assert found.loss[1][2] == pytest.approx(losses.loss(found.parameters[2], found.tokens[1]))
    optimal = losses.optimal_tokens(found.parameters[0])
    assert found.log10_factor[3][0] == pytest.approx(math.log10(found.tokens[3] / optimal))
    for params, tokens in frontier_line("besiroglu", (1e9, 1e12), 4):
        assert tokens == pytest.approx(losses.optimal_tokens(params))


def test_wrong_laws_and_sizes_are_refused():
    with pytest.raises(ConfigError, match="chinchila"):
        places(milestones(), "chinchila")
    with pytest.raises(InputError):
        place("mine", -1, 1e9)


def test_sources_and_guesses_come_with_the_known_models():
    found = places(milestones())
    assert all(one.source for one in found)
    assert [one.name for one in found if one.speculative] == ["PaLM 2"]
