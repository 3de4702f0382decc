"""Every layout has the numbers of one process."""

from functools import cache

import pytest

from tests.train.distributed.cases import CASES, FAST, walk
from tests.train.distributed.conftest import layout_calls
from tests.train.distributed.world import worlds

TOLERANCE = 5e-6  # a unit in the last place of these losses is 5e-7

EXACT = [name for name in CASES if name != "bf16"]
SLOW = {
    "2 shards": [name for name in EXACT if name not in FAST["2 shards"]],
    "2 replicas": ["nanochat, muon", "bert", "t5", "electra"],
    "4 shards": ["nanochat, muon", "llama", "llama, tied", "albert, pairs", "t5", "five rows"],
    "2 replicas of 2 shards": ["nanochat, muon", "llama, tied", "bert", "t5", "electra"],
    "zero 1": ["nanochat, muon", "t5"],
    "tp": ["nanochat, muon", "nanochat, adamw", "gpt-j", "gpt-neox", "opt", "bart", "t5", "bloom"],
    "tp and sp": [
        "nanochat, muon", "olmo2", "palm", "penalties", "gpt-j", "bart", "ul2", "albert, pairs",
        "opt", "five rows", "micro-batches",
    ],
    "cp": ["olmo2", "palm", "llama", "gpt-j", "penalties", "bert", "micro-batches", "opt"],
    "tp and cp": ["nanochat, muon", "olmo2", "bloom", "roberta"],
}  # fmt: skip


def pairs(chosen):
    return [(layout, name) for layout, names in chosen.items() for name in names]


@cache
def alone(name):
    return walk(CASES[name], {})


def walked(chosen, folder):
    """{layout: [what each rank found, by case]}."""
    return dict(zip(chosen, worlds(layout_calls(chosen), folder), strict=True))


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    return walked(SLOW, tmp_path_factory.mktemp("slow"))


def require_the_numbers_of_one_process(ranks, name, tolerance=TOLERANCE):
    expected, first = alone(name), ranks[0][name]
    assert first["losses"] == pytest.approx(expected["losses"], rel=tolerance)
    assert first["norms"] == pytest.approx(expected["norms"], rel=tolerance)
    for rank in ranks:
        for what in ("losses", "norms", "hash"):  # to the bit
            assert rank[name][what] == first[what]
        assert rank[name]["evaluation"] == pytest.approx(expected["evaluation"], rel=tolerance)
        assert rank[name]["parameters"] == expected["parameters"]
        assert rank[name]["roles"] == expected["roles"]


@pytest.mark.parametrize(("layout", "name"), pairs(FAST))
def test_a_layout_has_the_numbers_of_one_process(met, layout, name):
    require_the_numbers_of_one_process(met.layouts[layout], name)


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "name"), pairs(SLOW))
def test_more_layouts_have_the_numbers_of_one_process(slow, layout, name):
    require_the_numbers_of_one_process(slow[layout], name)


@pytest.mark.slow
def test_in_bf16_they_are_those_of_one_process_but_for_its_rounding(tmp_path):
    ranks = walked({"2 shards": ["bf16"]}, tmp_path)["2 shards"]
    require_the_numbers_of_one_process(ranks, "bf16", 2e-3)  # half a unit of bf16 is 2e-3


def test_a_cut_model_writes_the_text_of_one_process(met):
    for rank in met.layouts["2 shards"]:
        assert rank["llama"]["text"] == alone("llama")["text"]


@pytest.mark.parametrize(("layout", "n_shards"), [("2 shards", 2), ("2 replicas of 2 shards", 2)])
def test_a_rank_holds_its_share_of_the_weights_and_no_more(met, layout, n_shards):
    for rank in met.layouts[layout]:
        for found in rank.values():
            # Each tensor's first dimension is divided, so that a rank has a row more of some.
            assert found["held"] <= 1.02 * found["parameters"] / n_shards


def test_replicas_hold_all_of_it(met):
    for rank in met.layouts["2 replicas"]:
        assert rank["llama, tied"]["held"] == rank["llama, tied"]["parameters"]


def test_rank_0_draws_as_one_process_and_the_others_otherwise(met):
    first, second = (rank["llama"]["draws"] for rank in met.layouts["2 shards"])
    assert first == alone("llama")["draws"]
    assert second != first
