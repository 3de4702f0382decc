import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from groundup.architecture.families import build
from groundup.train import objectives
from groundup.train.batch import Batch, counts_of
from groundup.train.distillation import distillation_loss
from groundup.train.noise.config import ObjectiveConfig
from groundup.train.objective import stand_in
from groundup.train.objectives import IGNORED, Terms, next_token_loss, summed_loss
from groundup.train.start import new_model, untrained
from tests.train.small import SETTINGS, batch, causal_loss

FAMILIES = ["nanochat", "llama", "gpt2"]


def model_of(family):
    """Heads that say something: a zero-initialised one has no gradient to compare."""
    config = build(family, vocab_size=64, n_layers=2, d_model=32, context_length=16)
    model = new_model(config, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return model


def plain(model, inputs, targets):
    logits = model(inputs).float().flatten(0, 1)
    return F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORED, reduction="sum")


def gradients(model, loss):
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.fixture(params=[512, 7], ids=["one chunk", "many chunks, the last one short"], autouse=True)
def chunks(request, monkeypatch):
    monkeypatch.setattr(objectives, "CHUNK_ROWS", request.param)


def ragged(seed=0):
    inputs, targets = batch(seed)
    targets[0, 3:9] = IGNORED
    targets[2] = IGNORED
    return inputs, targets


@pytest.mark.parametrize("targets_are", ["all", "ragged"])
@pytest.mark.parametrize("family", FAMILIES)
def test_value_and_gradients_are_those_of_plain_cross_entropy(family, targets_are):
    model = model_of(family)
    inputs, targets = batch() if targets_are == "all" else ragged()
    ours, theirs = causal_loss(model, inputs, targets), plain(model, inputs, targets)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    found, expected = gradients(model, ours / 37), gradients(model, theirs / 37)
    for name, grad in expected.items():
        assert (found[name] - grad).norm() <= 1e-5 * grad.norm() + 1e-8, name


@pytest.mark.parametrize("family", FAMILIES)
def test_without_gradients_the_value_is_the_same(family):
    model = model_of(family)
    with torch.no_grad():
        quiet = causal_loss(model, *ragged())
    assert quiet.item() == pytest.approx(causal_loss(model, *ragged()).item(), rel=1e-6)
    assert not quiet.requires_grad


@pytest.mark.parametrize("family", FAMILIES)
def test_under_bf16_autocast_it_is_close_to_float32(family):
    model, (inputs, targets) = model_of(family), ragged()
    exact = gradients(model, causal_loss(model, inputs, targets))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = causal_loss(model, inputs, targets)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(plain(model, inputs, targets).item(), rel=5e-3)
    typical = max(grad.norm() for grad in exact.values())
    for name, grad in gradients(model, loss).items():
        assert grad.dtype == torch.float32
        # A key bias has no gradient but rounding: softmax does not see it.
        assert (grad - exact[name]).norm() < 0.05 * exact[name].norm() + 1e-3 * typical, name


@pytest.mark.parametrize("family", FAMILIES)
def test_under_autocast_the_loss_itself_is_float32(family):
    model, (inputs, targets) = model_of(family), ragged()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = causal_loss(model, inputs, targets)
        logits = model(inputs)
    logits = logits.double().flatten(0, 1)
    exact = F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORED, reduction="sum")
    assert found.item() == pytest.approx(exact.item(), rel=1e-5)


def test_gradients_add_up_over_two_losses():
    model = model_of("gpt2")  # its head is its embedding
    first = gradients(model, causal_loss(model, *batch(1)))
    second = gradients(model, causal_loss(model, *batch(2)))
    model.zero_grad(set_to_none=True)
    causal_loss(model, *batch(1)).backward()
    causal_loss(model, *batch(2)).backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, first[name] + second[name], rtol=1e-5, atol=1e-6)


TERMS = [Terms(z_loss=1e-2), Terms(label_smoothing=0.1), Terms(z_loss=0.3, label_smoothing=0.2)]


@pytest.mark.parametrize("terms", TERMS, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_terms_are_torchs_label_smoothing_and_palms_z_loss(family, terms):
    model, (inputs, targets) = model_of(family), ragged()
    logits = model(inputs).float().flatten(0, 1)
    wanted = targets.flatten() != IGNORED
    expected = F.cross_entropy(
        logits[wanted],
        targets.flatten()[wanted],
        reduction="sum",
        label_smoothing=terms.label_smoothing,
    )
    expected = expected + terms.z_loss * (logits[wanted].exp().sum(-1).log() ** 2).sum()
    found = summed_loss(model, model.hidden(inputs).flatten(0, 1), targets.flatten(), terms)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    ours, theirs = gradients(model, found / 37), gradients(model, expected / 37)
    for name, grad in theirs.items():
        assert (ours[name] - grad).norm() <= 1e-5 * grad.norm() + 1e-8, name


@pytest.mark.parametrize("kind", ["causal", "masked", "permutation", "replaced_token"])
def test_every_loss_over_tokens_has_the_terms(kind):
    """log²Z of a model that scores all alike is log²V, whatever was predicted from what."""
    objective = stand_in(ObjectiveConfig(kind=kind), 64, "cpu")
    model = alike(kind)
    inputs, targets = (each.numpy() for each in batch())
    rows = objective.batch_of_rows(inputs, targets, (0,))
    losses = []
    for terms in (Terms(), Terms(z_loss=0.5)):
        torch.manual_seed(0)
        with torch.no_grad():
            found = replace(objective, terms=terms).loss(model, rows, counts_of(rows))
        losses.append(found.item())
    assert losses[1] - losses[0] == pytest.approx(0.5 * math.log(64) ** 2, rel=1e-5)


def alike(kind):
    """An untrained model, every weight of which is zero."""
    family, head = {
        "causal": ("gpt2", {}),
        "masked": ("bert", {"head": "tokens"}),
        "permutation": ("xlnet", {}),
        "replaced_token": ("bert", {"head": "detection"}),
    }[kind]
    sizes = {"vocab_size": 64, "n_layers": 1, "d_model": 32, "context_length": 16, "n_heads": 2}
    config = build(family, **sizes, **head)
    settings = replace(SETTINGS, objective={"kind": kind})
    model = untrained(config, settings)
    for parameter in model.parameters():
        parameter.data.zero_()
    return model


def test_a_teachers_student_is_smoothed_too():
    student, teacher = model_of("gpt2"), model_of("gpt2")
    rows = Batch(*batch())
    terms = Terms(z_loss=0.1, label_smoothing=0.3)
    found = distillation_loss(teacher, 2.0, 1.0, terms)(student, rows, counts_of(rows))
    expected = next_token_loss(student, rows, counts_of(rows), terms)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
