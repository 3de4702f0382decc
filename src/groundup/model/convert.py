"""Weights for others and from others: the files of `transformers`, by one table per family.

The tables of `formats` are read in both directions. Both ways go tensor by tensor: beside the model
there is in memory one tensor on the way in, and one file's on the way out. What is read is compared
with a model without memory before any is taken for the weights.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from groundup.architecture.config import ModelConfig
from groundup.errors import InputError
from groundup.files import read_json, write_json
from groundup.model.as_qwen3 import as_qwen3
from groundup.model.formats.configs import Form, read_forms, write_config
from groundup.model.formats.table import Row
from groundup.model.shards import (
    FLOATS,
    MAX_SHARD_BYTES,
    Entry,
    read_header,
    read_tensors,
    write_shards,
)
from groundup.model.transformer import Transformer
from groundup.model.weights import weights_of

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SPECIAL_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


def export_model(
    model: Transformer,
    folder: Path,
    tokenizer_folder: Path | None = None,
    metadata: Mapping[str, Any] | None = None,
    sampling: Mapping[str, float] | None = None,
    *,
    dtype: str = "float32",
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> str:
    """Write a folder that ``from_pretrained`` of `transformers` opens.

    A model that no class of theirs computes (PaLM, LaMDA) is written in our own form, which
    `load_exported` opens; one that another family's class computes, as that (`as_qwen3`).

    Args:
        model: any family.
        folder: exists and belongs to the caller, who makes the whole of it atomic.
        tokenizer_folder: where tokenizer.json and tokenizer_config.json come from; the longest
            text, which no tokenizer knows, is added to the second.
        metadata: more keys for config.json. Not in the header of model.safetensors, where several
            have no fixed order: the same weights give the same bytes.
        sampling: temperature, top_p and repetition_penalty that ``generate`` of others draws with
            where it is not told; None leaves them to it (the likeliest token, which repeats).
        dtype: a key of `DTYPES`, of the numbers in the files.
        max_shard_bytes: of one file.

    Returns:
        The ``model_type``: theirs, or "groundup".

    Raises:
        InputError: a weight that ``dtype`` cannot hold (named), or a tokenizer with more tokens
            than the model has embeddings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if tokenizer_folder is not None:
        check_tokenizer(tokenizer_folder, model.config.vocab_size)
    model = as_qwen3(model)
    form, theirs = write_config(model.config)
    weights = weights_of(model)
    rows = {row.theirs: row for row in form.rows(weights)}
    shapes = {name: torch.empty_like(weight, device="meta") for name, weight in weights.items()}
    made = {name: (row, _packed(row, shapes, form)) for name, row in rows.items()}
    sizes = {
        name: shape.numel() * (DTYPES[dtype].itemsize if shape.is_floating_point() else 8)
        for name, (_, shape) in made.items()
        if shape is not None
    }

    def make(name: str) -> Tensor:
        tensor = _packed(rows[name], weights, form)
        assert tensor is not None
        return _cast(name, tensor.detach().cpu(), dtype)

    prefix = form.family.prefix if form.family and form.architecture.bare else ""
    names = {name.removeprefix(prefix): name for name in sizes}
    write_shards(
        folder,
        {short: sizes[name] for short, name in names.items()},
        lambda short: make(names[short]),
        max_shard_bytes,
    )
    special = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    config = {**special, **theirs, "dtype": dtype, **(metadata or {})}
    for field in form.family.fields if form.family else ():
        if field.ours == "positions.padding_id":  # it says which places tokens have (RoBERTa)
            config[field.theirs] = theirs[field.theirs]
    write_json(folder / "config.json", config)
    _write_generation(folder, config, sampling or {})
    if tokenizer_folder is not None:
        _copy_tokenizer(tokenizer_folder, folder, model.config.context_length)
    return form.model_type


def load_exported(folder: Path) -> Transformer:
    """The model in a folder of ``config.json`` and ``*.safetensors``, ours or from elsewhere.

    Weights become float32.

    Raises:
        InputError: no such files, a pickle instead, a family or setting we do not compute, or
            tensors that are missing, unknown or of another shape (named).
    """
    found = read_json(folder / "config.json")
    if isinstance(found, dict) and found.get("quantization_config"):
        raise InputError(
            f"a model of type {found.get('model_type')!r} with quantised weights cannot be loaded",
            where=str(folder),
            fix="import the model that it was made from",
        )
    forms = read_forms(found, str(folder / "config.json"))
    entries = read_header(folder)
    fits = [_fit(form, entries, str(folder)) for form in forms]
    fit = next((fit for fit in fits if not fit.problems), fits[0])
    if fit.problems:
        more = f" and {len(fit.problems) - 5} more" if len(fit.problems) > 5 else ""
        raise InputError(
            f"the tensors do not fit config.json: {'; '.join(fit.problems[:5])}{more}",
            where=str(folder),
            fix="take config.json and model.safetensors from the same export",
        )
    _check_repeats(fit, entries, str(folder))
    return _filled(fit, entries)


