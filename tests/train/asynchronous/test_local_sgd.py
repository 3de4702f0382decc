"""Replicas with steps of their own: what they come to, and that they go on where they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from groundup.errors import ConfigError
from groundup.train.asynchronous.layout import require_no_batch_norm
from groundup.train.asynchronous.local_sgd import start_outer, synchronise
from groundup.train.distributed import ALONE
from groundup.train.state import RunState
from tests.train.asynchronous.replicas import PLAIN, settings_of, train
from tests.train.distributed.world import worlds

SGD = {"optimizer": "sgd", "momentum": 0.0, "clip": "none", "learning_rate": 0.1}
CALLS: dict[str, tuple[int, str, dict[str, Any] | None, dict[str, Any]]] = {
    "synchronous": (2, "train", None, SGD),
    "every step": (2, "train", {"sync_every": 1, **PLAIN}, SGD),
    "every fourth": (2, "train", {"sync_every": 4, **PLAIN}, SGD),
    "muon": (2, "train", {"sync_every": 5}, {}),
    "muon, stopped": (2, "train", {"sync_every": 5}, {"until": [3, 7, None]}),
    "shards": (2, "refused", {}, {"layout": {"dp_replicate": 1, "dp_shard": 2}}),
    "odd": (2, "refused", {}, {"batch_size": 5}),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What every rank of every world gave."""
    folder = tmp_path_factory.mktemp("worlds")
    calls = []
    for name, (size, function, asynchronous, more) in CALLS.items():
        place = [str(folder / name)] if function == "train" else []
        until = [more["until"]] if "until" in more else []
        calls.append((size, "tests.train.asynchronous.replicas:call",
                      [function, [*place, size, asynchronous, *until],
                       {k: v for k, v in more.items() if k != "until"}]))  # fmt: skip
    return dict(zip(CALLS, worlds(calls, folder), strict=True))


def test_together_after_every_step_is_synchronous_sgd(found: dict[str, list[Any]]) -> None:
    (one, _), (other, _) = found["synchronous"], found["every step"]
    for name, weights in one["weights"].items():
        assert other["weights"][name] == pytest.approx(weights, rel=1e-5, abs=1e-6)
    assert other["losses"] == pytest.approx(one["losses"], rel=1e-6)


def test_together_less_often_is_another_way(found: dict[str, list[Any]]) -> None:
    rarely, often = found["every fourth"][0], found["every step"][0]
    assert rarely["losses"][0] == often["losses"][0]
    assert rarely["losses"][4:] != often["losses"][4:]
    assert rarely["losses"][-1] < rarely["losses"][0]


def test_all_replicas_log_the_same_and_end_with_the_same_weights(
    found: dict[str, list[Any]],
) -> None:
    for name in ("every fourth", "muon"):
        first, second = found[name]
        assert first["bits"] == second["bits"]
        assert first["losses"] == second["losses"]


def test_going_on_between_two_syncs_changes_no_bit(found: dict[str, list[Any]]) -> None:
    whole, stopped = found["muon"][0], found["muon, stopped"][0]
    assert stopped["losses"] == whole["losses"]
    assert stopped["norms"] == whole["norms"]
    assert stopped["bits"] == whole["bits"]


def test_layouts_and_batches_that_do_not_fit_are_refused(found: dict[str, list[Any]]) -> None:
    assert (
        "a replica of local_sgd is one process, and the layout has dp_shard 2"
        in (found["shards"][0])
    )
    assert "set pretrain.layout.dp_replicate to 2" in found["shards"][0]
    assert "a batch of 5 rows does not divide evenly over 2 replicas" in found["odd"][0]


def test_one_replica_with_plain_averages_is_the_ordinary_run_to_the_bit(tmp_path: Path) -> None:
    ordinary = train(tmp_path / "ordinary", 1, None)
    replica = train(tmp_path / "replica", 1, {"sync_every": 3, **PLAIN})
    assert replica["bits"] == ordinary["bits"]
    assert replica["losses"] == ordinary["losses"]


def test_the_outer_step_is_torchs_nesterov_sgd_on_the_mean_change() -> None:
    model: Any = nn.Linear(3, 2)
    settings = settings_of(1, {"sync_every": 2, "outer_learning_rate": 0.7, "outer_momentum": 0.9})
    state = RunState(model, [])
    start_outer(state, settings)
    oracle = nn.Parameter(model.weight.detach().clone())
    outer = torch.optim.SGD([oracle], lr=0.7, momentum=0.9, nesterov=True)
    generator = torch.Generator().manual_seed(0)
    for step in range(1, 9):
        with torch.no_grad():
            model.weight.add_(torch.randn(2, 3, generator=generator))
        state.step = step
        inner = model.weight.detach().clone()
        assert synchronise(state, settings, ALONE) is (step % 2 == 0)
        if step % 2:
            assert torch.equal(model.weight, inner)
            continue
        oracle.grad = oracle.detach() - inner
        outer.step()
        assert torch.allclose(model.weight, oracle, atol=1e-6)
        assert not synchronise(state, settings, ALONE)  # once a step


def test_a_batch_norm_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch norm"):
        require_no_batch_norm(nn.Sequential(nn.BatchNorm1d(3)))
