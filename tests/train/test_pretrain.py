import hashlib
import importlib.metadata
import json
import math
import os
import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from groundup.errors import ConfigError, DivergedError, Interrupted
from groundup.files import TEMPORARY
from groundup.track.run import checkpoints, read_lines, read_run
from groundup.track.verify import verify
from groundup.train.checkpoint import load_checkpoint
from groundup.train.pretrain import pretrain
from groundup.train.start import new_state
from tests.train.small import MODEL, SETTINGS, Tokens, job

CURVE = Path(__file__).parent / "curves" / "tiny.json"
ADAMW = replace(SETTINGS, optimizer="adamw", learning_rate=3e-3, adam_learning_rate=3e-3)
LONG = replace(SETTINGS, steps=60, evaluate_every=30, checkpoint_every=20, sample_every=30)


def losses(folder):
    return [line["loss"] for line in read_lines(folder / "metrics.jsonl")]


def events(folder, kind):
    return [line for line in read_lines(folder / "events.jsonl") if line["event"] == kind]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """optimizer → folder of a finished run."""
    folders = {}
    for settings in (SETTINGS, ADAMW):
        folders[settings.optimizer] = tmp_path_factory.mktemp(settings.optimizer) / "run"
        pretrain(folders[settings.optimizer], Tokens(), job(settings))
    return folders


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long") / "run"
    pretrain(folder, Tokens(), job(LONG))
    return folder


def test_the_loss_falls_towards_that_of_the_sequence(long_run):
    found = losses(long_run)
    assert found[0] == pytest.approx(math.log(64), abs=0.2)  # knows nothing
    assert min(found) >= math.log(2) - 0.15  # the next number is one of two: no model knows more
    assert sum(found[-5:]) / 5 < math.log(64) / 2


def test_the_loss_curve_is_the_stored_one(long_run):
    """Delete the file and test twice to accept another curve."""
    found = losses(long_run)
    if not CURVE.exists():
        CURVE.parent.mkdir(exist_ok=True)
        CURVE.write_text(json.dumps([round(loss, 6) for loss in found], indent=0) + "\n")
        pytest.fail(f"{CURVE} was missing and has been written")
    stored = json.loads(CURVE.read_text())
    assert found[:20] == pytest.approx(stored[:20], abs=2e-4)
    assert found == pytest.approx(stored, abs=5e-3)  # rounding of other processors grows


def test_the_stored_curve_would_notice_a_small_drift(tmp_path):
    settings = replace(LONG, steps=20, momentum=0.94, decay_fraction=0.01)
    pretrain(tmp_path / "run", Tokens(), job(settings))
    stored = json.loads(CURVE.read_text())
    assert losses(tmp_path / "run")[:20] != pytest.approx(stored[:20], abs=2e-4)


def test_each_step_is_logged_once_with_finite_numbers(uninterrupted):
    lines = list(read_lines(uninterrupted["muon"] / "metrics.jsonl"))
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert all(math.isfinite(value) for line in lines for value in line.values())
    assert [line["tokens"] for line in lines] == [64 * step for step in range(1, 13)]
    assert lines[0]["learning_rate"] == pytest.approx(0.02 / 3)  # first of two warm-up steps


def test_the_loss_chain_is_the_hash_of_the_log(uninterrupted):
    folder = uninterrupted["muon"]
    chain = hashlib.sha256(b"").hexdigest()
    for line in read_lines(folder / "metrics.jsonl"):
        chain = hashlib.sha256(f"{chain} {line['step']} {line['loss'].hex()}".encode()).hexdigest()
    assert read_run(folder)["loss_chain"] == chain


