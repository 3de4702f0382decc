"""Everything that lasts is an artifact: a folder, and a manifest that says where it came from.

``<root>/<kind>/<name>-<key12>/manifest.json`` beside the files. The key is a hash of the kind, the
stage's own version, its resolved config and the *content* hashes of its inputs: same inputs and
same config, nothing to do. A folder appears under its name only when it is whole
(`files.atomic_folder`). Checkpoints and exported models use the same manifest, so one
`verify` (track/verify.py) reads them all.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import groundup
from groundup.errors import CorruptError, GroundupError
from groundup.files import (
    TEMPORARY,
    atomic_folder,
    hash_file,
    hash_json,
    read_json,
    remove_temporaries,
    storage_errors,
)
from groundup.hardware import available_cores, processor_name, visible_gpus
from groundup.progress import say
from groundup.units import format_bytes

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
CHECKPOINT = re.compile(r"step-\d+")  # a folder whose name says which of a run's it is
SAID_FROM_BYTES = 10**9  # about a second of hashing


@dataclass(frozen=True)
class Artifact:
    """A finished folder and what its manifest says."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """What it is: ``corpus``, ``tokenizer``, ``tokens`` and so on."""
        return str(self.manifest["kind"])

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the names and hashes of the files: equal content, equal hash."""
        return hash_json({name: entry["sha256"] for name, entry in self.manifest["files"].items()})

    def json(self, name: str) -> Any:
        """One of its files, read as JSON."""
        return read_json(self.path / name)


class Store:
    """The artifacts of one project."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def build(
        self,
        kind: str,
        name: str,
        *,
        version: int,
        config: Mapping[str, Any],
        inputs: Mapping[str, str],
        make: Callable[[Path], Mapping[str, Any]],
    ) -> tuple[Artifact, bool]:
        """Return the finished artifact and whether it was made just now.

        Args:
            version: of the stage; a change of what it writes raises it.
            config: plain values, resolved; part of the key.
            inputs: name → content hash of what it is made from; part of the key.
            make: writes files into the folder it is given and returns the manifest's ``measured``.

        Raises:
            StorageError: the disk is full or read-only; nothing half-made is left.
        """
        path = self.path(kind, name, version=version, config=config, inputs=inputs)
        found = self.read(path)
        if found is not None:
            return found, False
        remove_temporaries(path.parent)
        started = now()
        with atomic_folder(path) as folder:
            measured = make(folder)
            write_manifest(
                folder,
                {
                    "kind": kind,
                    "name": path.name,
                    "stage_version": version,
                    "config": config,
                    "inputs": dict(inputs),
                    "environment": environment(),
                    "started_at": started,
                    "finished_at": now(),
                    "measured": dict(measured),
                },
            )
        return read_artifact(path), True

    def path(
        self,
        kind: str,
        name: str,
        *,
        version: int,
        config: Mapping[str, Any],
        inputs: Mapping[str, str],
    ) -> Path:
        """Where that artifact is, or would be."""
        key = hash_json(
            {"kind": kind, "version": version, "config": config, "inputs": dict(inputs)}
        )
        return self.root / kind / f"{name}-{key[:12]}"

    def all(self) -> Iterator[Artifact]:
        """Every readable artifact, oldest first."""
        found = [self.read(manifest.parent) for manifest in self.root.glob(f"*/*/{MANIFEST}")]
        yield from sorted(
            (artifact for artifact in found if artifact is not None),
            key=_finished,
        )

    def latest(self, kind: str) -> Artifact | None:
        """The last finished artifact of a kind, by its manifest (never by a link)."""
        return max(
            (artifact for artifact in self.all() if artifact.kind == kind),
            key=_finished,
            default=None,
        )

    def read(self, path: Path) -> Artifact | None:
        """The artifact at ``path`` if it is there and whole in size; a damaged one is named."""
        if not path.is_dir() or path.name.startswith(TEMPORARY):
            return None
        try:
            artifact = read_artifact(path)
            for name, entry in artifact.manifest["files"].items():
                if (path / name).stat().st_size != entry["bytes"]:
                    raise CorruptError(f"{name} is not {entry['bytes']} bytes long")
        except (GroundupError, OSError, KeyError) as error:
            say(f"ignoring a damaged artifact: {path} ({error})")
            return None
        return artifact


def _finished(artifact: Artifact) -> tuple[str, int]:
    """When: to the second, and then as the disk has it."""
    return str(artifact.manifest["finished_at"]), (artifact.path / MANIFEST).stat().st_mtime_ns


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Write ``manifest.json``, last: size and SHA-256 of every file (and tensor) in ``folder``."""
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        entry: dict[str, Any] = {"bytes": path.stat().st_size, "sha256": hash_file(path)}
        if path.suffix == ".safetensors":
            entry["tensors"] = dict(hash_tensors(path))
        files[path.relative_to(folder).as_posix()] = entry
    with storage_errors(folder):
        (folder / MANIFEST).write_text(manifest_text(content, files), encoding="utf-8")


