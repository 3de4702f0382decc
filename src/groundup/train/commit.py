"""One checkpoint on the disk, whole or not at all, written by every rank and named by the first.

1. The first rank makes ``.groundup-tmp-step-<step>``, with room for everything (`begin`).
2. Each rank writes its files there: fsync, read back from the disk, compared. The hashes of what it
   wrote go into ``part-<rank>.json``.
3. The first waits for all parts, puts them together in ``manifest.json``, fsyncs the folder,
   renames it and fsyncs its parent: this rename is the moment at which there is a new checkpoint.
4. Only then are superseded ones removed. The others wait for the rename, so that a checkpoint is
   good on every rank or on none.

The ranks meet on the shared disk, not in collectives: this runs beside training, in a thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from groundup.artifacts import MANIFEST, check_file, manifest_text, read_artifact
from groundup.errors import CorruptError, GroundupError, StorageError
from groundup.files import TEMPORARY, exchange, fsync_folder, read_json, storage_errors
from groundup.progress import say
from groundup.train import faults
from groundup.train.distributed import Ranks, barrier
from groundup.train.retention import Retention, remove, superseded
from groundup.train.snapshot import Image, Snapshot

CHECKPOINT_VERSION = 2  # 1: one process, generators in state.json
SILENT_SECONDS = 600.0  # a rank that has not written its part for so long is given up
POLL_SECONDS = 0.02
CHUNK_BYTES = 2**26  # of one write, and of what is read back at a time


def begin(path: Path, snapshot: Snapshot, ranks: Ranks) -> Path:
    """Make the temporary folder of the checkpoint ``path``; every rank calls it, together.

    Raises:
        StorageError: the disk has no room for it, or cannot be written.
    """
    temporary = path.parent / f"{TEMPORARY}{path.name}"
    try:
        if ranks.is_first:
            with storage_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.rmtree(temporary, ignore_errors=True)
                require_room(path.parent, snapshot.n_bytes)
                temporary.mkdir()
    finally:
        barrier(ranks)
    return temporary


def require_room(folder: Path, n_bytes: int) -> None:
    """Refuse to begin what cannot end.

    Raises:
        StorageError: names the bytes needed and free.
    """
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise StorageError(
            f"the disk is full: this checkpoint needs {n_bytes:,} bytes, {free:,} are free",
            where=str(folder),
            fix="free some space and give the same command again: older checkpoints were kept",
        )


def commit(path: Path, temporary: Path, snapshot: Snapshot, keep: Retention, ranks: Ranks) -> None:
    """Write this rank's part and, once all have, bring the checkpoint into being.

    Raises:
        StorageError: the disk is full or cannot be written, here or at another rank.
        CorruptError: what the disk gives back is not what was written.
    """
    if not ranks.is_first:
        write_beside_the_first(path, temporary, snapshot, ranks)
        return
    try:
        with disk_errors(path):
            files = {**write_part(temporary, snapshot), **parts_of_others(temporary, ranks)}
            content = {
                "kind": "checkpoint",
                "name": path.name,
                "checkpoint_version": CHECKPOINT_VERSION,
                "step": snapshot.step,
                "evaluation": snapshot.evaluation,
            }
            text = manifest_text(content, dict(sorted(files.items())))
            write_file(temporary / MANIFEST, text.encode())
            fsync_folder(temporary)
            put_in_place(temporary, path)
    except BaseException:
        give_up(temporary)
        raise
    for old in superseded(path.parent, path, keep):
        try:
            remove(old)
        except OSError as error:  # the new one is good all the same
            say(f"the old checkpoint {old.name} could not be removed: {error.strerror}")


def write_beside_the_first(path: Path, temporary: Path, snapshot: Snapshot, ranks: Ranks) -> None:
    """The part of every rank but the first."""
    part = temporary / part_name(ranks.rank)
    if not temporary.is_dir():
        raise StorageError(
            "the first rank began no checkpoint here",
            where=str(path),
            fix="see its message; all machines must share this folder",
        )
    try:
        with disk_errors(path):
            said: dict[str, Any] = {"files": write_part(temporary, snapshot)}
    except GroundupError as error:
        with contextlib.suppress(OSError):
            leave(part, {"error": error.message})
        raise
    with disk_errors(path):
        leave(part, said)
        wait_for_the_first(path, temporary, said["files"])


def write_part(temporary: Path, snapshot: Snapshot) -> dict[str, Any]:
    """Write this rank's files.

    Returns:
        name → entry of the manifest.
    """
    files = {name: write_image(temporary / name, image) for name, image in snapshot.images.items()}
    for name, content in snapshot.documents.items():
        files[name] = write_file(temporary / name, content)
    faults.point("checkpoint")
    return files


def write_image(path: Path, image: Image) -> dict[str, Any]:
    """Write a file of tensors from where it lies in memory."""
    data = image.data.numpy().data
    entry = write_file(path, image.header, data)
    entry["header_sha256"] = hashlib.sha256(image.header).hexdigest()
    entry["tensors"] = {
        name: hashlib.sha256(data[begin:end]).hexdigest()
        for name, (begin, end) in image.places.items()
    }
    if not is_on_disk(path, len(image.header), image.data):
        raise CorruptError(
            "the disk does not give back what was written: "
            + "; ".join(check_file(path, entry) or [path.name]),
            where=str(path),
            fix="test this machine's disk and memory; older checkpoints were kept",
        )
    return entry


def write_file(path: Path, *parts: bytes | memoryview) -> dict[str, Any]:
    """Write a new file so that a power loss does not change it; its size and hash."""
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        for part in parts:
            rest = memoryview(part)
            while rest:
                n_written = os.write(descriptor, rest[:CHUNK_BYTES])
                digest.update(rest[:n_written])
                rest = rest[n_written:]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return {"bytes": sum(len(part) for part in parts), "sha256": digest.hexdigest()}


def is_on_disk(path: Path, start: int, data: Tensor) -> bool:
    """Whether the bytes of the file from ``start`` are ``data``: those of the disk, not a cache's.

    Where the system has no way to drop its cache, or the disk is memory, the cache is compared.
    """
    buffer = bytearray(min(CHUNK_BYTES, len(data)))
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        place = 0
        while place < len(data):
            n_read = os.preadv(descriptor, [buffer], start + place)
            read = torch.frombuffer(buffer, dtype=torch.uint8)[: min(n_read, len(data) - place)]
            if n_read == 0 or not torch.equal(read, data[place : place + len(read)]):
                return False
            place += len(read)
    finally:
        os.close(descriptor)
    return True


def parts_of_others(temporary: Path, ranks: Ranks) -> dict[str, Any]:
    """Wait for the other ranks' parts; the entries of their files.

    Raises:
        StorageError: a rank failed, or is not heard of; it is named.
    """
    files: dict[str, Any] = {}
    waiting = {part_name(rank): rank for rank in range(1, ranks.size)}
    deadline = time.monotonic() + SILENT_SECONDS
    while waiting:
        for name in waiting.keys() & set(os.listdir(temporary)):
            said = read_json(temporary / name)
            if "error" in said:
                raise StorageError(
                    f"rank {waiting[name]} could not write its part: {said['error']}",
                    where=str(temporary.parent),
                    fix="older checkpoints were kept; mend that machine's disk",
                )
            files.update(said["files"])
            os.unlink(temporary / name)
            del waiting[name]
        if waiting and time.monotonic() > deadline:
            raise StorageError(
                "no part of the checkpoint came from rank "
                f"{', '.join(map(str, sorted(waiting.values())))} within {SILENT_SECONDS:g} s",
                where=str(temporary.parent),
                fix="older checkpoints were kept; see whether those processes still run",
            )
        time.sleep(POLL_SECONDS if waiting else 0)
    return files


def wait_for_the_first(path: Path, temporary: Path, files: Mapping[str, Any]) -> None:
    """Wait until the first rank has renamed the folder.

    Raises:
        StorageError: it gave the checkpoint up, or is not heard of.
    """
    deadline = time.monotonic() + 2 * SILENT_SECONDS  # it waits for others itself
    while temporary.is_dir():
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_SECONDS)
    else:
        with contextlib.suppress(CorruptError):
            written = read_artifact(path).manifest["files"]
            if all(written.get(name) == entry for name, entry in files.items()):
                return
    raise StorageError(
        "the first rank gave this checkpoint up",
        where=str(path),
        fix="see its message; older checkpoints were kept",
    )


def part_name(rank: int) -> str:
    """The file in which a rank says what it wrote."""
    return f"part-{rank:05d}.json"


def leave(part: Path, said: Mapping[str, Any]) -> None:
    """Write a rank's part so that nobody reads half of it."""
    unfinished = part.with_suffix(".unfinished")
    write_file(unfinished, json.dumps(said).encode())
    unfinished.rename(part)


def put_in_place(temporary: Path, path: Path) -> None:
    """Give the finished folder its name; an older folder of that name is there until then."""
    if path.exists():
        exchange(temporary, path)
        fsync_folder(path.parent)
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        temporary.rename(path)
        fsync_folder(path.parent)


def give_up(temporary: Path) -> None:
    """Remove an unfinished folder; renamed first, so that no rank can begin a file in it."""
    gone = temporary.with_name(f"{temporary.name}-failed")
    with contextlib.suppress(OSError):
        temporary.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Every refusal of the operating system as a StorageError."""
    try:
        with storage_errors(path):
            yield
    except OSError as error:
        raise StorageError(
            f"the checkpoint could not be written: {error.strerror or error}",
            where=str(path),
            fix="see the disk's own messages; older checkpoints were kept",
        ) from error
