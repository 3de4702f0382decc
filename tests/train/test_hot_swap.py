"""Settings that change while a run goes on: what is carried over; a resume does the same."""

import os
import signal
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError

from groundup.errors import ConfigError, CorruptError, Interrupted
from groundup.files import read_json
from groundup.findings import check
from groundup.track.run import checkpoints, read_lines, read_run
from groundup.train.batch import Batch
from groundup.train.changes import Change, ask, given_by_hand, record, settings_after
from groundup.train.checkpoint import load_model_weights
from groundup.train.config import PretrainConfig
from groundup.train.hot_swap import Changes, migrated
from groundup.train.pretrain import pretrain
from groundup.train.start import new_state
from groundup.train.step import train_step
from tests.train.small import MODEL, SETTINGS, Tokens, batch, job
from tests.train.test_recovery import bad_batches

ADAMW = replace(SETTINGS, optimizer="adamw", learning_rate=3e-3)


def trained(settings, steps=3):
    state = new_state(MODEL, settings)
    for seed in range(steps):
        train_step(state, settings, Batch(*batch(seed)))
    return state


def events(folder, kind):
    return [line for line in read_lines(folder / "events.jsonl") if line["event"] == kind]


def with_changes(settings, *changes):
    return replace(settings, changes=[record(Change(**change)) for change in changes])


def test_the_settings_after_a_step_are_those_of_the_changes_before_it():
    changes = [Change(at=5, learning_rate=0.1), Change(at=9, learning_rate=0.2, batch_size=8)]
    rates = [settings_after(SETTINGS, changes, step).learning_rate for step in (0, 5, 6, 9, 10)]
    assert rates == [0.02, 0.02, 0.1, 0.1, 0.2]
    assert settings_after(SETTINGS, changes, 10).batch_size == 8


def test_a_changed_rate_of_adamw_is_the_rate_that_torch_would_be_given():
    state, oracle = trained(ADAMW), trained(ADAMW)
    faster = replace(ADAMW, learning_rate=9e-3)
    state.optimizers = migrated(state, faster)
    for group in oracle.optimizers[0].param_groups:
        group["peak_lr"] *= 3
    train_step(state, faster, Batch(*batch(9)))
    train_step(oracle, ADAMW, Batch(*batch(9)))
    assert state.final_hash() == oracle.final_hash()


def test_muon_goes_on_with_adamws_mean_of_gradients():
    state = trained(ADAMW)
    parameter = state.model.blocks[0].attention.q.weight
    mean = state.optimizers[0].state[parameter]["exp_avg"] / (1 - ADAMW.beta1**3)
    state.optimizers = migrated(state, SETTINGS)
    assert torch.equal(state.optimizers[0].state[parameter]["momentum_buffer"], mean)


def test_adamws_first_step_after_muon_is_as_long_as_its_rate():
    """Adam's update is m / sqrt(v) with the biases taken out: ±1 where both are of one gradient."""
    state = trained(SETTINGS)
    parameter = state.model.blocks[0].attention.q.weight
    momentum = state.optimizers[0].state[parameter]["momentum_buffer"].clone()
    state.optimizers = migrated(state, ADAMW)
    own = state.optimizers[0].state[parameter]
    mean = own["exp_avg"] / (1 - ADAMW.beta1 ** float(own["step"]))
    square = own["exp_avg_sq"] / (1 - ADAMW.beta2 ** float(own["step"]))
    assert torch.allclose(mean, momentum, rtol=1e-5)
    assert torch.allclose((mean / square.sqrt()).abs(), torch.ones_like(mean), rtol=1e-3)


def test_sgd_goes_on_with_muons_mean_of_gradients_and_back():
    """Momentum that is never divided by its weights' sum, 1 / (1 - μ), is so many times larger."""
    state = trained(SETTINGS)
    parameter = state.model.blocks[0].attention.q.weight
    mean = state.optimizers[0].state[parameter]["momentum_buffer"].clone()
    sgd = replace(SETTINGS, optimizer="sgd", momentum=0.75)
    state.optimizers = migrated(state, sgd)
    assert torch.equal(state.optimizers[0].state[parameter]["momentum_buffer"], 4 * mean)
    state.optimizers = migrated(state, SETTINGS)
    assert torch.equal(state.optimizers[0].state[parameter]["momentum_buffer"], mean)


