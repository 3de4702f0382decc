"""How processes find one another, and what they are refused."""

import itertools
from dataclasses import replace

import pytest
import torch

from groundup.errors import ConfigError
from groundup.tokens.samples import IGNORED
from groundup.train.batch import Batch
from groundup.train.distributed import ALONE, Ranks, first_rank_does, join, rows_of
from groundup.train.noise.config import ObjectiveConfig
from groundup.train.parallel.layout import LayoutConfig, layout_of
from groundup.train.parallel.model import gradient_norm, parallelise, whole_model
from groundup.train.start import new_state
from tests.train.distributed.meeting import dropped
from tests.train.small import MODEL, SETTINGS, batch


@pytest.fixture
def started(monkeypatch):
    """Makes this process one that torchrun started."""

    def start(size, rank=0, **more):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1"}
        for name, value in {**place, "MASTER_PORT": 1, **more}.items():
            monkeypatch.setenv(name, str(value))

    return start


def test_a_process_alone_initialises_nothing():
    assert join(SETTINGS) is ALONE
    assert not torch.distributed.is_initialized()
    assert first_rank_does(lambda: 3) == 3


def test_before_processes_meet_nothing_is_imported_for_them(met):
    assert "groundup.train.parallel.model" in met.imported
    assert "torch.distributed.fsdp" not in met.imported  # it takes longer than torch
    assert "torch.distributed.tensor" not in met.imported


def test_one_process_of_torchrun_is_alone(started):
    started(1)
    assert join(SETTINGS) is ALONE


def test_ranks_agree_as_soon_as_one_says_so(met):
    for rank, found in enumerate(met.meetings["agreements"]):
        assert found == {
            "nobody": False,
            "the last": True,
            "sum": [2.0, 1.0],
            "layout": [rank, 2, 1, 2],
            "initialised": False,
        }


def test_the_others_wait_for_the_first_and_then_find_what_it_made(met):
    first, second = met.meetings["after_the_first"]
    assert first == {"made": "made", "calls": [False, "fail"], "error": "no text"}
    assert second["made"] == "made"
    assert second["calls"] == [True]  # what failed on the first rank is not tried again
    assert second["error"] == "the first process failed, so this one stops too"


def test_a_collective_fails_when_a_rank_does_not_come(met):
    first, _ = met.meetings["missing"]
    assert "imed out" in first  # and not after torch's 30 minutes


def test_each_rank_drops_other_features_and_the_first_those_of_one_process(met):
    first, second = met.meetings["dropped"]
    assert first == pytest.approx(dropped(7), rel=1e-6)
    assert second != pytest.approx(first, rel=1e-3)


ONE = {"dp_replicate": 1, "pp": 1, "dp_shard": 1, "cp": 1, "tp": 1}


@pytest.mark.parametrize(
    ("layout", "size", "expected"),
    [
        ({}, 1, {}),
        ({}, 8, {"dp_shard": 8}),
        ({"dp_replicate": 2}, 8, {"dp_replicate": 2, "dp_shard": 4}),
        ({"dp_replicate": 8}, 8, {"dp_replicate": 8}),
        ({"dp_replicate": 2, "dp_shard": 4}, 8, {"dp_replicate": 2, "dp_shard": 4}),
        ({"tp": 2, "sp": True, "pp": 2}, 8, {"tp": 2, "pp": 2, "dp_shard": 2}),
        ({"cp": 4}, 8, {"cp": 4, "dp_shard": 2}),
    ],
)
def test_a_layout_fills_the_world(layout, size, expected):
    assert layout_of(LayoutConfig(**layout), size) == {**ONE, **expected}


