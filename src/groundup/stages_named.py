"""What the section ``pretrain`` names elsewhere on the disk: a teacher, synonyms, a first model.

Paths begin in the project's folder. A run is named after the content of such files, so that a
project can be moved, and a file that was changed leads to another run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundup.errors import ConfigError, InputError
from groundup.files import hash_file, hash_json, read_json
from groundup.find import find_model, find_tokenizer
from groundup.train.config import WHO_IS_TOLD, bits_of

if TYPE_CHECKING:
    from groundup.architecture.config import ModelConfig
    from groundup.project import Project
    from groundup.train.config import PretrainConfig

NO_PART_OF_THE_SHAPE = ("family", "context_length", "init", "init_std", "mup_base_width")


def pretrain_section(project: Project) -> PretrainConfig:
    """The section ``pretrain``, what it names on the disk looked for from the project's folder.

    Raises:
        InputError: there is no such folder or model, or no such table of synonyms.
    """
    section = project.pretrain
    if section.augment.synonyms is not None:
        table = (project.folder / section.augment.synonyms).resolve()
        if not table.is_file():
            raise InputError(
                "there is no such file",
                where=f"pretrain.augment.synonyms: {table}",
                fix="name a text file: a word and, each behind a tab, what may stand in its place",
            )
        augment = section.augment.model_copy(update={"synonyms": str(table)})
        section = section.model_copy(update={"augment": augment})
    if section.objective.teacher is not None:
        folder = (project.folder / section.objective.teacher).resolve()
        if not folder.is_dir():
            raise InputError(
                "there is no such folder",
                where=f"pretrain.objective.teacher: {folder}",
                fix="name an exported or imported model, or a checkpoint",
            )
        objective = section.objective.model_copy(update={"teacher": str(folder)})
        section = section.model_copy(update={"objective": objective})
    if section.init_from is not None:
        path = (project.folder / section.init_from).resolve()
        try:
            source = find_model(path)
        except InputError as error:
            raise InputError(
                error.message,
                where=f"pretrain.init_from: {path}",
                fix="name a checkpoint, a run, a project, or a folder as transformers writes it",
            ) from error
        section = section.model_copy(update={"init_from": str(source)})
    return section


def named_now(settings: Mapping[str, Any], section: PretrainConfig) -> dict[str, Any]:
    """``settings`` as stored, with files where they are now and alerts to whom they go now."""
    objective, augment = dict(settings["objective"]), dict(settings["augment"])
    if objective.get("teacher") is not None:
        objective["teacher"] = section.objective.teacher
    if augment["synonyms"] is not None:
        augment["synonyms"] = section.augment.synonyms
    told = {name: getattr(section.guard, name) for name in WHO_IS_TOLD}
    return {
        **settings,
        "objective": objective,
        "augment": augment,
        "guard": {**settings["guard"], **told},
        "init_from": section.init_from if settings.get("init_from") is not None else None,
    }


def of_content(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a run is named after: what lies elsewhere by its content, not its place."""
    bits = bits_of(settings)
    table, teacher = bits["augment"]["synonyms"], bits["objective"].get("teacher")
    if table is not None:
        named = hash_file(Path(table)) if Path(table).is_file() else "missing"
        bits = {**bits, "augment": {**bits["augment"], "synonyms": named}}
    if teacher is not None:
        bits = {**bits, "objective": {**bits["objective"], "teacher": hash_weights(Path(teacher))}}
    if bits.get("init_from") is not None:
        bits = {**bits, "init_from": hash_weights(Path(bits["init_from"]))}
    return bits


def hash_weights(folder: Path) -> str:
    """SHA-256 over the weights in a model's folder."""
    weights = sorted(folder.glob("*.safetensors"))
    return hash_json({file.name: hash_file(file) for file in weights})


def first_network(project: Project, folder: Path) -> ModelConfig:
    """The network of the model in ``folder``, which ``pretrain.init_from`` names.

    What the section ``model`` says must be true of it; what it leaves out is taken from it. Where
    places are counted (rotary, ALiBi, …) the context is the section's; where they are learned there
    are as many as there are.

    Raises:
        ConfigError: the section says something else; every such field is named.
        InputError: it is no model that we compute.
    """
    import dataclasses

    from groundup.architecture.families import build
    from groundup.train.initial import source_model

    section, network = project.model, source_model(folder).config
    problems = [
        f"{name} says how weights begin, and these are trained"
        for name in ("init", "mup_base_width")
        if getattr(section, name) is not None
    ]
    if section.model_fields_set - {"context_length", "init", "mup_base_width"}:
        try:
            written = build(
                section.family,
                vocab_size=network.vocab_size,
                n_layers=section.n_layers or network.n_layers,
                d_model=section.d_model or network.d_model,
                context_length=network.context_length,
                n_heads=section.n_heads or network.attention.n_heads,
                n_kv_heads=section.n_kv_heads or network.attention.n_kv_heads,
                d_ff=section.d_ff or network.feed_forward.d_ff,
                **section.variant,
            )
        except ConfigError as error:
            raise ConfigError(
                error.message, where="model", fix=f"leave out what {folder} has itself"
            ) from error
        problems += [
            f"{name} is {theirs} there, and the section makes it {ours}"
            for name, ours, theirs in differences(written, network)
        ]
    if network.positions.kind == "learned" and section.context_length != network.context_length:
        problems.append(
            f"context_length is {network.context_length} there, one learned place for each, and "
            f"the section has {section.context_length}"
        )
    if problems:
        raise ConfigError(
            "the section model does not fit the model that training begins with",
            where=f"pretrain.init_from: {folder}",
            problems=tuple(problems),
            fix="write these as they are there; what is left out is taken from it "
            "(but model.context_length)",
        )
    return dataclasses.replace(network, context_length=section.context_length)


def differences(ours: Any, theirs: Any, prefix: str = "") -> list[tuple[str, Any, Any]]:
    """(field, ours, theirs) of two networks where another function would be computed."""
    found = []
    for each in fields(ours):
        one, other = getattr(ours, each.name), getattr(theirs, each.name)
        if is_dataclass(one):
            found += differences(one, other, f"{prefix}{each.name}.")
        elif one != other and each.name not in NO_PART_OF_THE_SHAPE:
            found.append((f"{prefix}{each.name}", one, other))
    return found


def require_its_tokenizer(folder: Path, tokenizer: Path, n_embeddings: int) -> None:
    """Check that the project's tokenizer gives the ids that the model in ``folder`` knows.

    Raises:
        InputError: it gives others, or more than the model has embeddings for.
    """
    from groundup.tokenizer.load import load_tokenizer

    ours = load_tokenizer(tokenizer)
    own = find_tokenizer(folder)
    where = f"pretrain.init_from: {folder}"
    fix = f"write `taken_from: {own or folder}` in the section tokenizer"
    if own is not None and _cutting(own) != _cutting(tokenizer):
        raise InputError(
            "the project's tokenizer is not the one of the model that training begins with: its "
            "ids stand for other text",
            where=where,
            fix=fix,
        )
    if ours.vocab_size > n_embeddings:
        raise InputError(
            f"the project's tokenizer has {ours.vocab_size:,} ids, and the model that training "
            f"begins with has {n_embeddings:,} embeddings",
            where=where,
            fix=fix,
        )


def _cutting(folder: Path) -> dict[str, Any]:
    """All of a tokenizer.json that decides which ids a text has."""
    found = dict(read_json(folder / "tokenizer.json"))
    return {key: found[key] for key in found if key not in ("truncation", "padding")}