def test_the_record_of_a_finished_run_is_sealed_and_complete(uninterrupted):
    folder = uninterrupted["muon"]
    record = read_run(folder)
    assert record["status"] == "finished"
    assert (record["steps"], record["tokens"]) == (12, 12 * 64)
    assert record["predicted"].keys() == record["measured"].keys()
    assert record["measured"]["peak_memory_bytes"] > 10 * 2**20
    assert record["measured"]["duration_seconds"] > 0
    assert record["environment"]["packages"]["torch"] == importlib.metadata.version("torch")
    assert verify(folder)[1] == []
    assert len(checkpoints(folder / "checkpoints")) == SETTINGS.keep_last
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace('"steps": 12', '"steps": 13', 1))
    try:
        assert read_run(folder) is None
        assert len(verify(folder)[1]) == 1
    finally:
        (folder / "run.json").write_text(text)


@pytest.mark.parametrize("settings", [SETTINGS, ADAMW], ids=["muon", "adamw"])
@pytest.mark.parametrize("at", [6, 12])
def test_a_run_that_broke_off_ends_with_the_same_bits(tmp_path, uninterrupted, settings, at):
    """Broken off in the sample of step ``at``, after steps that no checkpoint holds."""
    folder, reached = tmp_path / "run", []

    def break_off():
        reached.append(len(losses(folder)))
        if reached[-1] == at and reached.count(at) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(folder, Tokens(), job(settings, at_sample=break_off))
    assert read_run(folder)["status"] == "interrupted"
    assert "final_hash" not in read_run(folder)
    pretrain(folder, Tokens(), job(settings, at_sample=break_off))
    expected = uninterrupted[settings.optimizer]
    assert read_run(folder)["final_hash"] == read_run(expected)["final_hash"]
    assert losses(folder) == losses(expected)
    assert [line["step"] for line in events(folder, "resumed")] == [(at - 1) // 4 * 4]
    assert len(events(folder, "sample")) == len(events(expected, "sample"))
    for name in ("model", "optimizer"):
        file = f"checkpoints/step-00000012/{name}-00000.safetensors"
        found, wanted = load_file(folder / file), load_file(expected / file)
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("at", [6, 12])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_stop_saves_that_very_step_and_the_same_call_goes_on(
    tmp_path, uninterrupted, number, at
):
    folder, sent = tmp_path / "run", []

    def stop_once():
        if not sent and len(losses(folder)) == at:
            sent.append(os.kill(os.getpid(), number))

    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=f"stopped after step {at} of 12, which is saved"):
        pretrain(folder, Tokens(), job(at_sample=stop_once))
    assert signal.getsignal(number) is before
    assert checkpoints(folder / "checkpoints")[-1].name == f"step-{at:08d}"
    assert read_run(folder)["status"] == "interrupted"
    pretrain(folder, Tokens(), job())
    assert read_run(folder)["final_hash"] == read_run(uninterrupted["muon"])["final_hash"]
    assert [line["step"] for line in events(folder, "resumed")] == [at]
    assert losses(folder) == losses(uninterrupted["muon"])


def test_a_second_request_stops_at_once(tmp_path):
    def stop_twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        pretrain(tmp_path / "run", Tokens(), job(at_sample=stop_twice))
    assert read_run(tmp_path / "run")["status"] == "interrupted"


def test_a_damaged_checkpoint_is_passed_over_and_the_bits_are_the_same(
    tmp_path, uninterrupted, capsys
):
    folder = tmp_path / "run"
    pretrain(folder, Tokens(), job())
    file = folder / "checkpoints" / "step-00000012" / "optimizer-00000.safetensors"
    data = bytearray(file.read_bytes())
    data[-7] ^= 16
    file.write_bytes(data)
    (folder / "checkpoints" / f"{TEMPORARY}killed").mkdir()
    pretrain(folder, Tokens(), job())
    said = capsys.readouterr().err
    assert "step-00000012 is damaged and not used: optimizer-00000.safetensors" in said
    assert "going on from step 8" in said
    assert read_run(folder)["final_hash"] == read_run(uninterrupted["muon"])["final_hash"]
    assert not list(folder.rglob(f"{TEMPORARY}*"))
    assert verify(folder)[1] == []


