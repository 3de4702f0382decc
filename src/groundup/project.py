"""The project file: one YAML file, every section checked at once, every value with its origin.

`load_project` reads ``groundup.yaml``, lays ``key=value`` overrides over it and checks all of it,
whichever command was given: a misspelt key in a section that is not used now is still an error.
Each package owns the model of its section (``config.py``); this file owns none of their fields.
Notable: everything that is wrong is said at once (`findings`), each with file, line and dotted key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, Field, model_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from groundup.architecture.families import build
from groundup.architecture.trained_for import CAUSAL, IN_TWO_PARTS, trained_for
from groundup.data.config import DataConfig
from groundup.decide.config import DecideConfig
from groundup.errors import ConfigError, StorageError
from groundup.evaluate.config import EvaluateConfig
from groundup.findings import check, shown
from groundup.model.config import ModelSection
from groundup.plan.config import PlanConfig
from groundup.recipes import RECIPES, Recipe, lay_under
from groundup.section import Section
from groundup.tokenizer.config import TokenizerConfig
from groundup.tokens.config import TokensConfig
from groundup.train.config import PretrainConfig
from groundup.train.noise.config import ObjectiveConfig
from groundup.yaml12 import MAX_BYTES, KeyPath, Yaml, dotted, read_yaml

FILE_NAME = "groundup.yaml"


LEAST_FOR_PAIRS = 16  # tokens of a context


class ProjectSection(Section):
    """What concerns every stage."""

    name: str = Field(default="project", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Name of the project; it begins the names of artifacts and runs. Letters, digits, ``._-``."""

    seed: int = Field(default=1337, ge=0, lt=2**63)
    """Seed of everything random: split, order of samples, initial weights, generation."""


class GenerateConfig(Section):
    """How text is drawn from the model, in ``groundup generate`` and in the samples of a run."""

    temperature: float = Field(default=0.8, ge=0, le=10)
    """Divides the logits; below 1 prefers likely tokens, 0 always takes the likeliest."""

    top_p: float = Field(default=0.95, gt=0, le=1)
    """Only the likeliest tokens that together have this probability are drawn from (nucleus)."""

    top_k: int = Field(default=0, ge=0)
    """Only so many of the likeliest tokens are drawn from; 0 is off."""

    min_p: float = Field(default=0.0, ge=0, le=1)
    """Only tokens at least this share as likely as the likeliest are drawn; 0 is off."""

    repetition_penalty: float = Field(default=1.1, ge=1, le=10)
    """Logits of tokens that were already seen are divided by it (CTRL, section 4.1); 1 is off."""

    repetition_window: int = Field(default=128, ge=1)
    """How many of the last tokens, prompt included, count as already seen."""

    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    """Taken off a logit for each time its token was written (OpenAI's definition)."""

    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    """Taken off a logit if its token was written at all (OpenAI's definition)."""

    max_new_tokens: int = Field(default=200, ge=1)
    """Where a completion ends when the model does not end it, in tokens."""


class ProjectFile(Section):
    """All that ``groundup.yaml`` may say. Every section and every value has a default."""

    project: ProjectSection = ProjectSection()
    decide: DecideConfig = DecideConfig()
    data: DataConfig = DataConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    tokens: TokensConfig = TokensConfig()
    plan: PlanConfig = PlanConfig()
    recipe: Recipe = "custom"
    """Sets keys of `model` and `pretrain` that are left out. fast: learns most from few tokens
    (docs/recipe.md); gpt2: GPT-2's network, trained as nanoGPT does; custom: sets nothing."""
    model: ModelSection = ModelSection()
    pretrain: PretrainConfig = PretrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    generate: GenerateConfig = GenerateConfig()

    @model_validator(mode="after")
    def _objective_fits_the_model(self) -> Self:
        model, objective = self.model, self.pretrain.objective
        try:
            sizes = {"vocab_size": 8, "n_layers": 2, "d_model": 64, "context_length": 8}
            network = build(model.family, **sizes, **model.variant)
            network = trained_for(network, objective.kind, objective.sentence != "none")
        except ConfigError as error:
            raise ValueError(
                f"{error.message}; {error.fix}" if error.fix else str(error)
            ) from error
        if objective.layout == "prefix" and network.stack == "encoder-decoder":
            raise ValueError(
                f"pretrain.objective.layout prefix is one row for a prefix decoder, but "
                f"{model.family} has an encoder: leave layout out"
            )
        needs_encoder = objective.kind in IN_TWO_PARTS and objective.layout != "prefix"
        if needs_encoder and network.stack == "prefix":
            raise ValueError(
                f"{model.family} has no encoder for pretrain.objective.kind {objective.kind}: "
                "add layout: prefix, or use a family such as t5"
            )
        if objective.sentence == "next" and self.pretrain.batch_size < 2:
            raise ValueError("pretrain.objective.sentence next needs a pretrain.batch_size of 2")
        if objective.sentence != "none" and model.context_length < LEAST_FOR_PAIRS:
            raise ValueError(
                f"pretrain.objective.sentence {objective.sentence} needs a model.context_length of "
                f"{LEAST_FOR_PAIRS}: two parts and three marks leave nothing to read of less"
            )
        if not self.pretrain.attend_across_documents and not _keeps_documents(objective):
            raise ValueError(
                f"pretrain.attend_across_documents: no does not go with the objective "
                f"{objective.kind} as it is set: its rows are no longer whole documents in a row"
            )
        if objective.kind == "replaced_token" and model.init == "mup":
            raise ValueError("model.init mup has no rule for the generator of replaced_token")
        if objective.kind not in CAUSAL and None in (model.n_layers, self.pretrain.steps):
            raise ValueError(
                f"pretrain.objective.kind {objective.kind} needs model.n_layers, model.d_model and "
                "pretrain.steps: the plan's law, which would choose them, is of causal models"
            )
        return self