def check_tokenizer(folder: Path, vocab_size: int) -> None:
    """Refuse a tokenizer whose ids the embedding does not have.

    Raises:
        InputError: it has such ids, or cannot be read.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        return
    found = read_json(file)
    model = found.get("model") if isinstance(found, dict) else None
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else []
    if isinstance(vocabulary, list):  # unigram: the place is the id
        ids = [len(vocabulary) - 1]
    added = found.get("added_tokens", []) if isinstance(found, dict) else []
    if not isinstance(added, list):
        raise InputError(f"added_tokens is {added!r}, not a list", where=str(file))
    ids += [token.get("id") for token in added if isinstance(token, dict)]
    largest = max((number for number in ids if isinstance(number, int)), default=-1)
    if largest >= vocab_size:
        raise InputError(
            f"the tokenizer has ids up to {largest}, but the model has {vocab_size} embeddings",
            where=str(file),
            fix="take the tokenizer that the model was trained with, or extend the embedding",
        )


# --- out ---


def _packed(row: Row, weights: Mapping[str, Tensor], form: Form) -> Tensor | None:
    if row.value is not None:
        return row.value(form.config)
    return row.pack(weights, form.config)


def _cast(name: str, tensor: Tensor, dtype: str) -> Tensor:
    """In the type of the files; counters of a batch norm stay whole numbers.

    Raises:
        InputError: a number that is finite here and would not be there.
    """
    if not tensor.is_floating_point():
        return tensor
    largest = torch.finfo(DTYPES[dtype]).max
    if dtype != "float32" and tensor.numel():
        size = tensor.abs().nan_to_num(0.0, posinf=0.0).max().item()
        if size > largest:
            raise InputError(
                f"{name} holds {size:g}, more than {dtype} can: {largest:g}",
                fix="export with --dtype "
                + ("bfloat16 or float32" if dtype == "float16" and size < 3e38 else "float32"),
            )
    return tensor.to(DTYPES[dtype])


def _write_generation(
    folder: Path, config: Mapping[str, Any], sampling: Mapping[str, float]
) -> None:
    special = {key: config.get(key) for key in SPECIAL_IDS}
    if special["pad_token_id"] is None:  # generate of others wants one
        ends = special["eos_token_id"]
        special["pad_token_id"] = ends[0] if isinstance(ends, list) else ends
    known = {key: value for key, value in special.items() if value is not None}
    write_json(folder / "generation_config.json", {**known, **_their_sampling(sampling)})


def _their_sampling(sampling: Mapping[str, float]) -> dict[str, Any]:
    """Our way of drawing in their words; a temperature of zero is theirs not to sample."""
    if sampling.get("temperature") == 0:
        penalty = {key: sampling[key] for key in sampling if key == "repetition_penalty"}
        return {"do_sample": False, **penalty}
    known = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    theirs = {key: sampling[key] for key in known if key in sampling}
    return {"do_sample": True, "top_k": 0, **theirs} if sampling else {}  # top_k: 0 is off


def _copy_tokenizer(source: Path, folder: Path, context_length: int) -> None:
    shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
    file = source / "tokenizer_config.json"
    settings = read_json(file) if file.is_file() else {}
    if not isinstance(settings, dict):
        raise InputError("not a table of settings", where=str(file))
    write_json(folder / "tokenizer_config.json", {**settings, "model_max_length": context_length})


# --- in ---


@dataclass(frozen=True)
class _Fit:
    """A form beside the tensors of some files."""

    form: Form
    model: Transformer  # without memory
    rows: dict[str, Row]  # by the name in the file
    repeats: list[tuple[str, str]]  # names of files that should hold the same
    problems: list[str]


def _fit(form: Form, entries: Mapping[str, Entry], where: str) -> _Fit:
    """Find each row's tensor, and list what is missing, unknown or of another shape or type."""
    model = _without_memory(form, len(entries), where)
    weights = weights_of(model)
    rows = form.rows(weights)
    found, repeats, unknown = _named(form, rows, entries)
    problems = [
        f"missing tensor {row.theirs}"
        for row in rows
        if row.value is None and row.theirs not in found
    ]
    problems += [f"unknown tensor {name}" for name in unknown]
    for row in rows:
        if row.value is not None or row.theirs not in found:
            continue
        name = found[row.theirs]
        shape, entry = list(row.pack(weights, form.config).shape), entries[name]
        if entry.shape != shape:
            problems.append(f"{name} has shape {entry.shape}, not {shape}")
        elif entry.dtype not in FLOATS and weights[row.ours[0]].is_floating_point():
            problems.append(f"{name} has numbers of type {entry.dtype}, not {', '.join(FLOATS)}")
    by_name = {found[row.theirs]: row for row in rows if row.value is None and row.theirs in found}
    same = [(found[theirs], name) for name, theirs in repeats if found.get(theirs) != name]
    return _Fit(form, model, by_name, same, problems)