def test_a_run_without_any_good_checkpoint_starts_again(tmp_path, uninterrupted):
    folder = tmp_path / "run"
    pretrain(folder, Tokens(), job())
    for path in checkpoints(folder / "checkpoints"):
        (path / "manifest.json").unlink()
    pretrain(folder, Tokens(), job())
    assert read_run(folder)["final_hash"] == read_run(uninterrupted["muon"])["final_hash"]
    assert len(losses(folder)) == 12
    assert events(folder, "resumed") == []


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    folder = tmp_path / "run"
    pretrain(folder, Tokens(), job())
    with pytest.raises(ConfigError, match="would change in its middle") as caught:
        pretrain(folder, Tokens(), job(replace(SETTINGS, seed=8, learning_rate=0.5)))
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["seed", "learning_rate"]


def test_another_machine_is_said_and_written_down(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        pretrain(folder, Tokens(), job(at_sample=lambda: (_ for _ in ()).throw(KeyboardInterrupt)))
    here = torch.backends.cpu.get_cpu_capability()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: f"not {here}")
    pretrain(folder, Tokens(), job())
    assert "differs in numerics.cpu_capability" in capsys.readouterr().err
    assert events(folder, "resumed")[0]["changed"] == ["numerics.cpu_capability"]


def test_a_run_that_leaves_the_finite_numbers_stops_before_it_saves_them(tmp_path):
    folder = tmp_path / "run"
    settings = replace(ADAMW, learning_rate=1e30, warmup_steps=5, steps=40, checkpoint_every=1)
    with pytest.raises(DivergedError, match="gone back") as caught:
        pretrain(folder, Tokens(), job(settings))
    assert caught.value.code == 2
    assert "learning_rate" in caught.value.fix
    record = read_run(folder)
    assert (record["status"], "final_hash" in record) == ("failed", False)
    assert all(math.isfinite(loss) for loss in losses(folder))
    for path in checkpoints(folder / "checkpoints"):
        assert int(path.name[-8:]) <= len(losses(folder))


def test_the_final_hash_sees_one_bit_of_a_weight_a_state_or_a_loss(uninterrupted):
    state = new_state(MODEL, SETTINGS)
    path = checkpoints(uninterrupted["muon"] / "checkpoints")[-1]
    load_checkpoint(path, state)
    seen = [state.final_hash()]
    assert seen == [read_run(uninterrupted["muon"])["final_hash"]]
    for tensors in state.tensors().values():
        tensor = list(tensors.values())[-1].detach().view(-1)
        tensor[-1:].view(torch.int32).bitwise_xor_(1)
        seen.append(state.final_hash())
    state.record_loss(13, 0.5)
    seen.append(state.final_hash())
    assert len(set(seen)) == 4
    state.elapsed_seconds += 1
    assert state.final_hash() == seen[-1]


def test_neighbouring_losses_chain_differently():
    chains = []
    for loss in (1.5, math.nextafter(1.5, 2)):
        state = new_state(MODEL, SETTINGS)
        state.record_loss(1, loss)
        chains.append(state.loss_chain)
    assert chains[0] != chains[1]


def test_time_is_carried_over_an_interruption(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        pretrain(folder, Tokens(), job(at_sample=lambda: (_ for _ in ()).throw(KeyboardInterrupt)))
    pretrain(folder, Tokens(), job())
    states = [
        json.loads((path / "state.json").read_text())
        for path in checkpoints(folder / "checkpoints")
    ]
    assert all(a["elapsed_seconds"] < b["elapsed_seconds"] for a, b in pairwise(states))
    # the last save is part of the duration, and cannot be in the state that it saves
    assert read_run(folder)["measured"]["duration_seconds"] > states[-1]["elapsed_seconds"]
    assert states[-1]["step_seconds"] <= states[-1]["elapsed_seconds"]
