"""Files that are whole or not there, whatever happens between two instructions."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup import files
from groundup.errors import InputError, LockedError, StorageError
from groundup.files import (
    LOCK,
    TEMPORARY,
    atomic_folder,
    canonical_json,
    hash_file,
    hash_json,
    lock,
    lock_holder,
    read_json,
    remove_temporaries,
    storage_errors,
    write_atomic,
    write_json,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_write_replaces_the_whole_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_atomic(path, "first, and longer")
    write_atomic(path, b"second")
    assert path.read_bytes() == b"second"
    assert names(path.parent) == ["a.txt"]


def test_a_full_disk_that_a_rust_library_met_is_a_full_disk(tmp_path: Path) -> None:
    said = "Error while serializing: I/O error: No space left on device (os error 28)"
    with pytest.raises(StorageError, match="the disk is full"), storage_errors(tmp_path):
        raise Exception(said)
    with pytest.raises(ZeroDivisionError), storage_errors(tmp_path):
        raise ZeroDivisionError("28")


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_a_write_that_fails_anywhere_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StorageError, match=r"the disk is full; [0-9,]+ bytes are free") as caught:
        write_atomic(path, "new")
    assert "finished work is kept" in str(caught.value.fix)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


CRASH = """
import os, sys
from pathlib import Path
from groundup import files
calls, at = 0, int(sys.argv[2])
def counted(name):
    real = getattr(os, name)
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), 9)
        return real(*arguments, **options)
    setattr(os, name, call)
for name in ("open", "fdopen", "fsync", "chmod", "replace", "close"):
    counted(name)
folder = Path(sys.argv[1])
files.write_atomic(folder / "a.txt", "new")
with files.atomic_folder(folder / "b") as inside:
    (inside / "x").write_text("new")
