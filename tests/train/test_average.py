from dataclasses import replace

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from groundup.train.average import averaged, update_average
from groundup.train.batch import Batch
from groundup.train.start import new_state
from groundup.train.step import train_step
from tests.train.small import MODEL, SETTINGS, batch

DECAY = 0.9
AVERAGED = replace(SETTINGS, ema_decay=DECAY)


def weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def trained(settings=AVERAGED, steps=12):
    """A state, and its weights after each step."""
    state, seen = new_state(MODEL, settings), []
    for step in range(steps):
        train_step(state, settings, Batch(*batch(step)))
        seen.append(weights(state.model))
    return state, seen


def test_the_average_is_the_mean_of_all_steps_with_falling_weights():
    state, seen = trained()
    falling = [DECAY ** (len(seen) - 1 - i) for i in range(len(seen))]
    for name, average in state.average.items():
        terms = [share * each[name].double() for share, each in zip(falling, seen, strict=True)]
        expected = sum(terms) / sum(falling)
        torch.testing.assert_close(average.double(), expected, rtol=1e-5, atol=1e-7)


def test_far_from_the_start_it_is_torchs():
    """torch's has no correction for the start; after 400 steps of 0.9 there is none left."""
    state = new_state(MODEL, AVERAGED)
    state.step = 400
    update_average(state, AVERAGED)  # begins with a copy, as torch's does
    theirs = AveragedModel(state.model, multi_avg_fn=get_ema_multi_avg_fn(DECAY))
    theirs.update_parameters(state.model)
    for step in range(5):
        train_step(state, AVERAGED, Batch(*batch(step)))
        theirs.update_parameters(state.model)
    for name, expected in theirs.module.named_parameters():
        torch.testing.assert_close(state.average[name], expected, rtol=1e-5, atol=1e-7)


def test_after_the_first_step_it_is_the_weights():
    state, seen = trained(steps=1)
    assert all(torch.equal(state.average[name], w) for name, w in seen[0].items())
    assert all(average.dtype == torch.float32 for average in state.average.values())


def test_it_moves_no_weight():
    with_it, without = trained()[1][-1], trained(SETTINGS)[1][-1]
    assert all(torch.equal(with_it[name], weight) for name, weight in without.items())
    assert trained(SETTINGS, 1)[0].average is None


def test_inside_the_model_has_the_averages_and_afterwards_its_own_to_the_bit():
    state, seen = trained()
    average = {name: x.clone() for name, x in state.average.items()}
    try:
        with averaged(state):
            inside = weights(state.model)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert all(torch.equal(average[n], w) for n, w in inside.items())
    assert all(torch.equal(seen[-1][n], w) for n, w in weights(state.model).items())
    assert all(torch.equal(average[n], w) for n, w in state.average.items())


def test_without_an_average_it_changes_nothing():
    state, seen = trained(SETTINGS, 2)
    with averaged(state):
        assert all(torch.equal(seen[-1][n], w) for n, w in weights(state.model).items())
