from dataclasses import replace

import pytest
import torch

from groundup.train.batch import Batch
from groundup.train.penalties import add_penalties
from groundup.train.start import new_state
from groundup.train.step import train_step
from tests.train.small import MODEL, SETTINGS, batch


def matrices(model):
    """What weight decay moves: the weights of the blocks' linear maps."""
    return {n: p for n, p in model.named_parameters() if p.ndim == 2 and n.startswith("blocks.")}


def with_gradients():
    state = new_state(MODEL, SETTINGS)
    generator = torch.Generator().manual_seed(1)
    for parameter in state.model.parameters():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return state


@pytest.mark.parametrize("fields", [{"l1": 0.03}, {"l2": 0.2}, {"l1": 0.03, "l2": 0.2}])
def test_the_gradient_is_that_of_the_penalty(fields):
    state = with_gradients()
    before = {name: p.grad.clone() for name, p in state.model.named_parameters()}
    decaying = matrices(state.model)
    penalty = sum(
        fields.get("l1", 0) * w.abs().sum() + fields.get("l2", 0) / 2 * w.square().sum()
        for w in decaying.values()
    )
    expected = dict(zip(decaying, torch.autograd.grad(penalty, decaying.values()), strict=True))
    add_penalties(state, replace(SETTINGS, **fields))
    for name, parameter in state.model.named_parameters():
        added = expected.get(name, torch.zeros(()))
        torch.testing.assert_close(parameter.grad, before[name] + added, msg=name)


def test_without_penalties_gradients_stay_to_the_bit():
    state = with_gradients()
    before = {name: p.grad.clone() for name, p in state.model.named_parameters()}
    add_penalties(state, SETTINGS)
    assert all(torch.equal(before[n], p.grad) for n, p in state.model.named_parameters())


def test_the_step_counts_a_penalty_once_however_the_batch_is_cut():
    settings = replace(SETTINGS, l2=0.5, clip="none")
    whole, cut = new_state(MODEL, settings), new_state(MODEL, settings)
    _, norm = train_step(whole, settings, Batch(*batch()))
    _, same = train_step(cut, replace(settings, micro_batch_size=1), Batch(*batch()))
    assert norm.item() == pytest.approx(same.item(), rel=1e-5)
    _, without = train_step(new_state(MODEL, SETTINGS), SETTINGS, Batch(*batch()))
    assert norm.item() > 1.01 * without.item()
