import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from groundup.train.batch import Batch, counts_of
from groundup.train.clipping import WARMUP_STEPS, clip_gradients
from groundup.train.config import PretrainConfig
from groundup.train.objectives import next_token_loss
from groundup.train.start import new_state
from tests.train.small import MODEL, SETTINGS, batch

ADAPTIVE = replace(SETTINGS, clip="adaptive", grad_clip=0.7)


def with_gradients(seed=0, scale=1.0):
    state = new_state(MODEL, SETTINGS)
    generator = torch.Generator().manual_seed(seed)
    for parameter in state.model.parameters():
        parameter.grad = scale * torch.randn(parameter.shape, generator=generator)
    return state


def gradients(state):
    return {name: p.grad.clone() for name, p in state.model.named_parameters()}


def total(state):
    return torch.nn.utils.get_total_norm([p.grad for p in state.model.parameters()])


@pytest.mark.parametrize("scale", [1e-4, 1.0, 30.0])
def test_global_clipping_is_torchs(scale):
    ours, theirs = with_gradients(scale=scale), with_gradients(scale=scale)
    norm = torch.nn.utils.clip_grad_norm_(theirs.model.parameters(), SETTINGS.grad_clip)
    clip_gradients(ours, SETTINGS, norm)
    for name, gradient in gradients(theirs).items():
        assert torch.equal(gradients(ours)[name], gradient), name


def test_none_leaves_every_gradient():
    state = with_gradients(scale=1e6)
    before = gradients(state)
    clip_gradients(state, replace(SETTINGS, clip="none"), total(state))
    assert all(torch.equal(before[name], g) for name, g in gradients(state).items())
    with pytest.raises(ValidationError, match="grad_clip says nothing with clip: none"):
        PretrainConfig(clip="none", grad_clip=2)


def adagc(norms, largest):
    """AdaGC (arXiv:2502.11034, algorithm 1) on norms alone: [steps, tensors] → norms after it."""
    usual, clipped = None, []
    for step, g in enumerate(norms):
        if step < 100:
            g = g * min(1, largest / np.sqrt((g**2).sum()))
            usual = g if usual is None else usual
        else:
            g = np.minimum(g, 1.05 * usual)
        usual = 0.98 * usual + 0.02 * g
        clipped.append(g)
    return np.array(clipped)


def test_adaptive_clipping_is_adagc():
    state = new_state(MODEL, ADAPTIVE)
    named = dict(state.model.named_parameters())
    drawn = np.random.default_rng(0)
    norms = drawn.lognormal(-3, 1, (130, len(named)))
    found = []
    for state.step, wanted in enumerate(norms):
        for parameter, norm in zip(named.values(), wanted, strict=True):
            noise = torch.from_numpy(drawn.standard_normal(parameter.shape)).float()
            parameter.grad = noise * (norm / noise.norm())
        before = gradients(state)
        clip_gradients(state, ADAPTIVE, total(state))
        found.append([p.grad.norm().item() for p in named.values()])
        for name, gradient in gradients(state).items():
            same_way = torch.cosine_similarity(before[name].flatten(), gradient.flatten(), dim=0)
            assert same_way > 0.99999
    np.testing.assert_allclose(found, adagc(norms, 0.7), rtol=1e-4)


def warm(settings):
    """A state whose tensors have a usual norm."""
    state = new_state(MODEL, settings)
    for state.step in range(WARMUP_STEPS + 1):
        loss = next_token_loss(state.model, (rows := Batch(*batch(state.step))), counts_of(rows))
        state.model.zero_grad()
        loss.backward()
        clip_gradients(state, settings, total(state))
    state.step += 1
    return state


def test_an_outlier_in_one_tensor_does_not_touch_the_others():
    state = warm(ADAPTIVE)
    usual = dict(state.clip_norms)
    name, parameter = next(
        (n, p) for n, p in state.model.named_parameters() if n.endswith("down.weight")
    )
    for other in state.model.parameters():
        other.grad.mul_(0.5)  # below what is usual
    before = gradients(state)
    parameter.grad.mul_(1e6)
    clip_gradients(state, ADAPTIVE, total(state))
    assert parameter.grad.norm().item() == pytest.approx(1.05 * usual[name], rel=1e-5)
    for other, gradient in gradients(state).items():
        assert other == name or torch.equal(gradient, before[other]), other


def test_the_usual_norms_go_through_json_to_the_bit():
    state = warm(ADAPTIVE)
    again = json.loads(json.dumps(state.record()))["clip_norms"]
    assert again == state.clip_norms
    assert set(again) <= {name for name, _ in state.model.named_parameters()}


def test_a_tensor_without_a_gradient_keeps_its_usual_norm():
    """An expert that no token went to would else be held at nothing from then on."""
    state = warm(ADAPTIVE)
    usual = dict(state.clip_norms)
    for parameter in state.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    clip_gradients(state, ADAPTIVE, total(state))
    assert state.clip_norms == usual