def manifest_text(content: Mapping[str, Any], files: Mapping[str, Any]) -> str:
    """A manifest, sealed; ``files`` is name → ``bytes``, ``sha256`` and what else is known."""
    manifest = {
        "format_version": FORMAT_VERSION,
        "code_version": groundup.__version__,
        **content,
        "files": files,
    }
    return json.dumps(seal(manifest), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_artifact(path: Path) -> Artifact:
    """Read a folder's manifest and check the manifest's own hash.

    Raises:
        CorruptError: the manifest is missing, damaged, of a later format or of another step.
    """
    try:
        manifest = read_json(path / MANIFEST)
    except GroundupError as error:
        raise CorruptError(f"no readable manifest: {error.message}", where=str(path)) from error
    if not isinstance(manifest, dict) or not is_sealed(manifest):
        raise CorruptError("the manifest is not the one that was written", where=str(path))
    if manifest.get("format_version") != FORMAT_VERSION:
        raise CorruptError(
            f"format version {manifest.get('format_version')!r}; this code reads {FORMAT_VERSION}",
            where=str(path),
            fix="use the version of groundup that wrote it (manifest: code_version)",
        )
    name = str(manifest.get("name"))
    if CHECKPOINT.fullmatch(path.name) and CHECKPOINT.fullmatch(name) and path.name != name:
        raise CorruptError(f"these are the files of {name}", where=str(path))
    return Artifact(path, manifest)


def require_whole(folder: Path) -> None:
    """Refuse a folder whose files are not the ones its manifest was written for.

    Reads every byte: for places where something long or lasting is about to be made from it.

    Raises:
        CorruptError: the manifest or a file is damaged, each named.
    """
    n_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if n_bytes > SAID_FROM_BYTES:
        say(f"checking {folder.name} ({format_bytes(n_bytes)}) before it is used")
    problems = damage(folder)
    if problems:
        raise CorruptError(
            f"not as it was written: {'; '.join(problems)}",
            where=str(folder),
            fix="remove this folder; `groundup run` makes it again (or copy it again)",
        )


def damage(folder: Path) -> list[str]:
    """What is wrong with a folder that has a manifest, file and tensor named; empty if whole."""
    try:
        files = read_artifact(folder).manifest["files"]
    except GroundupError as error:
        return [error.message]
    return [
        f"{name}: {why}"
        for name, entry in files.items()
        for why in check_file(folder / name, entry)
    ]


def check_file(path: Path, entry: Mapping[str, Any]) -> list[str]:
    """What is wrong with one file of a manifest; the damaged tensors by name."""
    if not path.is_file():
        return ["missing"]
    if path.stat().st_size != entry["bytes"]:
        return [f"{path.stat().st_size} bytes instead of {entry['bytes']}"]
    if hash_file(path) == entry["sha256"]:
        return []
    try:
        found = dict(hash_tensors(path)) if "tensors" in entry else {}
    except (ValueError, KeyError, struct.error):
        return ["SHA-256 differs: the header is damaged"]
    damaged = [
        name for name, digest in entry.get("tensors", {}).items() if found.get(name) != digest
    ]
    return [f"SHA-256 differs: tensor {name}" for name in damaged] or ["SHA-256 differs"]


def hash_tensors(path: Path) -> Iterator[tuple[str, str]]:
    """(name, SHA-256 of the bytes) of each tensor in a safetensors file, read from its header."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > path.stat().st_size:
            raise ValueError("the header is longer than the file")
        header = json.loads(file.read(length))
        for name, tensor in header.items():
            if name != "__metadata__":
                begin, end = tensor["data_offsets"]
                file.seek(8 + length + begin)
                yield name, hashlib.sha256(file.read(end - begin)).hexdigest()


def seal(record: Mapping[str, Any]) -> dict[str, Any]:
    """``record`` with the hash of itself under ``sha256``."""
    body = {key: value for key, value in record.items() if key != "sha256"}
    return {**body, "sha256": hash_json(body)}


def is_sealed(record: Mapping[str, Any]) -> bool:
    """Whether ``record`` still has the hash it was sealed with."""
    try:
        return bool(seal(record)["sha256"] == record.get("sha256"))
    except (AttributeError, ValueError):  # not a mapping, or no JSON that we write (NaN)
        return False


def environment() -> dict[str, Any]:
    """What this process runs on: enough to explain a difference in numbers later."""
    packages = {}
    for package in ("torch", "numpy", "tokenizers", "safetensors", "pyarrow", "pydantic"):
        packages[package] = importlib.metadata.version(package)
    return {
        "groundup": groundup.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor_name(),
        "cores": available_cores(),
        "gpus": visible_gpus(),
        "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "packages": packages,
    }


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
