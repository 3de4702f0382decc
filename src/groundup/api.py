"""The Python side of the command line: `run` a project, `load_model`, `load_tokenizer`.

A path may be anything groundup wrote (`groundup.find`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundup.artifacts import MANIFEST, Store, require_whole
from groundup.errors import InputError
from groundup.find import ARTIFACTS, RUNS, is_exported, is_tokenizer, modified, newest_checkpoint
from groundup.find import find_model as find_model
from groundup.find import find_tokenizer as find_tokenizer
from groundup.find import is_checkpoint as is_checkpoint
from groundup.progress import say

if TYPE_CHECKING:
    from groundup.model.transformer import Transformer
    from groundup.project import Project
    from groundup.stages import RunResult
    from groundup.tokenizer.load import Tokenizer


def run(project: Project, until: str | None = None) -> RunResult:
    """Run every stage of ``project`` that is not done yet, up to the stage ``until``."""
    from groundup.stages import run_project

    return run_project(project, until)


def load_model(path: Path | str) -> Transformer:
    """Open a model: ``model(input_ids: [B, T] int64)`` gives logits ``[B, T, V]``, on the CPU.

    Args:
        path: an exported model, an artifact, a checkpoint, a run or a project.

    Raises:
        InputError: there is no model at ``path``.
        CorruptError: its files are damaged.
    """
    from groundup.model.convert import load_exported
    from groundup.model.quantised import is_quantised_folder, load_quantised
    from groundup.train.checkpoint import load_model_weights

    folder = find_model(Path(path))
    if is_checkpoint(folder):
        return load_model_weights(folder)  # which checks its hashes
    for artifact in (folder, folder.parent):  # a model may lie one level down
        if (artifact / MANIFEST).is_file():
            require_whole(artifact)
            break
    return (load_quantised if is_quantised_folder(folder) else load_exported)(folder).eval()


def load_tokenizer(path: Path | str) -> Tokenizer:
    """Open the tokenizer at ``path``, or the one that the model at ``path`` was trained with.

    Raises:
        InputError: there is none.
    """
    from groundup.tokenizer.load import load_tokenizer as load

    path = Path(path)
    if is_tokenizer(path):
        return load(path)
    model = find_model(path)
    found = find_tokenizer(model)
    if found is None and is_exported(model) and not any(model.glob("*.tiktoken")):
        raise InputError(
            "this model has no tokenizer: tokenizer.json is missing",
            where=str(model),
            fix="copy the model's own tokenizer.json there; the ids of any other are not its own",
        )
    return load(found or path)


def special_ids(model: Path) -> dict[str, Any]:
    """What config.json of an exported model says of special tokens, or would of a checkpoint.

    Raises:
        InputError: its files are no JSON objects, or the checkpoint's tokenizer is another.
    """
    from groundup.model.special import read_special
    from groundup.tokenizer.load import load_tokenizer as load
    from groundup.train.special_ids import special_ids_of_checkpoint

    if not is_checkpoint(model):
        return read_special(model)
    tokenizer = find_tokenizer(model)
    return special_ids_of_checkpoint(model, load(tokenizer) if tokenizer is not None else None)


def find_project_model(project: Project) -> Path:
    """The folder of the model that a project file leads to.

    Best is the export of its finished run, then that run's last checkpoint. Where neither is there
    it is the newest model of the project's name, and standard error says which.

    Raises:
        InputError: there is no model of that name.
    """
    from groundup.stages import finished_training

    name, trained = project.project.name, finished_training(project)
    exports = [
        artifact
        for artifact in Store(project.folder / ARTIFACTS).all()
        if artifact.kind == "export" and artifact.path.name.rpartition("-")[0] == name
    ]
    if trained is not None:
        for artifact in reversed(exports):
            if artifact.manifest["inputs"].get("pretrain") == trained.content_hash:
                return artifact.path
        return find_model(trained.path)
    runs = sorted((project.folder / RUNS).glob("*/run.json"), key=modified, reverse=True)
    runs = [run for run in runs if run.parent.name.rpartition("-")[0] == name]
    newest = [artifact.path for artifact in reversed(exports)]
    newest += [folder for run in runs for folder in newest_checkpoint(run.parent)]
    for folder in newest:
        say(f"no finished model of exactly this project file; using the newest, {folder}")
        return folder
    raise InputError(
        f"there is no model here of the project {name!r}",
        where=str(project.folder),
        fix=f"`groundup run {project.folder}` trains one; or name another file with --config, "
        "or a model with --model",
    )
