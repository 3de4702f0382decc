"""Saving beside training, retention, and what several ranks tell each other over the disk."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from groundup.artifacts import damage, read_artifact
from groundup.errors import CorruptError, GroundupError, StorageError
from groundup.files import TEMPORARY
from groundup.track.run import checkpoints, newest_good_checkpoint
from groundup.train import commit as protocol
from groundup.train.batch import Batch
from groundup.train.checkpoint import load_checkpoint, save_checkpoint
from groundup.train.commit import begin, commit
from groundup.train.distributed import Ranks
from groundup.train.retention import Retention
from groundup.train.snapshot import HostMemory
from groundup.train.start import new_state
from groundup.train.state import RunState
from groundup.train.step import train_step
from groundup.train.writer import Saver
from tests.train.small import MODEL, SETTINGS, batch


def trained() -> RunState:
    state = new_state(MODEL, SETTINGS)
    go_on(state)
    return state


def go_on(state: RunState) -> None:
    train_step(state, SETTINGS, Batch(*batch(state.step)))


def names(folder: Path) -> list[int]:
    return [int(path.name[5:]) for path in checkpoints(folder)]


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob(f"{TEMPORARY}*"))


def test_what_is_saved_is_the_moment_of_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer is held up while three more steps change every weight in place."""
    state, go = trained(), threading.Event()
    expected = state.final_hash()
    real = protocol.write_part

    def held_up(*arguments: object) -> dict[str, object]:
        assert go.wait(30)
        return real(*arguments)

    monkeypatch.setattr(protocol, "write_part", held_up)
    saver = Saver(tmp_path, Retention(2))
    saver.save(state, {"a": 1})
    assert saver.is_writing()
    for _ in range(3):
        go_on(state)
    assert state.final_hash() != expected
    assert checkpoints(tmp_path) == []
    go.set()
    saver.close()
    assert saver.failed() is None
    found = new_state(MODEL, SETTINGS)
    assert load_checkpoint(tmp_path / "step-00000001", found) == {"a": 1}
    assert found.final_hash() == expected


def test_beside_and_in_the_loop_write_the_same_files(tmp_path: Path) -> None:
    state = trained()
    whole = save_checkpoint(tmp_path / "whole", state, {}, keep=Retention(1))
    saver = Saver(tmp_path / "beside", Retention(1))
    saver.save(state, {})
    saver.close()
    beside = tmp_path / "beside" / whole.name
    assert read_artifact(beside).manifest == read_artifact(whole).manifest
    assert damage(beside) == []


def test_host_memory_is_allocated_once_and_again_only_for_another_layout() -> None:
    state, memory = trained(), HostMemory()
    first = memory.snapshot(state, {}, Ranks())
    places = {name: image.data.data_ptr() for name, image in first.images.items()}
    go_on(state)
    second = memory.snapshot(state, {}, Ranks())
    assert {name: image.data.data_ptr() for name, image in second.images.items()} == places
    state.optimizers[0].state.clear()
    third = memory.snapshot(state, {}, Ranks())
    model, optimizer = "model-00000.safetensors", "optimizer-00000.safetensors"
    assert third.images[model].data.data_ptr() == places[model]
    assert third.images[optimizer].n_bytes < second.images[optimizer].n_bytes


def test_a_second_save_waits_for_the_first(tmp_path: Path) -> None:
    state, saver = trained(), Saver(tmp_path, Retention(3))
    for _ in range(3):
        go_on(state)
        saver.save(state, {})
    saver.close()
    assert names(tmp_path) == [2, 3, 4]
    assert all(damage(path) == [] for path in checkpoints(tmp_path))


# --- failures -----------------------------------------------------------------------------