def _keeps_documents(objective: ObjectiveConfig) -> bool:
    """Whether documents stay whole and in their order in the rows that the objective makes."""
    if objective.kind == "infill":
        return objective.infill_level == "document"
    whole = ("causal", "prefix", "masked", "replaced_token")
    return objective.kind in whole and objective.sentence == "none"


class Project(ProjectFile):
    """A project file together with the folder it stands for."""

    folder: Path = Field(default=Path("."), exclude=True)
    """Where artifacts and runs go and where relative paths begin. Not part of the file."""

    origins: Mapping[str, str] = Field(default_factory=dict, exclude=True)
    """Dotted key of every value → ``default``, ``groundup.yaml:12``, ``override`` or
    ``recipe fast``."""


def load_project(
    folder_or_file: Path | str, config: str | None = None, overrides: Sequence[str] = ()
) -> Project:
    """Read and check a project file.

    Args:
        folder_or_file: the project's folder, or a project file in it.
        config: another file to read instead of ``groundup.yaml``; a relative path begins in the
            folder. The project's folder stays the one given, wherever that file is.
        overrides: ``key=value`` with dotted keys; the value is read as YAML and replaces what the
            file says under that key (a whole section too). ``key=`` is YAML's empty value, null.

    Raises:
        ConfigError: everything that is wrong, each with file, line and key.
    """
    path = _find(Path(folder_or_file), config, overrides)
    document = read_yaml(_read(path), str(path))
    folder = (path.parent if config is None else Path(folder_or_file)).resolve()
    return _checked(document, path, folder, overrides)


def project_without_file(overrides: Sequence[str]) -> Project:
    """A project that is all defaults but for ``overrides``; relative paths begin here.

    Raises:
        ConfigError: everything that is wrong with the overrides.
    """
    return _checked(read_yaml(b"{}", "overrides"), Path("overrides"), Path.cwd(), overrides)


def _checked(document: Yaml, path: Path, folder: Path, overrides: Sequence[str]) -> Project:
    """Check a file's content with the overrides laid over it."""
    raw, problems = document.value, list(document.problems)
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise ConfigError("a project file is a list of sections, `name: …`", where=f"{path}:1")
    overridden: dict[KeyPath, str] = {}
    for override in overrides:
        problems += _apply(override, raw, document.lines, overridden)
    recipe = str(raw.get("recipe"))
    of_recipe = lay_under(raw, RECIPES.get(recipe, ()))

    def place(where: KeyPath, text: str) -> str:
        below = [key for key in overridden if key[: len(where)] == where and key != where]
        named = [key for key in below if re.search(rf"\b{re.escape(str(key[-1]))}\b", text)]
        if named:  # of a section, whose values do not go together: those that were changed here
            return " and ".join(f"override {shown(overridden[key])}" for key in named)
        for end in range(len(where), 0, -1):
            if where[:end] in overridden:
                return f"override {shown(overridden[where[:end]])}"
            if where[:end] in document.lines:
                return f"{path}:{document.lines[where[:end]]}"
            if where[:end] in of_recipe:
                return f"recipe {recipe}"
        return f"override {shown(overridden[below[0]])}" if where and below else str(path)

    checked, findings = check(ProjectFile, raw)
    for key, text in findings.items():
        problems.append(f"{place(key, text)}: {dotted(key) + ': ' if key else ''}{text}")
    if problems or checked is None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        what = "project file" if path.name != "overrides" else "settings given"
        raise ConfigError(f"{count} in the {what}", problems=tuple(_by_line(problems)))

    def origin(where: KeyPath) -> str:
        for end in range(len(where), 0, -1):
            if where[:end] in overridden:
                return "override"
        if where in of_recipe:
            return f"recipe {recipe}"
        return f"{path.name}:{document.lines[where]}" if where in document.lines else "default"

    return Project(
        **{name: getattr(checked, name) for name in ProjectFile.model_fields},
        folder=folder,
        origins={dotted(where): origin(where) for where, _ in values(checked)},
    )


