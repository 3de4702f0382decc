"""Whole runs by each optimizer, with all that acts on gradients and weights."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from groundup.architecture.families import build
from groundup.plan.states import OPTIMIZERS, kept_by
from groundup.track.run import checkpoints, read_run
from groundup.train.batch import Batch
from groundup.train.config import DEFAULT_LEARNING_RATE, PretrainConfig
from groundup.train.optimizers.groups import BUILDERS, optimizer_tensors
from groundup.train.pretrain import pretrain
from groundup.train.start import new_state
from groundup.train.step import train_step
from tests.train.small import MODEL, SETTINGS, Tokens, batch, job

# Nothing in it starts at zero: Adafactor's steps are relative to the size of a weight.
LLAMA = build("llama", vocab_size=64, n_layers=2, d_model=32, context_length=16)
RATES = {"muon": 0.02, "adamw": 3e-3, "sgd": 0.3, "adafactor": 0.05}
KINDS = [(name, "fp32") for name in RATES] + [("muon", "bf16"), ("adamw", "bf16"), ("sgd", "bf16")]


def settings_of(optimizer, dtype="fp32", **fields):
    return replace(
        SETTINGS, optimizer=optimizer, learning_rate=RATES[optimizer], optimizer_dtype=dtype,
        weight_decay=0.1, **fields,
    )  # fmt: skip


@pytest.mark.parametrize(("optimizer", "dtype"), KINDS)
def test_a_run_taken_up_from_a_checkpoint_is_the_uninterrupted_one(tmp_path, optimizer, dtype):
    settings = settings_of(
        optimizer, dtype, clip="adaptive", ema_decay=0.9, l1=1e-4, l2=1e-3, keep_last=9
    )
    pretrain(tmp_path, Tokens(), job(settings))
    first = read_run(tmp_path)["final_hash"]
    for path in checkpoints(tmp_path / "checkpoints"):
        if int(path.name[5:]) > 4:  # as after a power loss
            (path / "manifest.json").unlink()
    pretrain(tmp_path, Tokens(), job(settings))
    assert read_run(tmp_path)["final_hash"] == first


@pytest.mark.parametrize(("optimizer", "dtype"), KINDS)
def test_each_learns(optimizer, dtype):
    settings = settings_of(optimizer, dtype, steps=40)
    state = new_state(LLAMA, settings)
    losses = [train_step(state, settings, Batch(*batch(step % 2)))[0].item() for step in range(40)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(("optimizer", "dtype"), KINDS)
def test_the_plan_knows_the_bytes_that_are_kept(optimizer, dtype):
    settings = settings_of(optimizer, dtype)
    state = new_state(MODEL, settings)
    train_step(state, settings, Batch(*batch()))
    kept = {
        name: tensor.numel() * tensor.itemsize
        for name, tensor in optimizer_tensors(state.model, state.optimizers)
        if not name.endswith("/step")
    }
    of_matrix, of_other, of_factor = OPTIMIZERS[kept_by(optimizer, settings.momentum, dtype)]
    expected = 0
    for name, p in state.model.named_parameters():
        factors = sum(p.shape) if p.ndim > 1 else p.numel()
        of_entry = of_matrix if name.startswith("blocks.") and p.ndim > 1 else of_other
        expected += of_entry * p.numel() + of_factor * factors
    assert sum(kept.values()) == expected


def test_sgd_without_momentum_keeps_nothing():
    settings = settings_of("sgd", momentum=0.0)
    state = new_state(MODEL, settings)
    train_step(state, settings, Batch(*batch()))
    assert not dict(optimizer_tensors(state.model, state.optimizers))
    assert OPTIMIZERS[kept_by("sgd", 0.0, "fp32")] == (0, 0, 0)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"optimizer": "adafactor", "optimizer_dtype": "bf16"}, "adafactor keeps no moments"),
        ({"optimizer": "sgd", "momentum": 0, "optimizer_dtype": "bf16"}, "sgd keeps no moments"),
        ({"optimizer": "muon", "nesterov": True}, "goes with optimizer: sgd"),
        ({"optimizer": "sgd", "momentum": 0, "nesterov": True}, "a momentum above 0"),
        ({"optimizer": "sgd", "adam_learning_rate": 0.1}, "goes with optimizer: muon"),
    ],
)
def test_what_an_optimizer_would_ignore_is_refused(fields, said):
    with pytest.raises(ValidationError, match=said):
        PretrainConfig(**fields)


def test_each_optimizer_has_a_builder_and_a_rate():
    named = PretrainConfig.model_fields["optimizer"].annotation.__args__
    assert set(named) == set(BUILDERS) == set(DEFAULT_LEARNING_RATE)