def out_of_space(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def broken_disk(*_: object) -> int:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize(("call", "at"), [("write", 3), ("fsync", 2), ("preadv", 2), ("rename", 1)])
@pytest.mark.parametrize(
    ("fails", "said"), [(out_of_space, "the disk is full"), (broken_disk, "Input/output error")]
)
def test_a_failed_write_leaves_the_older_ones_and_nothing_else(
    call: str,
    at: int,
    fails: Callable[..., int],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state, saver = trained(), Saver(tmp_path, Retention(1))
    saver.save(state, {})
    saver.wait()
    go_on(state)
    real, counted = getattr(os, call), [0]

    def one_fails(*arguments: object, **named: object) -> object:
        counted[0] += 1
        return fails() if counted[0] == at else real(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(os, call, one_fails)
        saver.save(state, {})
        saver.wait()
    error = saver.failed()
    assert isinstance(error, StorageError)
    assert said in error.message
    assert saver.failed() is None  # said once
    assert names(tmp_path) == [1]
    assert damage(checkpoints(tmp_path)[0]) == []
    assert leftovers(tmp_path) == []
    go_on(state)
    saver.save(state, {})  # and the next one is written
    saver.close()
    assert saver.failed() is None
    assert names(tmp_path) == [3]


def test_too_little_room_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, saver = trained(), Saver(tmp_path, Retention(1))
    n_bytes = sum(
        t.numel() * t.itemsize for group in state.tensors().values() for t in group.values()
    )
    monkeypatch.setattr(
        "groundup.train.commit.shutil.disk_usage", lambda path: SimpleNamespace(free=12_345)
    )
    monkeypatch.setattr(os, "write", broken_disk)
    saver.save(state, {})
    error = saver.failed()
    assert isinstance(error, StorageError)
    assert "12,345 are free" in error.message
    needed = int(error.message.split("needs ")[1].split(" bytes")[0].replace(",", ""))
    assert n_bytes < needed < n_bytes + 100_000  # the generators' states, the guard's memory
    assert leftovers(tmp_path) == []


def test_a_disk_that_gives_back_something_else_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bit of what is read back; and one of what lies on the disk, whose tensor is named."""
    state = trained()
    good = save_checkpoint(tmp_path, state, {}, keep=Retention(1))
    go_on(state)
    real = protocol.write_file

    def flips(path: Path, *parts: bytes) -> dict[str, object]:
        entry = real(path, *parts)
        if path.name.startswith("model-"):
            with path.open("r+b") as file:
                file.seek(-1, os.SEEK_END)
                last = file.read(1)[0]
                file.seek(-1, os.SEEK_END)
                file.write(bytes([last ^ 1]))
        return entry

    monkeypatch.setattr(protocol, "write_file", flips)
    with pytest.raises(CorruptError, match="SHA-256 differs: tensor "):
        save_checkpoint(tmp_path, state, {}, keep=Retention(1))
    assert newest_good_checkpoint(tmp_path) == good
    assert leftovers(tmp_path) == []


def test_a_bug_in_the_thread_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(protocol, "write_part", bug)
    saver = Saver(tmp_path, Retention(1))
    saver.save(trained(), {})
    saver.wait()
    error = saver.failed()
    assert type(error) is GroundupError
    assert "a bug" in error.message
    assert leftovers(tmp_path) == []


def test_an_old_checkpoint_that_cannot_be_removed_does_not_spoil_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = trained()
    save_checkpoint(tmp_path, state, {}, keep=Retention(1))
    go_on(state)
    monkeypatch.setattr("groundup.train.commit.remove", broken_disk)
    save_checkpoint(tmp_path, state, {}, keep=Retention(1))
    assert names(tmp_path) == [1, 2]
    assert "step-00000001 could not be removed" in capsys.readouterr().err


# --- several ranks ------------------------------------------------------------------------


def as_ranks(
    size: int, folder: Path, monkeypatch: pytest.MonkeyPatch, missing: tuple[int, ...] = ()
) -> list[BaseException | None]:
    """Each rank's protocol in a thread of its own, the ``missing`` never begin; their errors."""
    monkeypatch.setattr(protocol, "barrier", lambda ranks: None)
    state = trained()
    path = folder / "step-00000001"
    ranks = [Ranks(rank, size, 1, size) for rank in range(size)]
    snapshots = [HostMemory().snapshot(state, {}, each) for each in ranks]
    begun = begin(path, snapshots[0], ranks[0])
    errors: list[BaseException | None] = [None] * size

    def run(rank: int) -> None:
        try:
            commit(path, begun, snapshots[rank], Retention(1), ranks[rank])
        except BaseException as error:
            errors[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    present = [thread for rank, thread in enumerate(threads) if rank not in missing]
    for thread in reversed(present):  # the first comes last
        thread.start()
    for thread in present:
        thread.join(60)
        assert not thread.is_alive()
    return errors


def test_every_ranks_files_stand_in_one_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert as_ranks(3, tmp_path, monkeypatch) == [None] * 3
    (path,) = checkpoints(tmp_path)
    assert damage(path) == []
    files = {file.name for file in path.iterdir()}
    assert files == {*read_artifact(path).manifest["files"], "manifest.json"}
    assert len(files) == 3 * 3 + 2


def test_a_rank_that_never_writes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "SILENT_SECONDS", 0.5)
    errors = as_ranks(4, tmp_path, monkeypatch, missing=(2,))
    assert isinstance(errors[0], StorageError)
    assert "came from rank 2 within" in errors[0].message
    for error in (errors[1], errors[3]):
        assert isinstance(error, StorageError)
        assert "the first rank gave this checkpoint up" in error.message
    assert list(tmp_path.iterdir()) == []


def test_a_rank_that_cannot_write_is_named_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = protocol.write_image

    def full_on_one(path: Path, image: object) -> object:
        return out_of_space() if "00001" in path.name else real(path, image)

    monkeypatch.setattr(protocol, "write_image", full_on_one)
    errors = as_ranks(3, tmp_path, monkeypatch)
    assert all(isinstance(error, StorageError) for error in errors)
    assert "rank 1 could not write its part: the disk is full" in str(errors[0])
    assert "the disk is full" in str(errors[1])
    assert list(tmp_path.iterdir()) == []


def test_a_first_rank_that_cannot_begin_stops_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "barrier", lambda ranks: None)
    snapshot = HostMemory().snapshot(trained(), {}, Ranks(1, 2, 1, 2))
    path = tmp_path / "step-00000001"
    begun = begin(path, snapshot, Ranks(1, 2, 1, 2))  # the first made nothing
    with pytest.raises(StorageError, match="must share this folder") as caught:
        commit(path, begun, snapshot, Retention(1), Ranks(1, 2, 1, 2))
    assert caught.value.fix is not None
    assert list(tmp_path.iterdir()) == []


# --- retention ----------------------------------------------------------------------------


def kept(
    folder: Path,
    keep: Retention,
    steps: list[int],
    losses: dict[int, float] | None = None,
    every: int = 1,
) -> list[int]:
    """Which checkpoints are left after saves at ``steps``; those at multiples are regular."""
    state = new_state(MODEL, SETTINGS)
    for step in steps:
        state.step, state.validation_loss = step, (losses or {}).get(step)
        state.is_regular = step % every == 0
        save_checkpoint(folder, state, {}, keep=keep)
    assert leftovers(folder) == []
    return names(folder)


@pytest.mark.parametrize(
    ("keep", "every", "steps", "expected"),
    [
        (Retention(2), 1, [10, 20, 30], [20, 30]),
        (Retention(2), 10, [10, 20, 25], [10, 20, 25]),
        (Retention(2), 10, [10, 20, 25, 30], [20, 30]),
        (Retention(1), 10, [10, 13, 17], [10, 17]),
        (Retention(1, keep_every=20), 10, [10, 20, 30, 40, 50], [20, 40, 50]),
        (Retention(1, keep_every=10), 4, [4, 8, 10, 12], [10, 12]),
        (Retention(3), 50, [10, 20, 30], [30]),
    ],
)
def test_what_is_kept(
    keep: Retention, every: int, steps: list[int], expected: list[int], tmp_path: Path
) -> None:
    assert kept(tmp_path, keep, steps, every=every) == expected


def test_a_regular_checkpoint_stays_one_when_they_are_made_more_rarely(tmp_path: Path) -> None:
    """By its step it would be none: 10 and 20 are no multiples of the later interval."""
    assert kept(tmp_path, Retention(3), [10, 20], every=10) == [10, 20]
    assert kept(tmp_path, Retention(3), [50], every=50) == [10, 20, 50]


def test_the_best_is_kept_beside_the_last(tmp_path: Path) -> None:
    losses = {1: 3.0, 2: 2.0, 3: float("nan"), 5: 2.5, 6: 1.5}
    keep = Retention(1, keep_best=True)
    assert kept(tmp_path, keep, [1, 2, 3, 4, 5], losses) == [2, 5]
    manifest = read_artifact(tmp_path / "step-00000002").manifest
    assert manifest["evaluation"] == 2.0
    assert kept(tmp_path, keep, [6, 7], losses) == [6, 7]


def test_without_a_measurement_none_is_the_best(tmp_path: Path) -> None:
    assert kept(tmp_path, Retention(1, keep_best=True), [1, 2, 3]) == [3]


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "step-by-step").mkdir()
    keep = Retention(1)
    state = new_state(MODEL, SETTINGS)
    for step in (1, 2):
        state.step = step
        save_checkpoint(tmp_path, state, {}, keep=keep)
    assert {path.name for path in tmp_path.iterdir()} == {"step-by-step", "step-00000002"}