def _without_memory(form: Form, n_tensors: int, where: str) -> Transformer:
    """The model on torch's meta device: shapes only."""
    check_layers(form.config, n_tensors, where)
    try:
        with torch.device("meta"):
            return Transformer(form.config)
    except (RuntimeError, TypeError, OverflowError) as error:  # more elements than 64 bits count
        raise InputError(
            "config.json asks for tensors larger than any memory", where=where
        ) from error


def check_layers(config: ModelConfig, n_tensors: int, where: str) -> None:
    """Refuse a config.json with more networks than there are tensors, before they are made.

    Raises:
        InputError: it has.
    """
    n_layers = config.n_encoder_layers + (1 if config.shared_layers else config.n_layers)
    n_networks = max(1, config.feed_forward.n_experts)
    if n_layers * n_networks > n_tensors:  # before as many are made; no format stacks experts
        of_experts = f" of {n_networks} experts" if n_networks > 1 else ""
        raise InputError(
            f"the tensors do not fit config.json: {n_tensors} cannot make {n_layers} layers"
            f"{of_experts}",
            where=where,
            fix="take config.json and model.safetensors from the same export",
        )


def _named(
    form: Form, rows: list[Row], entries: Mapping[str, Entry]
) -> tuple[dict[str, str], list[tuple[str, str]], list[str]]:
    """Their names in the table → in the files; (name, row's) of repeats; names of neither."""
    family = form.family
    prefix, ignored = (family.prefix, family.ignored) if family else ("", "")
    expected = {row.theirs for row in rows}
    also = {name: row.theirs for row in rows for name in row.also if name not in expected}
    found: dict[str, str] = {}
    repeats: list[tuple[str, str]] = []
    unknown: list[str] = []
    for name in entries:
        present = name
        for old, new in (family.renamed if family else {}).items():
            if present.endswith(old):
                present = present.removesuffix(old) + new
        for candidate in (present, prefix + present):
            if candidate in expected:
                found[candidate] = name
                break
            if candidate in also:
                repeats.append((name, also[candidate]))
                break
        else:
            if not (ignored and re.search(ignored, name)):
                unknown.append(name)
    for name, theirs in repeats:
        found.setdefault(theirs, name)
    return found, repeats, unknown


def _check_repeats(fit: _Fit, entries: Mapping[str, Entry], where: str) -> None:
    for pair in fit.repeats:
        first, second = (
            tensor for _, tensor in read_tensors({name: entries[name] for name in pair})
        )
        if first.shape != second.shape or not torch.equal(first, second):
            raise InputError(
                f"config.json ties {pair[1]} to {pair[0]}, but they are not the same numbers",
                where=where,
                fix="set tie_word_embeddings to false in config.json if the model has two tables",
            )


def _filled(fit: _Fit, entries: Mapping[str, Entry]) -> Transformer:
    """The model with the weights of the files, each copied out of its file once."""
    model, shapes = fit.model, weights_of(fit.model)
    weights: dict[str, Tensor] = {}
    for file_name, tensor in read_tensors({name: entries[name] for name in fit.rows}):
        for name, part in fit.rows[file_name].unpack(tensor, shapes, fit.form.config).items():
            weights[name] = part.to(
                torch.float32 if part.is_floating_point() else part.dtype,
                copy=True,
                memory_format=torch.contiguous_format,
            )
    model.load_state_dict(weights, strict=False, assign=True)
    if model.config.tie_embeddings and model.config.head == "tokens":
        model.head.weight = model.embed.weight
    left = [name for name, tensor in weights_of(model).items() if tensor.is_meta]
    assert not left, f"no weights for {left[:3]}"
    return model
