"""Models known by name: the published sizes of every family, from ``presets.csv``.

A preset is a row of that table: a family, its sizes, and what was printed about it. Exact counts
are those of the released weights, checked against `transformers` in the tests. Where a paper counts
by another convention (embeddings or norm scales left out, a pooler) the row's note says so.
"""

from __future__ import annotations

import csv
import difflib
import json
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
    """The preset of that name or alias; capitals and underscores do not matter.

    Raises:
        ConfigError: there is none; the nearest are named.
    """
    wanted = name.strip().lower().replace("_", "-")
    if wanted in _NAMES:
        return PRESETS[_NAMES[wanted]]
    nearest = difflib.get_close_matches(wanted, _NAMES, n=3, cutoff=0.5)
    nearest = list(dict.fromkeys(_NAMES[near] for near in nearest))
    raise ConfigError(
        f"no model is known as {name!r}",
        where="model",
        fix=f"did you mean {' or '.join(nearest)}? " * bool(nearest)
        + "`groundup model list` shows all; a path to a JSON file is taken too",
    )


def find_model(name_or_path: str) -> ModelConfig:
    """The config of a preset, or of a JSON file as `ModelConfig.to_dict` describes it.

    What ends in ``.json`` or contains a ``/`` is a path.

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
    if isinstance(values, dict) and "model_type" in values:
        raise ConfigError(
            "this is a config.json of transformers, not one of groundup's",
            where=name_or_path,
            fix="take a preset (`groundup model list`) or write the JSON that "
            "`groundup model show PRESET --json` prints under config",
        )
    try:
        return ModelConfig.from_dict(values)
    except ConfigError as error:
        raise ConfigError(
            error.message, where=name_or_path, fix=error.fix, problems=error.problems
        ) from error


def is_path(name_or_path: str) -> bool:
    """Whether `find_model` reads a file for this."""
    return name_or_path.endswith(".json") or "/" in name_or_path


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
    name: preset.name for preset in PRESETS.values() for name in (preset.name, *preset.aliases)
}
