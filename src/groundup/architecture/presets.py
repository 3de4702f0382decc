"""Models known by name: the published sizes of every family, from ``presets.csv``.

A preset is a row of that table: a family, its sizes, and what was printed about it. Exact counts
are those of the released weights, checked against `transformers` in the tests. Where a paper counts
by another convention (embeddings or norm scales left out, a pooler) the row's note says so.
"""

from __future__ import annotations

import csv
import difflib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundup.architecture.config import ModelConfig
from groundup.architecture.families import build
from groundup.errors import ConfigError, InputError
from groundup.files import read_json

TABLE = Path(__file__).parent / "presets.csv"


@dataclass(frozen=True)
class Preset:
    """One published model.

    Args:
        name: as commands take it.
        family: a key of `families.FAMILIES`; several names may share one network.
        config: its sizes; the context length is that of most of its pre-training.
        source: where the sizes are from.
        published_parameters: the exact count of the released weights, where there are any.
        published_as: the figure as it is printed, and by which convention.
        tokens: it was trained on, mostly from memory (see the table's head); None where not known.
        year: of publication.
        aliases: other names that `find_model` takes.
    """

    name: str
    family: str
    config: ModelConfig
    source: str
    published_parameters: int | None
    published_as: str
    tokens: float | None
    year: int
    aliases: tuple[str, ...] = ()


def find_preset(name: str) -> Preset:
    """The preset of that name or alias, as people and model hubs write it.

    Capitals, underscores and hyphens between letters and digits do not matter, nor do an owner
    before the name and ``-hf`` or ``-v0.1`` behind it.

    Raises:
        ConfigError: there is none; the nearest are named.
    """
    found = _known(name)
    if found:
        return PRESETS[found]
    nearest = difflib.get_close_matches(_plain(name), _NAMES, n=3, cutoff=0.5)
    nearest = list(dict.fromkeys(_NAMES[near] for near in nearest))
    raise ConfigError(
        f"no model is known as {name!r}",
        where="model",
        fix=f"did you mean {' or '.join(nearest)}? " * bool(nearest)
        + "`groundup model list` shows all; a path to a JSON file is taken too",
    )


def find_model(name_or_path: str) -> ModelConfig:
    """The config of a preset, or of a JSON file as `ModelConfig.to_dict` describes it.

    See `is_path`; what `groundup model show --json` prints has the config inside.

    Raises:
        ConfigError: no such preset (the nearest are named), or a file that describes no model.
        InputError: a file that is missing or is not JSON.
    """
    if not is_path(name_or_path):
        return find_preset(name_or_path).config
    path = Path(name_or_path)
    try:
        values = read_json(path)
    except OSError as error:
        raise InputError(f"cannot read this file: {error.strerror}", where=name_or_path) from error
    if isinstance(values, dict) and isinstance(values.get("config"), dict):
        values = values["config"]
    _refuse_others(values, name_or_path)
    try:
        return ModelConfig.from_dict(values)
    except ConfigError as error:
        raise ConfigError(
            error.message, where=name_or_path, fix=error.fix, problems=error.problems
        ) from error


def is_path(name_or_path: str) -> bool:
    """Whether `find_model` reads a file for this.

    It does for what ends in ``.json``, for what contains a ``/`` and is there, and for a file here
    that is called like no preset.
    """
    if name_or_path.endswith(".json"):
        return True
    path = Path(name_or_path)
    return path.exists() if "/" in name_or_path else path.is_file() and not _known(name_or_path)


def _refuse_others(values: Any, where: str) -> None:
    """Say in one line that a file is of another kind, not which of our keys it lacks."""
    if not isinstance(values, dict) or {"family", "n_layers", "d_model"} & set(values):
        return
    of_transformers = {"model_type", "architectures", "transformers_version"} & set(values)
    raise ConfigError(
        "this is a config.json of transformers, not one of groundup's"
        if of_transformers
        else "this file describes no model",
        where=where,
        fix="take a preset (`groundup model list`) or write the JSON that "
        "`groundup model show PRESET --json` prints",
    )


def _known(name: str) -> str | None:
    """The preset that a name means."""
    return _NAMES.get(_plain(name))


def _plain(name: str) -> str:
    """A name without what people write differently."""
    plain = name.strip().lower().replace("_", "-").rpartition("/")[2]
    plain = re.sub(r"(-hf|-v0\.1)+$", "", plain)
    return re.sub(r"(?<=[a-z])-(?=[0-9])|(?<=[0-9])-(?=[a-z])", "", plain)


def _read(table: Path) -> dict[str, Preset]:
    with table.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return {row["name"]: _preset(row) for row in rows}


def _preset(row: dict[str, str]) -> Preset:
    sizes = ("vocab_size", "n_layers", "d_model", "context_length", "n_heads")
    ruled = ("n_kv_heads", "head_dim", "d_ff")
    given: dict[str, Any] = {name: int(row[name]) for name in sizes}
    given |= {name: int(row[name]) for name in ruled if row[name]}
    given |= dict(_variant(row["variant"]))
    printed, note = row["published"], row["note"]
    return Preset(
        name=row["name"],
        family=row["family"],
        config=build(row["family"], **given),
        source=row["source"],
        published_parameters=int(row["exact"]) if row["exact"] else None,
        published_as="; ".join(part for part in (printed, note) if part),
        tokens=float(row["tokens"]) if row["tokens"] else None,
        year=int(row["year"]),
        aliases=tuple(row["aliases"].split()),
    )


def _variant(text: str) -> list[tuple[str, Any]]:
    """``eps=1e-5 tie_embeddings=true``: values as JSON writes them."""
    pairs = (word.partition("=") for word in text.split())
    return [(name, json.loads(value)) for name, _, value in pairs]


PRESETS: dict[str, Preset] = _read(TABLE)
_NAMES = {
    _plain(name): preset.name
    for preset in PRESETS.values()
    for name in (preset.name, *preset.aliases)
}