@pytest.mark.parametrize(
    ("layout", "size", "says", "number", "nearest"),
    [
        ({"dp_replicate": 2}, 1, "dp_replicate 2 does not come to 1 process", 2, "dp_shard 1"),
        ({"dp_replicate": 3}, 4, "dp_replicate 3 does not come to 4", 3, "dp_replicate 2 × "),
        (
            {"dp_replicate": 2, "dp_shard": 4},
            4,
            "dp_replicate 2 × dp_shard 4 does not come to 4 processes",
            8,
            "dp_replicate 2 × dp_shard 2",
        ),
        ({"dp_shard": 2}, 4, "dp_shard 2 does not come to 4", 2, "dp_shard 4"),
        ({"tp": 3}, 7, "tp 3 does not come to 7 processes", 6, "dp_shard 7"),
        ({"tp": 3}, 4, "tp 3 does not come to 4 processes", 3, "dp_shard 2 × tp 2"),
        ({"tp": 2, "dp_shard": 2}, 6, "dp_shard 2 × tp 2 does not", 4, "dp_shard 3 × tp 2"),
        ({"pp": 2, "cp": 2, "dp_replicate": 2}, 12, "does not come to 12", 16, "pp 2 × dp_shard 3"),
        (
            {"pp": 2, "vpp": 2, "schedule": "interleaved"}, 3, "pp 2 does not", 4,
            "dp_shard 3 with vpp 1",
        ),
        ({"tp": 2, "sp": True}, 3, "tp 2 does not", 4, "dp_shard 3 without sp"),
    ],
)  # fmt: skip
def test_a_layout_that_does_not_fill_the_world_is_refused(layout, size, says, number, nearest):
    with pytest.raises(ConfigError, match=says) as caught:
        layout_of(LayoutConfig(**layout), size)
    assert caught.value.where == "pretrain.layout"
    assert f"start {number} (--ranks {number}, or torchrun" in caught.value.fix
    assert f"set it to {nearest}" in caught.value.fix


def test_every_rank_has_a_place_of_its_own_on_the_axes():
    layout = {"dp_replicate": 2, "pp": 2, "dp_shard": 3, "cp": 2, "tp": 2}
    ranks = [Ranks(rank, 48, **layout) for rank in range(48)]
    places = [tuple(one.at(axis) for axis in layout) for one in ranks]
    assert places == list(itertools.product(*(range(n) for n in layout.values())))
    assert sorted({one.share for one in ranks}) == list(range(ranks[0].n_shares)) == list(range(6))


def test_more_processes_than_rows_are_refused(started):
    started(5)
    with pytest.raises(ConfigError, match="5 processes share a batch of 4 rows"):
        join(SETTINGS)


@pytest.mark.parametrize(
    "objective", [{"kind": "replaced_token"}, {"kind": "masked", "sentence": "order"}]
)
def test_rows_must_come_out_even_where_all_of_them_are_learnt_from(started, objective):
    started(3)
    settings = replace(SETTINGS, objective=ObjectiveConfig(**objective).of_kind())
    with pytest.raises(ConfigError, match="4 rows does not divide evenly over 3"):
        join(settings)


def test_half_an_environment_of_torchrun_is_refused(monkeypatch, started):
    started(2)
    monkeypatch.delenv("MASTER_PORT")
    with pytest.raises(ConfigError, match="not MASTER_PORT"):
        join(SETTINGS)


def test_more_processes_than_gpus_are_refused(started, monkeypatch):
    started(4, rank=2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="process 3 of this machine finds 2 GPUs"):
        join(replace(SETTINGS, device="cuda"))


@pytest.mark.parametrize(("n_rows", "size"), [(4, 2), (5, 2), (7, 3), (3, 4)])
def test_every_row_with_targets_is_in_one_rank(n_rows, size):
    inputs = torch.arange(n_rows)[:, None].expand(n_rows, 3)
    whole = Batch(inputs, inputs + 1)
    shares = [rows_of(whole, Ranks(rank, size, 1, size)) for rank in range(size)]
    assert len({share.inputs.shape for share in shares}) == 1
    learnt = [
        row.item()
        for share in shares
        for row, target in zip(share.inputs[:, 0], share.targets[:, 0], strict=True)
        if target != IGNORED
    ]
    assert learnt == list(range(n_rows))
    assert (whole.targets != IGNORED).all()  # the whole batch is as it was


def test_a_batch_norm_is_refused_since_it_would_see_its_own_rows_only():
    model = new_state(replace(MODEL, norm=replace(MODEL.norm, kind="batch")), SETTINGS).model
    with pytest.raises(ConfigError, match="averages over the rows of one process"):
        parallelise(model, Ranks(0, 2), SETTINGS)


def test_alone_the_gradient_norm_is_torchs_and_the_whole_model_is_the_model():
    state = new_state(MODEL, SETTINGS)
    inputs, _ = batch()
    state.model(inputs).square().mean().backward()
    parameters = list(state.model.parameters())
    assert gradient_norm(state.model) == torch.nn.utils.clip_grad_norm_(parameters, 1e9)
    with whole_model(state.model) as model:
        assert model is state.model
