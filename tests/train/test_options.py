"""The regularisation and stability options in whole runs: they act, and resume to the bit."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from groundup.track.run import read_lines, read_run
from groundup.train import clipping
from groundup.train.augment.config import AugmentConfig
from groundup.train.augment.rows import Augmentation
from groundup.train.objectives import Terms
from groundup.train.pretrain import pretrain
from groundup.train.ramps import batch_size_at, samples_before
from tests.train.small import SETTINGS, Tokens, job

EACH = {
    "clip": {"clip": "adaptive"},
    "penalties": {"l1": 1e-3, "l2": 1e-2},
    "average": {"ema_decay": 0.8},
    "batch": {"batch_size_ramp": {"start": 1, "steps": 7}},
    "length": {"sequence_length_ramp": {"start": 4, "steps": 7}},
    "schedule": {"schedule": "linear", "decay_steps": 6, "min_lr_ratio": 0.1},
    "dropout": {"dropout": 0.1, "layer_dropout": 0.2},
}
ALL = replace(SETTINGS, **{name: value for each in EACH.values() for name, value in each.items()})
NOISE = Augmentation(AugmentConfig(token_drop=0.1, span_shuffle=0.3), separator_id=0)


def whole_job(settings, **more):
    """A job with loss terms and augmentation too, as the stages make it."""
    made = job(settings, **more)
    terms = Terms(z_loss=1e-3, label_smoothing=0.05)
    return replace(made, objective=replace(made.objective, terms=terms, augmentation=NOISE))


def metrics(folder, name):
    return [line[name] for line in read_lines(folder / "metrics.jsonl")]


@pytest.fixture
def soon(monkeypatch):
    """Adaptive clipping begins within these short runs."""
    monkeypatch.setattr(clipping, "WARMUP_STEPS", 3)


@pytest.fixture
def uninterrupted(tmp_path, soon):
    pretrain(tmp_path / "whole", Tokens(), whole_job(ALL))
    return tmp_path / "whole"


@pytest.mark.parametrize("at", [6, 12])
def test_a_run_with_every_option_that_broke_off_ends_with_the_same_bits(
    tmp_path, uninterrupted, at
):
    folder, broken = tmp_path / "run", []

    def break_off():
        if len(metrics(folder, "loss")) == at and not broken:
            broken.append(at)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(folder, Tokens(), whole_job(ALL, at_sample=break_off))
    pretrain(folder, Tokens(), whole_job(ALL))
    assert metrics(folder, "loss") == metrics(uninterrupted, "loss")
    found, expected = read_run(folder), read_run(uninterrupted)
    assert found["final_hash"] == expected["final_hash"]
    assert found["measured"]["loss"] == expected["measured"]["loss"]
    file = "checkpoints/step-00000012/average-00000.safetensors"
    average, wanted = load_file(folder / file), load_file(uninterrupted / file)
    assert all(torch.equal(average[name], x) for name, x in wanted.items())


def test_samples_and_tokens_are_those_of_the_ramp(uninterrupted):
    record = read_run(uninterrupted)
    assert (
        record["samples"]
        == samples_before(ALL, ALL.steps)
        == sum(batch_size_at(ALL, step) for step in range(ALL.steps))
    )
    assert record["tokens"] == 16 * record["samples"]
    assert metrics(uninterrupted, "tokens")[-1] == record["tokens"]


def test_what_is_evaluated_is_the_average(tmp_path):
    seen = []
    settings = replace(SETTINGS, ema_decay=0.8)
    made = job(settings)

    def evaluate(model, casting):
        seen.append({name: p.detach().clone() for name, p in model.named_parameters()})
        return made.evaluate(model, casting)

    pretrain(tmp_path / "run", Tokens(), replace(made, evaluate=evaluate, evaluate_whole=evaluate))
    folder = tmp_path / "run/checkpoints/step-00000012"
    average = load_file(folder / "average-00000.safetensors")
    weights = load_file(folder / "model-00000.safetensors")
    assert any(not torch.equal(average[name], weights[name]) for name in average)
    for looked_at in seen[-2:]:
        assert all(torch.equal(looked_at[name], x) for name, x in average.items())


@pytest.mark.parametrize("name", EACH)
def test_each_option_acts_in_the_step(tmp_path, name, soon):
    """With Adam: Muon's steps do not hang on the size of a gradient."""
    plain = replace(SETTINGS, optimizer="adamw", learning_rate=3e-3, clip="none")
    found = []
    for settings in (plain, replace(plain, **EACH[name])):
        folder = tmp_path / str(len(found))
        pretrain(folder, Tokens(), job(settings))
        found.append((metrics(folder, "loss"), read_run(folder)["measured"]["loss"]))
    (losses, evaluated), (with_it, otherwise) = found
    assert evaluated != otherwise
    if name == "average":
        assert losses == with_it
    else:
        assert losses[1:] != with_it[1:]