def values(project: ProjectFile) -> Iterator[tuple[KeyPath, Any]]:
    """Every value of the merged file with its key: lists and free mappings count as one value."""

    def walk(section: BaseModel, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
        plain = section.model_dump(mode="json")
        for name in type(section).model_fields:
            value = getattr(section, name)
            if name not in plain:
                continue  # the folder and the origins are not part of the file
            if isinstance(value, BaseModel):
                yield from walk(value, (*path, name))
            else:
                yield (*path, name), plain[name]

    return walk(project, ())


def recipe_of(project: Project) -> dict[str, Any]:
    """The recipe and the keys that it set; those that stand in the project file are not its."""
    origin = f"recipe {project.recipe}"
    keys = [key for key, found in project.origins.items() if found == origin]
    return {"name": project.recipe, "keys": keys}


def schema() -> dict[str, Any]:
    """JSON schema of the project file, docstrings included, for editors."""
    made = ProjectFile.model_json_schema(schema_generator=_Schema)
    return {"$schema": GenerateJsonSchema.schema_dialect, **made, "title": FILE_NAME}


_BOUNDS = {
    "ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum",
}  # fmt: skip


class _Schema(GenerateJsonSchema):
    """Quantities (``16GiB``, ``4m``) are numbers that may also be written as text."""

    def function_before_schema(
        self, schema: core_schema.BeforeValidatorFunctionSchema
    ) -> JsonSchemaValue:
        made = super().function_before_schema(schema)
        if schema["schema"]["type"] in ("model", "model-fields"):  # of a whole section
            return made
        return {"anyOf": [made, {"type": "string"}]}

    def generate(self, schema: core_schema.CoreSchema, mode: Any = "validation") -> JsonSchemaValue:
        """Move bounds that pydantic leaves beside the alternatives to the numbers they bound."""
        made: JsonSchemaValue = _bounds_inside(super().generate(schema, mode))
        return made


def _bounds_inside(node: Any) -> Any:
    if isinstance(node, list):
        return [_bounds_inside(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _bounds_inside(value) for key, value in node.items()}
    if "anyOf" in node and (bounds := {key: node.pop(key) for key in _BOUNDS if key in node}):
        for choice in node["anyOf"]:
            if choice.get("type") in ("integer", "number"):
                choice.update({_BOUNDS[key]: bound for key, bound in bounds.items()})
    return node


def _find(path: Path, config: str | None, overrides: Sequence[str]) -> Path:
    """The project file meant by a folder or file; of overrides, folders given in their place."""
    file = path if path.is_file() and config is None else path / (config or FILE_NAME)
    if file.is_file():
        return file
    if not path.exists():
        raise ConfigError(
            "there is no such project folder",
            where=str(path),
            fix=f"`groundup init {path}` makes one for a folder of text",
        )
    others = sorted(found.name for found in path.glob("*.y*ml")) if path.is_dir() else []
    fix = f"`groundup init {path}` writes one" if file.name == FILE_NAME else "check the name"
    if others:
        fix += f"; or name one of these with --config: {', '.join(others)}"
    meant = next((given for given in overrides if (Path(given) / file.name).is_file()), None)
    if meant is not None:
        fix = f"this command takes the project's folder by --project {meant}"
    raise ConfigError(f"there is no {file.name} here", where=str(path), fix=fix)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise StorageError(f"cannot read it: {error.strerror}", where=str(path)) from error


def _apply(
    override: str,
    raw: dict[str, Any],
    lines: dict[KeyPath, int],
    overridden: dict[KeyPath, str],
) -> list[str]:
    """Lay one ``key=value`` over ``raw``; what is wrong with its form."""
    name = f"override {shown(override)}"
    key, equals, text = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        return [f"{name}: write it as key=value, for example pretrain.learning_rate=3e-4"]
    try:
        document = read_yaml(text.encode("utf-8", "surrogatepass"), name)
    except ConfigError as error:
        return [f"{name}: {error.message}"]
    if document.problems:
        return list(document.problems)
    holder = raw
    for part in path[:-1]:
        if holder.get(part) is None:
            holder[part] = {}
        if not isinstance(holder[part], dict):
            return [f"{name}: {shown(part)} is a single value, it has no keys below it"]
        holder = holder[part]
    holder[path[-1]] = document.value
    for places in (lines, overridden):  # what stood under this key is replaced
        for where in [where for where in places if where[: len(path)] == path]:
            del places[where]
    overridden[path] = override
    return []


def _by_line(problems: Sequence[str]) -> list[str]:
    """In the order of the file, overrides last."""

    def line(problem: str) -> tuple[bool, int]:
        found = re.match(r"[^\n]*?:(\d+): ", problem)
        return problem.startswith("override"), int(found[1]) if found else 0

    return sorted(problems, key=line)
