"""Interventions inside real runs: what is left out or gone back to; a resume agrees."""

import math
import os
import signal
from dataclasses import replace

import pytest
import torch

from groundup.errors import CorruptError, DivergedError, Interrupted, StorageError
from groundup.track.run import checkpoints, read_lines, read_run
from groundup.train import loop
from groundup.train.guard.config import GuardConfig
from groundup.train.integrity.config import IntegrityConfig
from groundup.train.pretrain import pretrain
from tests.train.small import SETTINGS, Tokens, job

STEPS, EVERY, BATCH = 40, 8, SETTINGS.batch_size


def settings(policy="rewind", **fields):
    guard = GuardConfig(policy=policy, window=16, armed_after=8, rewind_within=4).model_dump()
    changed = {
        "steps": STEPS, "checkpoint_every": EVERY, "keep_last": 3, "evaluate_every": 10,
        "sample_every": 10, "guard": guard, **fields,
    }  # fmt: skip
    return replace(SETTINGS, **changed)


def events(folder, kind):
    return [line for line in read_lines(folder / "events.jsonl") if line["event"] == kind]


def steps_of(folder, name="metrics"):
    return [line["step"] for line in read_lines(folder / f"{name}.jsonl")]


def bad_batches(monkeypatch, cursors):
    """The batches that begin at ``cursors`` have a loss that is not a number."""
    compute = loop.gradients

    def gradients(state, *arguments, **named):
        found = compute(state, *arguments, **named)
        bad = state.cursor in cursors
        return found._replace(loss=found.loss * math.nan) if bad else found

    monkeypatch.setattr(loop, "gradients", gradients)


def damage_at(monkeypatch, cursor):
    """Once, before the batch at ``cursor``, the head is turned round."""
    compute, done = loop.gradients, []

    def gradients(state, *arguments, **named):
        if state.cursor == cursor and not done:
            done.append(True)
            with torch.no_grad():
                state.model.head.weight *= -30
        return compute(state, *arguments, **named)

    monkeypatch.setattr(loop, "gradients", gradients)


def test_a_bad_batch_is_left_out_and_nothing_else_is_lost(tmp_path, monkeypatch):
    bad_batches(monkeypatch, {20 * BATCH})
    pretrain(tmp_path / "run", Tokens(), job(settings()))
    (skipped,) = events(tmp_path / "run", "skipped")
    assert (skipped["step"], skipped["cursor"], skipped["samples"]) == (20, 20 * BATCH, BATCH)
    assert "not finite" in skipped["why"] or "nan" in skipped["why"]
    record = read_run(tmp_path / "run")
    assert steps_of(tmp_path / "run") == list(range(1, STEPS + 1))
    assert record["steps"] == STEPS
    assert record["samples"] == (STEPS + 1) * BATCH  # one more was used up
    assert record["tokens"] == STEPS * BATCH * SETTINGS.context_length
    assert (record["skipped"], record["rewinds"]) == (1, 0)


def test_damaged_weights_are_gone_back_before(tmp_path, monkeypatch):
    damage_at(monkeypatch, 21 * BATCH)
    pretrain(tmp_path / "run", Tokens(), job(settings()))
    (rewound,) = events(tmp_path / "run", "rewound")
    assert (rewound["from_step"], rewound["to_step"]) == (21, 16)
    assert rewound["checkpoint"] == "step-00000016"
    assert steps_of(tmp_path / "run") == list(range(1, STEPS + 1))
    assert steps_of(tmp_path / "run", "abandoned") == [17, 18, 19, 20, 21]
    record = read_run(tmp_path / "run")
    assert record["samples"] == (STEPS + 6) * BATCH  # 5 abandoned, and the batch of the alarm
    final = [line["loss"] for line in read_lines(tmp_path / "run" / "metrics.jsonl")][-5:]
    assert sum(final) / 5 < math.log(64)  # as before the damage, not as after it


def test_without_a_guard_the_damage_stays(tmp_path, monkeypatch):
    """So the test above sees what the guard did."""
    damage_at(monkeypatch, 21 * BATCH)
    pretrain(tmp_path / "run", Tokens(), job(settings("off")))
    found = [line["loss"] for line in read_lines(tmp_path / "run" / "metrics.jsonl")]
    assert found[21] > 2 * found[20]


@pytest.mark.parametrize("stop_at", [10, 20, 30])
@pytest.mark.parametrize("fault", [bad_batches, "rewind"])
def test_a_run_stopped_on_the_way_decides_as_the_uninterrupted_one(
    tmp_path, monkeypatch, stop_at, fault
):
    """The faults come back at the same samples, as bad data does."""
    if fault == "rewind":  # three bad in a row, of which two may be skipped: then it goes back
        chosen = settings(guard={**settings().guard, "max_skips": 2})
        bad_batches(monkeypatch, {n * BATCH for n in (22, 23, 24)})
    else:
        chosen = settings()
        bad_batches(monkeypatch, {9 * BATCH, 22 * BATCH})
    pretrain(tmp_path / "whole", Tokens(), job(chosen))

    sent = []

    def stop_once():
        if not sent and len(steps_of(tmp_path / "run")) == stop_at:
            sent.append(os.kill(os.getpid(), signal.SIGTERM))

    with pytest.raises(Interrupted):
        pretrain(tmp_path / "run", Tokens(), job(chosen, at_sample=stop_once))
    pretrain(tmp_path / "run", Tokens(), job(chosen))
    whole, resumed = read_run(tmp_path / "whole"), read_run(tmp_path / "run")
    assert resumed["final_hash"] == whole["final_hash"]
    assert resumed["loss_chain"] == whole["loss_chain"]
    assert [e["cursor"] for e in events(tmp_path / "run", "skipped")] == [
        e["cursor"] for e in events(tmp_path / "whole", "skipped")
    ]
    kind = "rewound" if fault == "rewind" else "skipped"
    assert events(tmp_path / "whole", kind)


