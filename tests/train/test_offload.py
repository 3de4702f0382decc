"""Offloading: a model that FSDP2 holds in a mesh of one learns as the plain one does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from groundup.architecture.counts import parameters
from groundup.errors import ConfigError
from groundup.plan.local.peak import uncalibrated
from groundup.train.batch import Batch, counts_of
from groundup.train.checkpoint import load_checkpoint, save_checkpoint
from groundup.train.objectives import next_token_loss
from groundup.train.optimizers.groups import build_optimizers
from groundup.train.parallel import model as parallel
from groundup.train.parallel.pieces import is_cut, local_tensor
from groundup.train.retention import Retention
from groundup.train.start import new_state, untrained
from groundup.train.state import RunState, seed_everything
from groundup.train.step import gradients, train_step
from tests.train.small import MODEL, SETTINGS, batch

OFFLOADED = replace(SETTINGS, offload_optimizer=True, optimizer="adamw", learning_rate=0.01)
PLAIN = replace(OFFLOADED, offload_optimizer=False)


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """No process group stays behind for other tests."""
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def on_a_cpu() -> RunState:
    """What `new_state` makes on a GPU; on a CPU it refuses, since nothing would be gained."""
    seed_everything(OFFLOADED.seed)
    model = untrained(MODEL, OFFLOADED)
    parallel.parallelise(model, parallel.Ranks(), OFFLOADED)
    return RunState(model, build_optimizers(model, OFFLOADED))


def losses(state, settings, n=4):
    return [
        train_step(state, settings, Batch(*batch(seed)).to(settings.device))[0].item()
        for seed in range(n)
    ]


def test_a_mesh_of_one_learns_the_same_and_its_checkpoint_is_any_layouts(tmp_path) -> None:
    offloaded, plain = on_a_cpu(), new_state(MODEL, PLAIN)
    assert all(is_cut(p) for p in offloaded.model.parameters())
    accumulated = replace(OFFLOADED, micro_batch_size=1)
    assert losses(offloaded, accumulated) == pytest.approx(losses(plain, PLAIN), rel=1e-6)
    path = save_checkpoint(tmp_path, offloaded, {"settings": {}}, keep=Retention(1))
    resumed = new_state(MODEL, PLAIN)
    load_checkpoint(path, resumed)
    own = dict(offloaded.model.named_parameters())
    assert all(torch.equal(p, local_tensor(own[n])) for n, p in resumed.model.named_parameters())
    with parallel.whole_model(offloaded.model) as whole:
        assert not any(is_cut(p) for p in whole.parameters())


def test_a_cpu_has_nothing_to_offload() -> None:
    with pytest.raises(ConfigError, match="nothing to offload") as caught:
        new_state(MODEL, OFFLOADED)
    assert caught.value.where == "pretrain.offload_optimizer"


def test_the_plan_counts_what_is_left_on_the_device() -> None:
    def parts(offload):
        return uncalibrated(
            deep, precision="bf16", attention="sdpa", base_memory_bytes=0, tokens=64,
            context_length=16, optimizer="adamw", offload_optimizer=offload,
        )  # fmt: skip

    deep = replace(MODEL, n_layers=8)
    counts = parameters(deep)
    blocks = counts.attention + counts.feed_forward
    here, there = parts(False), parts(True)
    assert (here.weights, here.optimizer) == (4 * counts.total, 8 * counts.total)
    assert there.optimizer == 0
    assert there.weights == there.gradients == 4 * (counts.total - blocks * 6 / 8)
    assert (there.activations, there.logits) == (here.activations, here.logits)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_learns_the_same_with_its_weights_and_states_elsewhere(tmp_path) -> None:
    settings = replace(OFFLOADED, device="cuda", attention="sdpa")
    state, plain = new_state(MODEL, settings), new_state(MODEL, replace(PLAIN, device="cuda"))
    rows = Batch(*batch()).to("cuda")
    found = gradients(state, settings, rows, counts_of(rows), next_token_loss)
    other = gradients(plain, settings, rows, counts_of(rows), next_token_loss)
    assert found.numbers() == pytest.approx(other.numbers(), rel=1e-4)
    for each in (state, plain):
        for parameter in each.model.parameters():
            parameter.grad = None
    assert losses(state, settings) == pytest.approx(losses(plain, settings), rel=1e-3)
    for optimizer in state.optimizers:
        for values in optimizer.state.values():
            assert all(local_tensor(v).device.type == "cpu" for v in values.values())
    assert all(local_tensor(p).device.type == "cpu" for p in state.model.parameters())
    path = save_checkpoint(tmp_path, state, {"settings": {}}, keep=Retention(1))
    load_checkpoint(path, new_state(MODEL, settings))
    with parallel.whole_model(state.model) as whole:
        assert all(p.device.type == "cuda" for p in whole.parameters())