print(calls)
"""


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # 3.12: a forked child of threads
def test_a_kill_at_any_system_call_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    seen, crash, finished = set(), 0, False
    while not finished:
        crash += 1
        folder = tmp_path / str(crash)
        write_atomic(folder / "a.txt", "old")
        with atomic_folder(folder / "b") as inside:
            (inside / "x").write_text("old")
        process = os.fork()
        if process == 0:  # a fork is a hundredfold faster than a new interpreter
            sys.argv = ["crash", str(folder), str(crash)]
            with open(os.devnull, "w") as sys.stdout:
                exec(CRASH, {})
            os._exit(0)
        finished = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
        remove_temporaries(folder)
        text = (folder / "a.txt").read_text()
        kept = folder / "b" / "x"
        inside_text = kept.read_text() if kept.exists() else "gone"
        seen.add((text, inside_text))
        assert set(names(folder)) <= {"a.txt", "b"}
        assert text in ("old", "new")
    assert crash > 8
    # Replacing a folder takes two renames; artifacts and checkpoints never replace one.
    assert seen <= {("old", "old"), ("new", "old"), ("new", "gone"), ("new", "new")}
    assert {("old", "old"), ("new", "old"), ("new", "new")} <= seen


def test_a_folder_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "result"
    with pytest.raises(KeyError):
        half_a_folder(path)
    assert names(tmp_path) == []
    with atomic_folder(path) as inside:
        (inside / "sub").mkdir()
        (inside / "sub" / "a").write_text("whole")
    assert (path / "sub" / "a").read_text() == "whole"
    assert names(tmp_path) == ["result"]


def half_a_folder(path: Path) -> None:
    with atomic_folder(path) as inside:
        (inside / "a").write_text("half")
        assert not path.exists()
        raise KeyError


def test_a_folder_replaces_the_one_before(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with atomic_folder(tmp_path / "f") as inside:
            (inside / text).write_text(text)
    assert names(tmp_path) == ["f"]
    assert names(tmp_path / "f") == ["two"]


def test_leftovers_of_a_killed_process_are_cleared(tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY}folder" / "deep").mkdir(parents=True)
    (tmp_path / f"{TEMPORARY}file").write_text("x")
    (tmp_path / "kept").write_text("x")
    remove_temporaries(tmp_path)
    assert names(tmp_path) == ["kept"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_read_only_folder_says_so(tmp_path: Path, code: int) -> None:
    refused = pytest.raises(StorageError, match="read-only or not allowed")
    with refused as caught, storage_errors(tmp_path):
        raise OSError(code, os.strerror(code))
    assert caught.value.where == str(tmp_path)


def test_a_refusal_that_names_a_file_elsewhere_is_not_ours(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "work" / "made", tmp_path / "text" / "a.txt"
    for refused in (PermissionError(errno.EACCES, "no", str(theirs)), PermissionError(13, "no")):
        with pytest.raises(PermissionError), atomic_folder(mine):
            raise refused
    with pytest.raises(PermissionError), storage_errors(mine):
        raise PermissionError(errno.EACCES, "no", str(theirs))
    assert names(mine.parent) == []


@pytest.mark.parametrize("place", ["work/made/x", "work", "work/beside"])
def test_a_refusal_that_names_our_own_place_is_ours(tmp_path: Path, place: str) -> None:
    refused = pytest.raises(StorageError, match="read-only or not allowed")
    with refused, atomic_folder(tmp_path / "work" / "made"):
        raise PermissionError(errno.EACCES, "no", str(tmp_path / place))
    for code in (errno.EROFS, errno.ENOSPC):  # reading never ends so
        with pytest.raises(StorageError), atomic_folder(tmp_path / "work" / "made"):
            raise OSError(code, "no")


def test_who_holds_a_lock_is_told_without_taking_it(tmp_path: Path) -> None:
    path = tmp_path / LOCK
    assert lock_holder(path) is None
    with lock(path):
        assert f"pid {os.getpid()} on " in str(lock_holder(path))
    assert lock_holder(path) is None


def test_other_errors_of_the_system_pass_through(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), storage_errors(tmp_path):
        raise IsADirectoryError(errno.EISDIR, "x")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text("ab", max_size=3), JSON, max_size=4))
def test_the_hash_of_json_ignores_the_order_of_keys(value: dict[str, object]) -> None:
    turned = dict(reversed(list(value.items())))
    assert hash_json(turned) == hash_json(value)
    assert json.loads(canonical_json(value)) == value


def test_the_hash_of_json_is_the_sha256_of_its_text() -> None:
    expected = hashlib.sha256('{"a":[1,"é"],"b":null}'.encode()).hexdigest()
    assert hash_json({"b": None, "a": [1, "é"]}) == expected
    with pytest.raises(ValueError, match="not JSON compliant"):
        hash_json({"a": float("nan")})


def test_files_hash_as_sha256sum_does(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert hash_file(tmp_path / "a") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_json_files_are_read_back_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"é": 1})
    assert read_json(path) == {"é": 1}
    path.write_bytes(b"{")
    with pytest.raises(InputError, match="not valid JSON"):
        read_json(path)
    path.write_bytes(b"[" * 100_000)
    with pytest.raises(InputError, match="not valid JSON"):
        read_json(path)
    with pytest.raises(InputError, match="file not found"):
        read_json(tmp_path / "b.json")


HOLD = """
import sys, time
from pathlib import Path
from groundup.files import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused_by_name_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "project" / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"pid {holder.pid} on ") as caught, lock(path):
            pass
        assert caught.value.where == str(path.parent)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with lock(path):
        assert f"pid {os.getpid()} on " in path.read_text()
    with lock(path):  # released at the end of the block
        pass


def test_nearest_folder_exists(tmp_path: Path) -> None:
    assert files.nearest_folder(tmp_path / "a" / "b") == tmp_path


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    for path in (tmp_path / "out" / "plan.html", tmp_path / "out" / "deeper" / "plan.html"):
        with pytest.raises(StorageError, match="in the way") as error:
            write_atomic(path, "x")
        assert str(tmp_path / "out") in str(error.value)


def test_a_target_is_a_plain_file_or_nothing_yet(tmp_path: Path) -> None:
    plain, new = tmp_path / "plain", tmp_path / "a" / "b" / "new"
    plain.write_text("kept")
    for path in (plain, new):
        files.require_plain_target(path)
    assert plain.read_text() == "kept"
    assert list(new.parent.iterdir()) == []
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(plain)
    for path in (tmp_path / "a", tmp_path / "pipe", tmp_path / "link"):
        with pytest.raises(StorageError, match="not a plain file"):
            files.require_plain_target(path)
    with pytest.raises(StorageError, match="in the way"):
        files.require_plain_target(plain / "new")


def test_a_folder_of_the_kernels_is_no_place_to_write() -> None:
    with pytest.raises(StorageError, match="cannot write here"):
        write_atomic(Path("/proc/no-such"), "text")
    with pytest.raises(StorageError, match="cannot write here"), atomic_folder(Path("/proc/none")):
        pass