def test_it_gives_up_with_a_diagnosis_when_every_batch_is_bad(tmp_path, monkeypatch):
    bad_batches(monkeypatch, set(range(12 * BATCH, 10_000)))
    with pytest.raises(DivergedError) as caught:
        pretrain(tmp_path / "run", Tokens(), job(settings()))
    record = read_run(tmp_path / "run")
    assert record["status"] == "failed"
    assert len(events(tmp_path / "run", "rewound")) == GuardConfig().max_rewinds
    assert events(tmp_path / "run", "gave_up")
    assert "gone back" in caught.value.message
    assert checkpoints(tmp_path / "run" / "checkpoints")


def test_a_flipped_bit_is_named_and_gone_back_before(tmp_path, monkeypatch):
    """The lowest bit of one weight: no loss could ever show it."""
    compute, done = loop.gradients, []

    def gradients(state, *arguments, **named):
        if state.step == 21 and not done:
            done.append(True)
            weight = dict(state.model.named_parameters())["blocks.0.attention.q.weight"]
            weight.data.view(torch.int32)[0, 0] ^= 1
        return compute(state, *arguments, **named)

    monkeypatch.setattr(loop, "gradients", gradients)
    chosen = settings(integrity=IntegrityConfig(checksum_every=1).model_dump())
    pretrain(tmp_path / "run", Tokens(), job(chosen))
    (found,) = events(tmp_path / "run", "corruption")
    assert (found["step"], found["tensor"], found["rank"]) == (21, "blocks.0.attention.q.weight", 0)
    (rewound,) = events(tmp_path / "run", "rewound")
    assert (rewound["from_step"], rewound["to_step"]) == (21, 16)

    done.clear()
    with pytest.raises(CorruptError, match=r"blocks\.0\.attention\.q\.weight"):
        pretrain(tmp_path / "off", Tokens(), job(replace(chosen, guard=settings("off").guard)))


def test_the_checks_change_no_bit_of_a_sound_run(tmp_path):
    pretrain(tmp_path / "without", Tokens(), job(settings("off")))
    watched = IntegrityConfig(checksum_every=1, compare_every=2, replay_every=3).model_dump()
    pretrain(tmp_path / "with", Tokens(), job(settings("rewind", integrity=watched)))
    hashes = {read_run(tmp_path / name)["final_hash"] for name in ("without", "with")}
    assert len(hashes) == 1


def test_a_checkpoint_that_cannot_be_written_does_not_end_a_run_that_has_one(tmp_path, monkeypatch):
    from groundup.train import writer

    commit = writer.commit

    def full_disk(path, *arguments):
        if path.name == "step-00000016":
            raise StorageError("the disk is full", where=str(path))
        return commit(path, *arguments)

    monkeypatch.setattr(writer, "commit", full_disk)
    pretrain(tmp_path / "run", Tokens(), job(settings()))
    (failed,) = events(tmp_path / "run", "checkpoint_failed")
    assert failed["error"] == "the disk is full"
    assert read_run(tmp_path / "run")["status"] == "finished"

    monkeypatch.setattr(
        writer,
        "commit",
        lambda path, *rest: (_ for _ in ()).throw(StorageError("the disk is full")),
    )
    with pytest.raises(StorageError):
        pretrain(tmp_path / "none", Tokens(), job(settings()))


def test_another_cadence_goes_back_to_the_checkpoints_there_are(tmp_path, monkeypatch):
    sent = []

    def stop_once():
        if not sent and len(steps_of(tmp_path / "run")) == 20:
            sent.append(os.kill(os.getpid(), signal.SIGTERM))

    with pytest.raises(Interrupted):
        pretrain(tmp_path / "run", Tokens(), job(settings(), at_sample=stop_once))
    damage_at(monkeypatch, 22 * BATCH)
    pretrain(tmp_path / "run", Tokens(), job(settings(checkpoint_every=7)))
    rewound = events(tmp_path / "run", "rewound")[0]
    assert (rewound["from_step"], rewound["to_step"]) in [(22, 21), (22, 16)]
    assert read_run(tmp_path / "run")["status"] == "finished"


def test_a_checkpoint_before_which_weights_are_damaged_is_not_saved(tmp_path, monkeypatch):
    """Damaged by the update itself: only the probe before the save can see it."""
    apply, done = loop.apply_gradients, []

    def apply_gradients(state, *arguments):
        apply(state, *arguments)
        if state.step == 24 and not done:
            done.append(True)
            with torch.no_grad():
                state.model.head.weight *= -30

    monkeypatch.setattr(loop, "apply_gradients", apply_gradients)
    pretrain(tmp_path / "run", Tokens(), job(settings()))
    (rewound,) = events(tmp_path / "run", "rewound")
    assert (rewound["from_step"], rewound["to_step"]) == (24, 16)
    assert read_run(tmp_path / "run")["samples"] == (STEPS + 8) * BATCH


def test_what_a_later_save_finds_out_of_an_earlier_one_is_no_failure_of_its_own(
    tmp_path, monkeypatch
):
    from groundup.train import writer

    commit = writer.commit

    def slow_and_full(path, *arguments):
        if path.name == "step-00000032":  # the last but one, found out when the last is due
            raise StorageError("the disk is full", where=str(path))
        return commit(path, *arguments)

    monkeypatch.setattr(writer, "commit", slow_and_full)
    pretrain(tmp_path / "run", Tokens(), job(settings()))
    assert read_run(tmp_path / "run")["status"] == "finished"
    assert len(events(tmp_path / "run", "checkpoint_failed")) == 1
