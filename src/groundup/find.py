"""Which folder a path stands for: that of a model, a checkpoint or a tokenizer.

A path may be anything groundup wrote: an exported model, an artifact, a checkpoint, a run or a
project. A project stands for its latest finished export, and before there is one for the newest
whole checkpoint of its latest run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from groundup.artifacts import MANIFEST, Store
from groundup.errors import InputError
from groundup.files import hash_file, read_json

ARTIFACTS, RUNS = "artifacts", "runs"  # folders of a project


def find_model(path: Path) -> Path:
    """The folder of an exported model or checkpoint that ``path`` stands for.

    Raises:
        InputError: there is none.
    """
    if not path.exists():
        raise InputError("there is no such folder", where=str(path))
    for folder in _candidates(path):
        if is_exported(folder) or is_checkpoint(folder):
            return folder
    raise InputError(
        "there is no model here",
        where=str(path),
        fix=f"`groundup run {path}` trains one; or name an exported model, a run or a checkpoint",
    )


def find_tokenizer(model: Path) -> Path | None:
    """The folder of the tokenizer that the exported model or checkpoint ``model`` was trained with.

    None where it has none, as models for others may.
    """
    return _with_tokenizer(model) or _tokenizer_of_checkpoint(model)


def _candidates(path: Path) -> Iterator[Path]:
    """Folders that may hold the model of ``path``, best first."""
    yield path
    if (path / MANIFEST).is_file():  # an artifact may keep its model one level down
        yield from sorted(child for child in path.iterdir() if child.is_dir())
    if (path / "checkpoints").is_dir():
        yield from newest_checkpoint(path)
    if (path / ARTIFACTS).is_dir() or (path / RUNS).is_dir():
        latest = Store(path / ARTIFACTS).latest("export")
        if latest is not None:
            yield from _candidates(latest.path)
        for run_folder in sorted((path / RUNS).glob("*/run.json"), key=modified, reverse=True):
            yield from newest_checkpoint(run_folder.parent)


def newest_checkpoint(run_folder: Path) -> Iterator[Path]:
    """The newest whole checkpoint of a run, or nothing."""
    from groundup.track.run import newest_good_checkpoint

    newest = newest_good_checkpoint(run_folder / "checkpoints")
    if newest is not None:
        yield newest


def modified(path: Path) -> int:
    """When a file was last written, ns."""
    return path.stat().st_mtime_ns


def is_exported(folder: Path) -> bool:
    """Whether ``folder`` holds a model in the form of `groundup export` or of ``transformers``.

    One in pickles counts too: `load_exported` says why it is not opened.
    """
    return (folder / "config.json").is_file() and any(
        path.suffix in (".safetensors", ".bin", ".pt", ".pth") for path in folder.iterdir()
    )


def is_checkpoint(folder: Path) -> bool:
    """Whether ``folder`` is one checkpoint of a run."""
    return (folder / "state.json").is_file() and any(folder.glob("model-*.safetensors"))


def is_tokenizer(folder: Path) -> bool:
    """Whether ``folder`` holds a tokenizer."""
    return (folder / "tokenizer.json").is_file()


def _with_tokenizer(folder: Path) -> Path | None:
    return folder if is_tokenizer(folder) else None


def _tokenizer_of_checkpoint(checkpoint: Path) -> Path | None:
    """The project's tokenizer whose hash stands in the checkpoint's fingerprint."""
    state = checkpoint / "state.json"
    if not state.is_file():
        return None
    fingerprint = str(read_json(state).get("fingerprint"))
    for folder in checkpoint.resolve().parents[:4]:  # <project>/runs/<run>/checkpoints/<step>
        for artifact in Store(folder / ARTIFACTS).all() if (folder / ARTIFACTS).is_dir() else ():
            tokenizer = artifact.path / "tokenizer.json"
            if artifact.kind == "tokenizer" and hash_file(tokenizer) in fingerprint:
                return artifact.path
    return None