def test_every_optimizer_can_follow_every_other():
    names = ("muon", "adamw", "sgd", "adafactor")
    for dtype in ("fp32", "bf16"):
        for first in names:
            for second in names:
                state = trained(replace(SETTINGS, optimizer=first, optimizer_dtype=dtype), 2)
                after = replace(SETTINGS, optimizer=second, optimizer_dtype=dtype)
                state.optimizers = migrated(state, after)
                train_step(state, after, Batch(*batch(9)))
                assert all(p.isfinite().all() for p in state.model.parameters())


def test_what_only_the_old_optimizer_takes_is_dropped_on_the_way():
    section = PretrainConfig(optimizer="sgd", nesterov=True, optimizer_dtype="bf16")
    after = section.changed(Change(at=3, optimizer="adafactor", learning_rate=0.01))
    assert (after.nesterov, after.optimizer_dtype) == (False, "fp32")


SCHEDULED = with_changes(
    replace(SETTINGS, steps=24, checkpoint_every=4, sample_every=1),
    {"at": 8, "optimizer": "adamw", "learning_rate": 3e-3, "over": 3},
    {"at": 10, "activation": "gelu", "over": 4},
    {"at": 12, "batch_size": 6, "micro_batch_size": 3},
    {"at": 18, "optimizer": "muon", "learning_rate": 0.01},
)


@pytest.mark.parametrize("stop_at", [7, 8, 9, 11, 18, 20])
def test_a_run_stopped_anywhere_makes_the_same_changes(tmp_path, finished, stop_at):
    sent = []

    def stop_once():
        n_steps = len(list(read_lines(tmp_path / "run" / "metrics.jsonl")))
        if not sent and n_steps == stop_at:
            sent.append(os.kill(os.getpid(), signal.SIGTERM))

    with pytest.raises(Interrupted):
        pretrain(tmp_path / "run", Tokens(), job(SCHEDULED, at_sample=stop_once))
    pretrain(tmp_path / "run", Tokens(), job(SCHEDULED))
    assert read_run(tmp_path / "run")["final_hash"] == read_run(finished)["final_hash"]
    assert [e["step"] for e in events(tmp_path / "run", "changed")] == [8, 10, 12, 18]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scheduled") / "run"
    pretrain(folder, Tokens(), job(SCHEDULED))
    return folder


