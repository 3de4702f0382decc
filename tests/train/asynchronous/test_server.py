"""What the server makes of gradients: torch's optimizers, the bound and the rate in closed form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from groundup.train.asynchronous.server import ParameterServer, Pushed
from groundup.train.asynchronous.wire import unpack
from groundup.train.optimizers.groups import build_optimizers
from groundup.train.start import new_state
from groundup.train.state import RunState
from groundup.train.step import Gradients, apply_gradients
from tests.train.asynchronous.served import settings_of
from tests.train.small import MODEL


def served(**asynchronous: Any) -> tuple[ParameterServer, RunState]:
    settings = settings_of(steps=50, **asynchronous)
    settings = replace(settings, schedule="constant", warmup_steps=0, clip="none")
    state = new_state(MODEL, settings)
    return ParameterServer(state, settings), state


def fetched(server: ParameterServer, worker: str = "a") -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a worker gets: its work (with its name), and the weights."""
    work, weights = server.fetch(worker, now=0.0)
    return {**unpack(work)[0], "worker": worker}, unpack(weights)[1]


def pushed(server: ParameterServer, work: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    message = {"kind": "push", "lease": work["lease"], "loss": 1.0}
    return server.push(work["worker"], message, tensors)


def applied(server: ParameterServer, found: Pushed) -> None:
    factor = server.learning_rate_factor(found.staleness)
    zero = torch.zeros(())
    apply_gradients(server.state, server.settings, Gradients(zero, zero), factor)


def ones(server: ParameterServer) -> dict[str, Tensor]:
    return {name: torch.ones_like(p) for name, p in server.state.model.named_parameters()}


ORDINARY = {
    "sgd": ("sgd", lambda p: torch.optim.SGD(p, 0.1)),
    "momentum": ("sgd", lambda p: torch.optim.SGD(p, 0.1, 0.95)),
    "adam": ("adamw", lambda p: torch.optim.AdamW(p, 0.1, (0.9, 0.95), weight_decay=0.0)),
}


@pytest.mark.parametrize("optimizer", ORDINARY)
def test_stale_gradients_are_applied_as_torch_applies_them(optimizer: str) -> None:
    """Two workers by turns, so each gradient is of the weights before the last update.

    The problem: half the squared distance to fixed targets; the oracle walks it with torch's own
    optimizer and a queue of old weights.
    """
    ordinary, oracle_of = ORDINARY[optimizer]
    momentum = 0.95 if optimizer == "momentum" else 0.0
    settings = settings_of(optimizer, ordinary, steps=50, momentum=momentum, staleness_lr=True)
    settings = replace(settings, schedule="constant", warmup_steps=0, clip="none")
    state = new_state(MODEL, settings)
    server = ParameterServer(state, settings)
    generator = torch.Generator().manual_seed(0)
    named = dict(state.model.named_parameters())
    targets = {name: torch.randn(p.shape, generator=generator) for name, p in named.items()}

    oracle = {name: nn.Parameter(p.detach().clone()) for name, p in named.items()}
    torchs = oracle_of(list(oracle.values()))
    old = [{name: p.detach().clone() for name, p in oracle.items()}] * 2
    jobs = [fetched(server, worker) for worker in "ab"]
    for step in range(20):
        work, weights = jobs.pop(0)
        found = pushed(server, work, {name: w - targets[name] for name, w in weights.items()})
        assert found.staleness == min(step, 1)
        applied(server, found)
        jobs.append(fetched(server, "ab"[step % 2]))

        before = old.pop(0)
        for name, p in oracle.items():
            p.grad = before[name] - targets[name]
        torchs.step()
        old.append({name: p.detach().clone() for name, p in oracle.items()})
    for name, p in named.items():
        assert torch.allclose(p, oracle[name], rtol=1e-5, atol=1e-6), name


def test_the_rate_is_divided_by_the_staleness() -> None:
    server, _ = served(staleness_lr=True)
    assert [server.learning_rate_factor(tau) for tau in (0, 1, 2, 4)] == [1, 1, 1 / 2, 1 / 4]
    plain, _ = served()
    assert {plain.learning_rate_factor(tau) for tau in range(9)} == {1.0}


def test_one_update_by_a_gradient_of_staleness_four() -> None:
    """w - 4 · lr - lr/4 after four fresh gradients of ones and one that is four updates old."""
    server, state = served(staleness_lr=True)
    before = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    late, _ = fetched(server, "late")
    for _ in range(4):
        applied(server, pushed(server, fetched(server)[0], ones(server)))
    found = pushed(server, late, ones(server))
    assert found.staleness == 4
    applied(server, found)
    for name, p in state.model.named_parameters():
        assert torch.allclose(p, before[name] - 0.1 * 4.25, atol=1e-6)


def test_a_gradient_beyond_the_bound_is_not_applied_and_its_samples_go_to_another() -> None:
    server, _ = served(max_staleness=2)
    late, _ = fetched(server, "late")
    for _ in range(2):
        applied(server, pushed(server, fetched(server)[0], ones(server)))
    edge, _ = fetched(server, "edge")
    applied(server, pushed(server, fetched(server)[0], ones(server)))
    assert pushed(server, late, ones(server)) == "stale"
    assert fetched(server, "other")[0]["cursor"] == late["cursor"]
    assert pushed(server, edge, ones(server)).staleness == 1
    assert server.tally.refused == {"stale": 1}


def test_gradients_of_another_model_are_refused_and_nothing_is_lost() -> None:
    server, state = served()
    before = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    name = next(iter(before))
    for wrong in (
        {},
        {"no.such": torch.zeros(3)},
        {name: torch.zeros(3)},
        {name: before[name].double()},
    ):
        work, _ = fetched(server)
        assert pushed(server, work, wrong) == "malformed"
        assert server.ledger.returned[0].cursor == work["cursor"]
    message = {"kind": "push", "lease": fetched(server)[0]["lease"], "loss": "low"}
    assert server.push("a", message, ones(server)) == "malformed"
    assert server.push("a", {"kind": "push", "lease": 99, "loss": 1.0}, ones(server)) == "late"
    for lease in (None, [1], {}, "1", 1.0, True):
        message = {"kind": "push", "lease": lease, "loss": 1.0}
        assert server.push("a", message, ones(server)) == "malformed"
    assert server.push("a", {"kind": "push"}, ones(server)) == "malformed"
    assert all(torch.equal(p, before[name]) for name, p in state.model.named_parameters())


def test_nobody_pushes_for_what_another_was_given() -> None:
    server, _ = served()
    work, _ = fetched(server, "a")
    message = {"kind": "push", "lease": work["lease"], "loss": 1.0}
    assert server.push("b", message, ones(server)) == "malformed"
    server.ledger.lapse(1e9)
    assert server.push("b", message, ones(server)) == "malformed"
    assert isinstance(pushed(server, work, ones(server)), Pushed)
    assert server.tally.refused == {"malformed": 2}


def test_no_more_samples_are_handed_out_than_updates_are_left() -> None:
    server, state = served()
    state.step = 48
    assert [len(server.fetch("a", 0.0)) for _ in range(3)] == [2, 2, 1]  # wait comes alone


def test_counts_go_on_from_a_checkpoint() -> None:
    server, state = served()
    work, _ = fetched(server)
    found = pushed(server, work, ones(server))
    server.tally.applied(found.worker, found.staleness)
    fetched(server, "dies with the server")
    state.asynchronous = server.record()
    again = ParameterServer(state, server.settings)
    assert again.tally == server.tally
    assert fetched(again)[0]["cursor"] == 4


def test_momentum_is_that_of_the_section() -> None:
    settings = settings_of("momentum", "sgd", momentum=0.95)
    (optimizer,) = build_optimizers(new_state(MODEL, settings).model, settings)
    assert {group["momentum"] for group in optimizer.param_groups} == {0.95}
