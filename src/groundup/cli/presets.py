"""``groundup model list`` and ``groundup model show``: the presets, and one of them in full."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from groundup.cli.options import COUNT, json_option

if TYPE_CHECKING:
    from groundup.architecture.config import ModelConfig
    from groundup.architecture.presets import Preset


@click.command()
@click.option("--family", metavar="NAME", help="Only the models of this family.")
@json_option
def list_models(family: str | None, as_json: bool) -> None:
    """Print every model that is known by name."""
    from groundup.architecture.presets import PRESETS
    from groundup.tables import Table, print_json, print_tables

    presets = [p for p in PRESETS.values() if family is None or p.family == family.lower()]
    if not presets:
        _refuse_family(str(family), sorted({preset.family for preset in PRESETS.values()}))
    records = [_summary(preset) for preset in presets]
    if as_json:
        print_json(records)
        return
    columns = ["name", "family", "parameters", "published_as", "year", "source"]
    rows = [[record[column] for column in columns] for record in _with_words(records)]
    title = f"{len(rows)} models (groundup model show NAME)"
    print_tables([Table(title, [column.replace("_", " ") for column in columns], rows)])


@click.command()
@click.argument("model", metavar="PRESET")
@click.option(
    "--context-length",
    type=COUNT,
    metavar="N",
    help="Tokens per sequence for the FLOPs (default: the model's own).",
)
@click.option(
    "--target-length",
    type=COUNT,
    metavar="N",
    help="Tokens of the target beside an encoder (default: as many as the source's).",
)
@json_option
def show_model(
    model: str, context_length: float | None, target_length: float | None, as_json: bool
) -> None:
    """Print the config, the exact parameters and the FLOPs per token of one model.

    PRESET is a name of `groundup model list`, or a JSON file as --json prints under "config".
    """
    from groundup.architecture.presets import find_model, find_preset, is_path
    from groundup.tables import print_json, print_tables

    preset = None if is_path(model) else find_preset(model)
    config = find_model(model) if preset is None else preset.config
    length = _length(context_length, "--context-length") or config.context_length
    record = _record(config, preset, length, _length(target_length, "--target-length"))
    if as_json:
        print_json(record)
    else:
        print_tables(_tables(record, model, config))


def _with_words(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Years are no quantities: 2025, not 2,025."""
    return [{**record, "year": str(record["year"])} for record in records]


def _refuse_family(family: str, families: list[str]) -> None:
    import difflib

    from groundup.errors import ConfigError

    nearest = difflib.get_close_matches(family.lower(), families, n=3, cutoff=0.5)
    raise ConfigError(
        f"no model of a family {family!r} is known",
        where="--family",
        fix=f"did you mean {' or '.join(nearest)}?" if nearest else f"use one of {families}",
    )


def _length(value: float | None, option: str) -> int | None:
    """A whole number of tokens, at least 1 and not beyond any sequence."""
    from groundup.errors import InputError

    if value is None:
        return None
    if value != value // 1 or not 1 <= value <= 1e9:
        raise InputError(
            f"{option} is {value:g}, but must be a whole number of tokens from 1 to 1e9",
            where=option,
        )
    return int(value)


def _summary(preset: Preset) -> dict[str, Any]:
    from groundup.architecture.counts import active_parameters, parameters

    config = preset.config
    return {
        "name": preset.name,
        "aliases": list(preset.aliases),
        "family": preset.family,
        "parameters": parameters(config).total,
        "active_parameters": active_parameters(config),
        "published_parameters": preset.published_parameters,
        "published_as": preset.published_as or None,
        "context_length": config.context_length,
        "tokens": preset.tokens,
        "year": preset.year,
        "source": preset.source,
    }


