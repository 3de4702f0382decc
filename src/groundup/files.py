"""Files that are whole or not there: atomic writes, hashes and the project lock.

The protocol of every write that matters: write under a temporary name in the same folder, fsync,
rename, fsync the folder. A process killed at any instruction leaves the old file or the new one.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from groundup.errors import InputError, LockedError, StorageError

TEMPORARY = ".groundup-tmp-"  # every unfinished file or folder of ours starts with this
LOCK = ".groundup.lock"  # in the project folder: whoever holds it may write there


@contextlib.contextmanager
def storage_errors(path: Path, *, reads: bool = False) -> Iterator[None]:
    """Turn the operating system's refusals to write ``path`` into a StorageError with a way out.

    A refusal that names another place passes through; so does, where the block also ``reads``
    files of other people, one that names none.
    """
    try:
        yield
    except Exception as error:
        number = os_error_number(error)
        if number in (errno.ENOSPC, errno.EDQUOT):
            try:
                free = f"; {shutil.disk_usage(nearest_folder(path)).free:,} bytes are free"
            except OSError:
                free = ""
            raise StorageError(
                f"the disk is full{free}",
                where=str(path),
                fix="free some space and give the same command again: finished work is kept",
            ) from error
        if number in (errno.ENOTDIR, errno.EEXIST) and is_about(error, path, reads):
            raise StorageError(
                "a file is in the way of a folder",
                where=str(getattr(error, "filename", None) or path),
                fix="name another folder, or remove the file",
            ) from error
        # A folder of the kernel's (/proc) says that a new file does not exist.
        codes = (
            (errno.EACCES, errno.EPERM)
            if path.parent.is_dir()
            else (errno.EACCES, errno.EPERM, errno.ENOENT)
        )
        new = Path(str(getattr(error, "filename", None) or "")).name.startswith(TEMPORARY)
        refused = (number in codes or (number == errno.ENOENT and new)) and is_about(
            error, path, reads
        )
        if refused or number == errno.EROFS:
            raise StorageError(
                "cannot write here (read-only or not allowed)",
                where=str(path),
                fix="make the folder writable, or copy the project to one that is",
            ) from error
        raise


def os_error_number(error: Exception) -> int | None:
    """The system's number; libraries in Rust (safetensors, tokenizers) have it in their text."""
    if isinstance(error, OSError):
        return error.errno
    said = re.search(r"\(os error (\d+)\)", str(error))
    return int(said[1]) if said else None


def is_about(error: Exception, path: Path, reads: bool) -> bool:
    """Whether the file that ``error`` names is ``path``, beside or below it, or a folder above."""
    named = getattr(error, "filename", None)
    if not isinstance(named, str | bytes | os.PathLike):
        return not reads
    found, folder = Path(os.path.abspath(os.fsdecode(named))), Path(os.path.abspath(path.parent))
    return found.is_relative_to(folder) or folder.is_relative_to(found)


def nearest_folder(path: Path) -> Path:
    """The closest ancestor of ``path`` that exists (its disk is the one to be asked)."""
    while not path.exists():
        path = path.parent
    return path


def fsync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_file(path: Path) -> None:
    """Make the content of ``path`` survive a power loss."""
    fsync_folder(path)  # the same call: a descriptor and an fsync


RENAME_EXCHANGE = 2  # linux/fs.h


def exchange(one: Path, other: Path) -> None:
    """Swap two names, of files or folders: at every instant both are there.

    Where the system or the disk cannot (NFS, macOS), ``other`` is not there for a moment.
    """
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        done = False
    else:
        here = -100  # AT_FDCWD
        done = renameat2(here, os.fsencode(one), here, os.fsencode(other), RENAME_EXCHANGE) == 0
    if not done:
        aside = one.with_name(f"{TEMPORARY}{other.name}-aside")
        os.rename(other, aside)
        os.rename(one, other)
        os.rename(aside, one)


def require_plain_target(path: Path) -> None:
    """Make sure, before work is done for it, that `write_atomic` can put a file at ``path``.

    The folder is made where it is missing. A rename would put a file in the place of a device, a
    pipe or a link too: only a plain file may be replaced.

    Raises:
        StorageError: the folder cannot be made or written, or something else has that name.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(prefix=TEMPORARY, dir=path.parent).close()
    try:
        mode = path.lstat().st_mode  # of a link itself: that is what a rename replaces
    except FileNotFoundError:
        return
    if stat.S_ISREG(mode):
        return
    what = "a folder" if stat.S_ISDIR(mode) else "a link, a device or a pipe"
    raise StorageError(f"this is {what}, not a plain file", where=str(path), fix="name a file")


def write_atomic(path: Path, content: bytes | str, *, mode: int = 0o644) -> None:
    """Write ``content`` so that ``path`` is the old file or the whole new one.

    Args:
        mode: who may read it; until it is whole, its owner alone.

    Raises:
        StorageError: the disk is full or the folder is not writable.
    """
    data = content.encode() if isinstance(content, str) else content
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, mode)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
        fsync_folder(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that becomes ``path`` when the block ends well.

    Files are fsynced before the rename. On an error the folder is removed and ``path`` stays.
    An existing ``path`` is replaced.

    Raises:
        StorageError: the disk is full or the folder is not writable.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=path.parent))
    try:
        with storage_errors(path, reads=True):
            yield temporary
        with storage_errors(path):
            temporary.chmod(0o755)
            for file in sorted(temporary.rglob("*")):
                fsync_folder(file) if file.is_dir() else fsync_file(file)
            fsync_folder(temporary)
            if path.exists():
                discarded = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=path.parent))
                os.replace(path, discarded / path.name)
                os.replace(temporary, path)
                shutil.rmtree(discarded, ignore_errors=True)
            else:
                os.replace(temporary, path)
            fsync_folder(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove_temporaries(folder: Path) -> None:
    """Clear what a killed process left unfinished in ``folder``. Call it with the lock held."""
    for leftover in folder.glob(f"{TEMPORARY}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError("file not found", where=str(path)) from error
    except IsADirectoryError as error:
        raise InputError("this is a folder, not a file", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"not valid JSON: {error}", where=str(path)) from error


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as readable JSON, atomically."""
    write_atomic(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def canonical_json(value: Any) -> bytes:
    """The one spelling of ``value`` that is hashed: sorted keys, no spaces, UTF-8."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def hash_json(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def lock_holder(path: Path) -> str | None:
    """Who holds the lock ``path`` now, or None: for those that only read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "unknown process"
    finally:
        os.close(descriptor)
    return None


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold ``path`` for this process; the kernel lets go when the process ends, however it ends.

    Raises:
        LockedError: another process holds it, named with its pid, host and start.
        StorageError: the folder is not writable.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            raise LockedError(
                f"another run is at work in this project ({holder or 'unknown process'})",
                where=str(path.parent),
                fix="wait for it to end, or stop it: the same command then goes on from there",
            ) from error
        started = datetime.now(UTC).isoformat(timespec="seconds")
        holder = f"pid {os.getpid()} on {socket.gethostname()} since {started}"
        with storage_errors(path.parent):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, holder.encode(), 0)
        yield
    finally:
        os.close(descriptor)