def test_the_log_shows_what_each_step_was_done_with(finished):
    metrics = list(read_lines(finished / "metrics.jsonl"))
    tokens = [0, *(line["tokens"] for line in metrics)]
    rows = [(b - a) // SETTINGS.context_length for a, b in pairwise(tokens)]
    assert rows == [4] * 12 + [6] * 12
    rates = [line["learning_rate"] for line in metrics]
    assert rates[8:11] == pytest.approx([3e-3 * share for share in (0.25, 0.5, 0.75)])
    assert rates[11] == pytest.approx(3e-3)
    assert rates[18] < 0.01
    assert read_run(finished)["samples"] == 12 * 4 + 12 * 6


def test_the_model_at_the_end_has_the_new_activation(finished):
    model = load_model_weights(checkpoints(finished / "checkpoints")[-1])
    assert model.config.feed_forward.activation == "gelu"
    state = new_state(
        replace(MODEL, feed_forward=replace(MODEL.feed_forward, activation="gelu")), SETTINGS
    )
    state.model.load_state_dict(model.state_dict())
    inputs, _ = batch(5)
    assert torch.allclose(model(inputs), state.model.eval()(inputs), atol=1e-6)


def test_a_change_by_hand_takes_effect_and_is_repeated_by_whoever_goes_on(tmp_path):
    settings = replace(SETTINGS, steps=20, checkpoint_every=5, sample_every=1, keep_last=9)
    folder, given = tmp_path / "run", []

    def at_sample():
        if not given and len(list(read_lines(folder / "metrics.jsonl"))) == 7:
            given.append(ask(folder, Change(at=3, learning_rate=0.1)))  # late: 8 are done by then
            ask(folder, Change(at=12, optimizer="adamw", learning_rate=1e-3))

    pretrain(folder, Tokens(), job(settings, at_sample=at_sample))
    assert [(e["step"], e["changes"]["learning_rate"]) for e in events(folder, "changed")] == [
        (8, 0.1), (12, 1e-3),
    ]  # fmt: skip
    assert [change.at for change in given_by_hand(folder)] == [8, 12]  # as it happened
    first = read_run(folder)["final_hash"]
    for path in checkpoints(folder / "checkpoints"):
        if int(path.name[5:]) > 5:  # as after a power loss: from step 5 again
            (path / "manifest.json").unlink()
    pretrain(folder, Tokens(), job(settings))
    assert read_run(folder)["final_hash"] == first


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "changes nothing"),
        ({"optimizer": "muon"}, "learning_rate of its own"),
        ({"optimizer": "rmsprop", "learning_rate": 1.0}, "muon"),
        ({"learning_rate": -1}, "greater than 0"),
        ({"steps": 5}, "steps is above at"),
        ({"learning_rate": 1, "over": 3}, "over is for"),
        ({"schedule": "sometimes"}, "schedule"),
        ({"n_layers": 3}, "Extra inputs"),
    ],
)
def test_a_change_that_cannot_be_is_refused(fields, said):
    with pytest.raises(ValidationError, match=said):
        Change(at=5, **fields)


def test_a_change_is_checked_with_the_settings_it_meets():
    with pytest.raises(ValidationError, match="does not divide"):
        PretrainConfig(batch_size=4, micro_batch_size=4, changes=[Change(at=3, batch_size=6)])
    with pytest.raises(ValidationError, match="goes with optimizer: muon"):
        PretrainConfig(
            changes=[Change(at=3, optimizer="adamw", learning_rate=1, adam_learning_rate=1)]
        )


def test_a_network_without_a_gate_gets_none():
    state = new_state(MODEL, SETTINGS)
    changes = Changes(SETTINGS, "relu2", [Change(at=1, activation="swiglu")])
    with pytest.raises(ConfigError, match="swiglu"):
        changes.blend(state, 1)


def test_half_way_both_activations_count_half():
    state = new_state(MODEL, SETTINGS)
    changes = Changes(SETTINGS, "relu2", [Change(at=0 + 1, activation="gelu", over=1)])
    changes.blend(state, 1)
    x = torch.randn(5, generator=torch.Generator().manual_seed(0))
    both = state.model.blocks[0].feed_forward.activation(x)
    wanted = (x.relu().square() + torch.nn.functional.gelu(x)) / 2
    assert torch.allclose(both, wanted)
    changes.blend(state, 0)  # gone back before it
    assert torch.equal(state.model.blocks[0].feed_forward.activation(x), x.relu().square())
    assert state.activation is None


def test_the_file_of_changes_is_what_was_asked(tmp_path):
    ask(tmp_path, Change(at=5, learning_rate=0.1))
    ask(tmp_path, Change(at=3, activation="gelu", over=2))
    assert read_json(tmp_path / "changes.json") == [
        {"at": 5, "over": 0, "learning_rate": 0.1},
        {"at": 3, "over": 2, "activation": "gelu"},
    ]


def test_a_change_given_while_nobody_is_at_work_takes_effect_when_the_run_goes_on(tmp_path):
    """Its step is behind: it counts from where the run is taken up, and is written down as that."""
    settings = replace(SETTINGS, steps=16, checkpoint_every=4, sample_every=1, keep_last=9)
    folder, sent = tmp_path / "run", []

    def stop_once():
        if not sent and len(list(read_lines(folder / "metrics.jsonl"))) == 9:
            sent.append(os.kill(os.getpid(), signal.SIGTERM))

    with pytest.raises(Interrupted):
        pretrain(folder, Tokens(), job(settings, at_sample=stop_once))
    ask(folder, Change(at=5, optimizer="adamw", learning_rate=1e-3))
    pretrain(folder, Tokens(), job(settings))
    assert [e["step"] for e in events(folder, "changed")] == [9]
    assert [change.at for change in given_by_hand(folder)] == [9]
    first = read_run(folder)["final_hash"]
    for path in checkpoints(folder / "checkpoints"):
        if int(path.name[5:]) > 4:
            (path / "manifest.json").unlink()
    pretrain(folder, Tokens(), job(settings))
    assert read_run(folder)["final_hash"] == first


