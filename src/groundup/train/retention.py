"""Which checkpoints stay: the last ones, every so many steps, the best. The others are removed."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from groundup.artifacts import read_artifact
from groundup.errors import GroundupError
from groundup.files import TEMPORARY, fsync_folder, read_json
from groundup.track.run import checkpoints, step_of


@dataclass(frozen=True)
class Retention:
    """What is kept besides the newest checkpoint, which always is.

    Attributes:
        keep_last: so many of the regular ones, the newest of them. One made when the run was asked
            to stop is none: it stays only while it is the newest.
        keep_every: those at multiples of so many steps, for good.
        keep_best: the one with the lowest validation loss at its own step.
    """

    keep_last: int
    keep_every: int | None = None
    keep_best: bool = False


def superseded(folder: Path, newest: Path, keep: Retention) -> list[Path]:
    """The checkpoints before ``newest`` that need not stay, oldest first.

    Later ones are not counted: they can only be damaged ones that were passed over, or those of a
    course that was abandoned, and are overwritten in their turn.
    """
    before = {path: step_of(path) for path in checkpoints(folder) if path <= newest}
    regular = [path for path in before if is_regular(path)]
    kept = {newest, *regular[-keep.keep_last :]}
    if keep.keep_every is not None:
        kept |= {path for path, step in before.items() if step % keep.keep_every == 0}
    if keep.keep_best:
        best = min(before, key=evaluation, default=newest)
        kept |= {best} if evaluation(best) < math.inf else set()
    return [path for path in before if path not in kept]


def is_regular(path: Path) -> bool:
    """Whether a checkpoint is one that the uninterrupted run has too, by its own word.

    By its step it could not be told once `checkpoint_every` has changed.
    """
    try:
        return bool(read_json(path / "state.json")["is_regular"])
    except (GroundupError, KeyError, TypeError):
        return False


def evaluation(path: Path) -> float:
    """Validation loss in a checkpoint's manifest; infinite where none was measured."""
    try:
        loss = read_artifact(path).manifest.get("evaluation")
    except GroundupError:
        return math.inf
    return math.inf if loss is None else float(loss)


def remove(path: Path) -> None:
    """Remove a checkpoint; one that is half removed is never seen under its name."""
    gone = path.parent / f"{TEMPORARY}{path.name}-old"
    shutil.rmtree(gone, ignore_errors=True)
    path.rename(gone)
    fsync_folder(path.parent)  # a power loss must not bring the name back without the files
    shutil.rmtree(gone)
