from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from groundup.train.batch import Batch
from groundup.train.objectives import IGNORED
from groundup.train.start import new_state
from groundup.train.step import train_step
from tests.train.small import MODEL, SETTINGS, batch


def walk(settings, batches):
    state = new_state(MODEL, settings)
    numbers = [train_step(state, settings, Batch(*one)) for one in batches]
    return state, [loss.item() for loss, _ in numbers], [norm.item() for _, norm in numbers]


def ragged(seed):
    """Rows with very different counts of targets, one of them with none."""
    inputs, targets = batch(seed, rows=8)
    for row, kept in enumerate((16, 1, 0, 9, 16, 3, 2, 16)):
        targets[row, kept:] = IGNORED
    return inputs, targets


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_cutting_a_batch_into_micro_batches_changes_nothing(size, optimizer):
    settings = replace(
        SETTINGS, batch_size=8, micro_batch_size=8, optimizer=optimizer, learning_rate=1e-3
    )
    batches = [ragged(seed) for seed in range(4)]
    whole, whole_losses, whole_norms = walk(settings, batches)
    cut, cut_losses, cut_norms = walk(replace(settings, micro_batch_size=size), batches)
    assert cut_losses == pytest.approx(whole_losses, rel=1e-5)
    assert cut_norms == pytest.approx(whole_norms, rel=1e-4)
    for (name, p), q in zip(whole.model.named_parameters(), cut.model.parameters(), strict=True):
        torch.testing.assert_close(q, p, rtol=1e-4, atol=2e-5, msg=name)


def test_the_loss_is_the_mean_over_all_target_tokens_of_the_step():
    settings = replace(SETTINGS, batch_size=8, micro_batch_size=2)
    inputs, targets = ragged(0)
    state = new_state(MODEL, settings)
    logits = state.model(inputs).flatten(0, 1)
    mean = F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORED)
    loss, _ = train_step(state, settings, Batch(inputs, targets))
    assert loss.item() == pytest.approx(mean.item(), rel=1e-6)


def test_the_first_adamw_step_is_that_of_torch_with_the_warm_up_rate_and_the_clipped_gradient():
    settings = replace(SETTINGS, optimizer="adamw", learning_rate=0.01, grad_clip=0.1)
    state, oracle = new_state(MODEL, settings), new_state(MODEL, settings).model
    inputs, targets = batch()
    F.cross_entropy(oracle(inputs).flatten(0, 1), targets.flatten()).backward()
    expected_norm = torch.nn.utils.clip_grad_norm_(oracle.parameters(), 0.1)
    assert expected_norm > 0.1
    rate = 0.01 / 3  # the first of two warm-up steps
    torch.optim.AdamW(oracle.parameters(), rate, betas=(0.9, 0.95), weight_decay=0).step()
    _, norm = train_step(state, settings, Batch(inputs, targets))
    assert norm.item() == pytest.approx(expected_norm.item(), rel=1e-5)
    for p, q in zip(state.model.parameters(), oracle.parameters(), strict=True):
        # Adam's first step is a sign: where the gradient is rounding, it may be either.
        agrees = torch.isclose(p, q, rtol=1e-4, atol=1e-6).float().mean()
        assert agrees > 0.99


def test_in_bf16_the_master_weights_and_their_gradients_stay_float32():
    settings = replace(SETTINGS, precision="bf16")
    _, exact_losses, _ = walk(SETTINGS, [batch(0), batch(1)])
    state, losses, _ = walk(settings, [batch(0), batch(1)])
    assert losses == pytest.approx(exact_losses, rel=5e-3)
    assert {p.dtype for p in state.model.parameters()} == {torch.float32}
    assert {t.dtype for t in state.tensors()["optimizer"].values()} == {torch.float32}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_on_the_gpu_has_the_loss_of_one_on_the_cpu(precision):
    batches = [batch(seed) for seed in range(3)]
    _, expected, expected_norms = walk(SETTINGS, batches)
    settings = replace(SETTINGS, device="cuda", precision=precision, attention="sdpa")
    on_gpu = [(inputs.cuda(), targets.cuda()) for inputs, targets in batches]
    _, losses, norms = walk(settings, on_gpu)
    assert losses == pytest.approx(expected, rel=1e-4 if precision == "fp32" else 1e-2)
    assert norms == pytest.approx(expected_norms, rel=1e-3 if precision == "fp32" else 5e-2)
