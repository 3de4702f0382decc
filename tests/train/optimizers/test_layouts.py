"""Optimizers on tensors that are cut over processes: the numbers of one process, few messages."""

import pytest
import torch

from groundup.train.optimizers.owners import chunks, deal
from tests.train.distributed.world import worlds
from tests.train.optimizers.cases import EVEN, OPTIMIZERS, SHAPES, STEPS, walk

CASES = "tests.train.optimizers.cases:"
LAYOUTS = ("rows", "columns", "copies", "copies of rows", "rows and columns", "rows of rows")
MIXED = [("muon", "fp32"), ("adamw", "fp32"), ("sgd", "bf16"), ("adafactor", "fp32")]
TOLERANCE = 5e-6


@pytest.fixture(scope="module")
def met(tmp_path_factory):
    """What each rank found: of 4 on each layout, of 2 with models of mixed layouts."""
    calls = [(4, f"{CASES}walk_all", []), (2, f"{CASES}mixed_all", [MIXED])]
    alike, mixed = worlds(calls, tmp_path_factory.mktemp("optimizers"))
    return {"alike": alike, "mixed": mixed}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_has_the_numbers_of_one_process(met, layout, name):
    ranks = [rank[f"{name}, {layout}"] for rank in met["alike"]]
    shapes = EVEN if layout in ("rows and columns", "rows of rows") else SHAPES
    for found, expected in zip(ranks[0]["weights"], walk(name, shapes), strict=True):
        # A bf16 product may round otherwise in another stack: two places of eight bits.
        tolerance = 1e-3 if name == "muon, bf16" else TOLERANCE
        torch.testing.assert_close(torch.tensor(found), expected.data, rtol=0, atol=tolerance)
    assert all(rank["weights"] == ranks[0]["weights"] for rank in ranks)  # to the bit


@pytest.mark.parametrize("layout", ["rows", "columns", "copies of rows"])
def test_muon_sends_two_messages_a_step_for_all_matrices(met, layout):
    for rank in met["alike"]:
        assert rank[f"muon, {layout}"]["calls"] == {"all_to_all_single": 2 * STEPS}


def test_muon_sends_fewer_messages_than_torchs(met):
    for rank in (rank["messages"] for rank in met["mixed"]):
        assert sum(rank["ours"].values()) == 2
        assert sum(rank["torch's"].values()) >= 24


def test_copies_send_nothing_and_what_works_on_pieces_neither(met):
    for rank in met["alike"]:
        for name in OPTIMIZERS:
            assert rank[f"{name}, copies"]["calls"] == {}
        for layout in LAYOUTS:
            assert rank[f"sgd, {layout}"]["calls"] == rank[f"adamw, bf16, {layout}"]["calls"] == {}


def test_adafactor_sends_two_sums_a_step_and_dimension(met):
    for rank in met["alike"]:
        assert rank["adafactor, copies of rows"]["calls"] == {"all_reduce": 2 * STEPS}
        assert rank["adafactor, rows and columns"]["calls"] == {"all_reduce": 4 * STEPS}


@pytest.mark.parametrize("name", [name for name, _ in MIXED])
def test_a_model_of_mixed_layouts_is_moved_as_a_whole_one(met, name):
    for rank in met["mixed"]:
        assert rank[name]["moved"] > 0.1
        assert rank[name]["apart"] < TOLERANCE
        assert rank[name]["sum"] == met["mixed"][0][name]["sum"]


def test_the_work_is_dealt_out_evenly():
    shapes = [(64, 64)] * 48 + [(256, 64)] * 12 + [(64, 256)] * 12
    owners = deal(shapes, 8)
    loads = [0] * 8
    for (rows, columns), owner in zip(shapes, owners, strict=True):
        loads[owner] += rows * columns * min(rows, columns)
    assert max(loads) == min(loads)


def test_an_odd_number_of_matrices_leaves_nobody_with_two_more():
    owners = deal([(8, 8)] * 11, 4)
    counts = [owners.count(rank) for rank in range(4)]
    assert sorted(counts) == [2, 3, 3, 3]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("length", [1, 3, 7, 8, 16])
def test_rows_are_cut_as_torch_chunk_does(length, size):
    parts = [len(part) for part in torch.arange(length).chunk(size)]
    assert chunks(length, size) == parts + [0] * (size - len(parts))
