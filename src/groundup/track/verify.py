"""Whether everything under a folder is still what was written: manifests, files, tensors, runs.

Only our own places are looked at: in a project ``artifacts/<kind>/<name>``, ``runs/<run>`` and its
``checkpoints/step-*``. What else lies in the project folder is the user's, whatever its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from groundup.artifacts import MANIFEST, check_file, is_sealed, read_artifact
from groundup.errors import GroundupError
from groundup.files import LOCK, TEMPORARY, lock_holder, read_json
from groundup.progress import say
from groundup.track.run import METRICS, checkpoints, loss_chain


def verify(path: Path) -> tuple[int, list[str]]:
    """Check a project, a run, an artifact or a checkpoint against its hashes.

    Returns:
        how many files and records were checked, and one line per bad one.
    """
    checked, bad = 0, []
    for project in (path.resolve(), *path.resolve().parents[:4]):  # of a checkpoint: four up
        holder = lock_holder(project / LOCK)
        if holder is not None:
            say(f"a run is at work in {project} ({holder}): what it writes now may look unfinished")
    for folder in folders_under(path):
        check = check_run if is_run(folder) else check_folder
        n_checked, problems = check(folder)
        if not folder.exists():
            continue  # a run at work dropped an old checkpoint meanwhile
        checked += n_checked
        bad.extend(problems)
    return checked, bad


def folders_under(path: Path) -> Iterator[Path]:
    """The folders that must have a manifest or a run's record."""
    artifacts, runs = path / "artifacts", path / "runs"
    if artifacts.is_dir() or runs.is_dir():
        for folder in sorted([*artifacts.glob("*/*"), *runs.glob("*")]):
            if folder.is_dir() and TEMPORARY not in str(folder.relative_to(path)):
                yield folder
                if is_run(folder):
                    yield from checkpoints(folder / "checkpoints")
    elif is_run(path):
        yield path
        yield from checkpoints(path / "checkpoints")
    elif (path / MANIFEST).is_file() or is_ours(path.resolve()):
        yield path


def is_run(folder: Path) -> bool:
    """Whether ``folder`` is a run, with or without its record."""
    where = folder.resolve()
    return (folder / "checkpoints").is_dir() or (
        where.parent.name == "runs" or (folder / "run.json").is_file()
    )


def is_ours(where: Path) -> bool:
    """Whether an artifact or a checkpoint belongs at this place, so that it needs a manifest."""
    return where.parent.name == "checkpoints" or where.parent.parent.name == "artifacts"


def check_folder(folder: Path) -> tuple[int, list[str]]:
    """A manifest and every file in it."""
    try:
        files = read_artifact(folder).manifest["files"]
    except GroundupError as error:
        return 1, [f"{folder / MANIFEST}: {error.message}"]
    bad = [
        f"{folder / name}: {why}"
        for name in files
        for why in check_file(folder / name, files[name])
    ]
    return 1 + len(files), bad


def check_run(folder: Path) -> tuple[int, list[str]]:
    """A run's record and, once it is finished, the losses that its chain vouches for."""
    path = folder / "run.json"
    if not path.exists() and all(
        inside.name.startswith(TEMPORARY) or inside.name == LOCK for inside in folder.iterdir()
    ):
        return 0, []  # killed before its first line
    try:
        record = read_json(path)
    except GroundupError as error:
        return 1, [f"{path}: {error.message}"]
    if not is_sealed(record):
        return 1, [f"{path}: its own hash does not match"]
    if record.get("status") != "finished" or "loss_chain" not in record:
        return 1, []
    metrics = folder / METRICS
    if record.get("lost_lines"):
        say(f"{path}: lines of its logs were lost on a full disk, as it says: not checked")
        return 1, []
    if loss_chain(metrics) == record["loss_chain"]:
        return 2, []
    return 2, [f"{metrics}: its losses are not those of the run (run.json: loss_chain)"]