def _record(
    config: ModelConfig, preset: Preset | None, length: int, target_length: int | None
) -> dict[str, Any]:
    from groundup.architecture.counts import (
        active_parameters,
        flops_6n,
        forward_flops_per_token,
        palm_flops_per_token,
        parameters,
        training_flops_per_token,
    )

    counted = parameters(config)
    summary = _summary(preset) if preset else {}
    notes = _notes(config, length)
    return {
        "name": preset.name if preset else None,
        "family": preset.family if preset else config.family,
        **{key: summary.get(key) for key in ("published_as", "tokens", "year", "source")},
        "parameters": {
            "total": counted.total,
            "non_embedding": counted.non_embedding,
            **dataclasses.asdict(counted),
        },
        "active_parameters": active_parameters(config),
        "context_length": length,
        "target_length": (target_length or length) if config.n_encoder_layers else None,
        "flops_per_token": {
            "forward_causal": forward_flops_per_token(config, length, True, target_length),
            "forward_full": forward_flops_per_token(config, length, False, target_length),
            "training_causal": training_flops_per_token(config, length, True, target_length),
            "training_full": training_flops_per_token(config, length, False, target_length),
            "training_6n": flops_6n(config),
            "training_palm": palm_flops_per_token(config, length),
        },
        "config": config.to_dict(),
        "notes": notes,
    }


def _notes(config: ModelConfig, length: int) -> list[str]:
    notes = []
    if config.positions.kind == "learned" and length > config.context_length:
        notes.append(
            f"{length:,} tokens are more than the {config.context_length:,} places this model has "
            "learned: the FLOPs are those of a longer table"
        )
    if config.n_encoder_layers:
        notes.append("FLOPs are averaged over source and target; a token passes one stack of two")
    if config.shared_layers:
        notes.append("layers share their weights: 6 N counts one of them")
    if config.query_stream:
        notes.append("FLOPs are of one stream; pre-training adds a second over what it predicts")
    return notes


MEANING = {
    "forward_causal": "forward, each token against those before it",
    "forward_full": "forward, each token against all",
    "training_causal": "forward and backward, causal",
    "training_full": "forward and backward, full",
    "training_6n": "6 N, with the active parameters",
    "training_palm": "6 N + 12 · layers · heads · head size · context (PaLM)",
}


def _tables(record: dict[str, Any], asked: str, config: ModelConfig) -> list[Any]:
    from groundup.tables import Table
    from groundup.units import format_count, format_flops

    counted = record["parameters"]
    parts = [(name.replace("_", " "), n) for name, n in counted.items() if n or name == "head"]
    if record["active_parameters"] != counted["total"]:
        parts.insert(1, ("active for a token", record["active_parameters"]))
    facts = {key: record[key] for key in ("family", "published_as", "tokens", "year", "source")}
    if facts["tokens"]:
        facts["tokens"] = format_count(facts["tokens"])
    about = [(key.replace("_", " "), str(value)) for key, value in facts.items() if value]
    lengths = f"{record['context_length']:,}"
    if record["target_length"]:
        lengths += f" + {record['target_length']:,}"
    flops = [
        (name.replace("_", " "), format_flops(value), MEANING[name])
        for name, value in record["flops_per_token"].items()
    ]
    fields = [(name, str(value)) for name, value in _chosen(config)]
    tables = [
        Table(record["name"] or asked, ["about", "value"], about),
        Table("Parameters", ["part", "count"], parts),
        Table(f"FLOPs per token at {lengths} tokens", ["count", "FLOPs", "meaning"], flops),
        Table("Config (what is at its default is left out)", ["field", "value"], fields),
    ]
    notes = [(note,) for note in record["notes"]]
    return tables + [Table("Notes", ["note"], notes)] * bool(notes)


def _chosen(group: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted fields and values that are not at their default."""
    found: list[tuple[str, Any]] = []
    for field in dataclasses.fields(group):
        value = getattr(group, field.name)
        if dataclasses.is_dataclass(value):
            found += _chosen(value, f"{field.name}.")
        elif value is not None and value != field.default:
            found.append((prefix + field.name, value))
    return found