def test_a_run_is_made_longer_and_shorter_on_its_way(tmp_path):
    for name, change, steps in (("longer", {"at": 12, "steps": 18}, 18),
                                ("shorter", {"at": 5, "steps": 9}, 9)):  # fmt: skip
        settings = with_changes(SETTINGS, change)
        pretrain(tmp_path / name, Tokens(), job(settings))
        assert read_run(tmp_path / name)["steps"] == steps
        assert checkpoints(tmp_path / name / "checkpoints")[-1].name == f"step-{steps:08d}"


def test_a_change_is_made_once_though_the_batch_after_it_is_left_out(tmp_path, monkeypatch):
    bad_batches(monkeypatch, {8 * 4})
    guard = {**SETTINGS.guard, "window": 16, "armed_after": 8}
    settings = with_changes(replace(SETTINGS, guard=guard), {"at": 8, "learning_rate": 0.01})
    pretrain(tmp_path / "run", Tokens(), job(settings))
    assert len(events(tmp_path / "run", "skipped")) == 1
    assert [e["step"] for e in events(tmp_path / "run", "changed")] == [8]


@pytest.mark.parametrize(
    ("text", "entry", "said"),
    [
        ("no json", "", "not valid JSON"),
        ("null", "", "no list of changes"),
        ("{}", "", "no list of changes"),
        ("[1]", ", entry 1", "1 is no change"),
        ('[{"at": 3, "steps": 9}, {"at": -1, "steps": 9}]', ", entry 2", "at: must be at least 0"),
        ('[{"at": 30, "bogus": 1}]', ", entry 1", "bogus: unknown key"),
        ('[{"at": 30}]', ", entry 1", "changes nothing"),
        ('[{"at": 30, "schedule": "sgd"}]', ", entry 1", "schedule: 'sgd' is not one of 'wsd'"),
    ],
)
def test_a_file_of_changes_that_is_none_is_named_with_its_entry(tmp_path, text, entry, said):
    path = tmp_path / "changes.json"
    path.write_text(text)
    for read in (given_by_hand, lambda folder: ask(folder, Change(at=5, learning_rate=0.1))):
        with pytest.raises(CorruptError, match=said) as caught:
            read(tmp_path)
        assert caught.value.where == f"{path}{entry}"
        assert "given with --at" in caught.value.fix
    assert path.read_text() == text


def test_a_choice_of_a_change_is_named_by_its_choices():
    _, findings = check(Change, {"at": 3, "optimizer": "rmsprop", "schedule": "sometimes"})
    assert findings["optimizer",] == "'rmsprop' is not one of 'muon', 'adamw', 'sgd' or 'adafactor'"
    known = "'wsd', 'cosine', 'linear', 'inverse_sqrt' or 'constant'"
    assert findings["schedule",] == f"'sometimes' is not one of {known}"


def test_a_shorter_end_that_comes_late_ends_the_run_with_a_checkpoint(tmp_path):
    settings = replace(SETTINGS, steps=20, checkpoint_every=5, sample_every=1)
    folder, given = tmp_path / "run", []

    def at_sample():
        if not given and len(list(read_lines(folder / "metrics.jsonl"))) == 7:
            given.append(ask(folder, Change(at=3, steps=6)))  # 8 are done when it is seen

    pretrain(folder, Tokens(), job(settings, at_sample=at_sample))
    assert read_run(folder)["steps"] == 9  # the next step that could be the last
    assert checkpoints(folder / "checkpoints")[-1].name == "step-00000009"
