"""Weights for others and from others: the file format of `transformers`, one table per family.

The tables of `formats` are read in both directions. Tensors are read from safetensors only: a
pickle can run code on loading.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from groundup.architecture.config import ModelConfig
from groundup.architecture.families import build
from groundup.errors import ConfigError, InputError
from groundup.files import read_json, write_json
from groundup.model.formats import FAMILY, MAY_BE_NULL, POSITIVE_NUMBERS, Row, rows_of
from groundup.model.positions import Rotary
from groundup.model.transformer import Transformer

_LONGEST_CONTEXT = 2**24  # tokens; rotary tables of more are beyond any model and most memories
# Not weights: causal masks of GPT-2 and rotary tables that older versions saved.
_NOT_WEIGHTS = re.compile(r"\.attn\.(masked_)?bias$|\.rotary_emb\.inv_freq$")


def export_model(
    model: Transformer,
    folder: Path,
    tokenizer_folder: Path | None = None,
    metadata: dict[str, str] | None = None,
    sampling: Mapping[str, float] | None = None,
) -> None:
    """Write a folder that ``transformers.AutoModelForCausalLM.from_pretrained`` opens.

    Args:
        model: any family; written as float32.
        folder: exists and belongs to the caller, who makes the whole of it atomic.
        tokenizer_folder: where tokenizer.json and tokenizer_config.json come from; the longest
            text, which no tokenizer knows, is added to the second.
        metadata: more keys for config.json. Not in the header of model.safetensors, where several
            have no fixed order: the same weights give the same bytes.
        sampling: temperature, top_p and repetition_penalty that ``generate`` of others draws with
            where it is not told; None leaves them to it (the likeliest token, which repeats).
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().float().cpu() for name, tensor in model.named_parameters()}
    theirs = {row.theirs: row.pack(state) for row in rows_of(model.config)}
    save_file(theirs, folder / "model.safetensors", {"format": "pt"})
    write_json(folder / "config.json", {**_their_config(model.config), **(metadata or {})})
    special = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    write_json(folder / "generation_config.json", {**special, **_their_sampling(sampling or {})})
    if tokenizer_folder is not None:
        shutil.copyfile(tokenizer_folder / "tokenizer.json", folder / "tokenizer.json")
        settings = read_json(tokenizer_folder / "tokenizer_config.json")
        longest = {"model_max_length": model.config.context_length}
        write_json(folder / "tokenizer_config.json", {**settings, **longest})


def load_exported(folder: Path) -> Transformer:
    """The model in a folder of ``config.json`` and ``*.safetensors``, ours or from elsewhere.

    The tensors are compared with a model without memory before any is made for the weights.

    Raises:
        InputError: no such files, a pickle instead, a family or setting we do not compute, or
            tensors that are missing, unknown or of another shape (named).
    """
    config = _our_config(read_json(folder / "config.json"), str(folder / "config.json"))
    tensors = _read_tensors(folder)
    model = _without_memory(config, len(tensors), str(folder))
    shapes = dict(model.named_parameters())
    rows = rows_of(config)
    prefix = _prefix(config, tensors)
    tensors = {prefix + name: tensor for name, tensor in tensors.items()}
    _check_tensors(rows, shapes, tensors, config, str(folder))
    weights = {
        name: tensor.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        for row in rows
        for name, tensor in row.unpack(tensors[row.theirs], shapes).items()
    }
    if config.tie_embeddings:
        weights["head.weight"] = weights["embed.weight"]
    model.load_state_dict(weights, assign=True)
    if config.tie_embeddings:
        model.head.weight = model.embed.weight
    if config.positions.kind == "rotary":
        model.position = Rotary(config)  # its tables are no weights: computed, never read
    return model


def _without_memory(config: ModelConfig, n_tensors: int, where: str) -> Transformer:
    """The model on torch's meta device: shapes only."""
    if config.n_layers > n_tensors:  # before as many layers are made
        raise InputError(
            f"the tensors do not fit config.json: {n_tensors} cannot make {config.n_layers} layers",
            where=where,
            fix="take config.json and model.safetensors from the same export",
        )
    try:
        with torch.device("meta"):
            return Transformer(config)
    except (RuntimeError, TypeError, OverflowError) as error:  # more elements than 64 bits count
        raise InputError(
            "config.json asks for tensors larger than any memory", where=where
        ) from error


def _their_sampling(sampling: Mapping[str, float]) -> dict[str, Any]:
    """Our way of drawing in their words; a temperature of zero is theirs not to sample."""
    if sampling.get("temperature") == 0:
        penalty = {key: sampling[key] for key in sampling if key == "repetition_penalty"}
        return {"do_sample": False, **penalty}
    return {"do_sample": True, "top_k": 0, **sampling} if sampling else {}  # top_k: 0 is off


def _their_config(config: ModelConfig) -> dict[str, Any]:
    family, values = FAMILY[config.family], config.to_dict()
    theirs = {key: _get(values, field) for key, field in family.fields.items()}
    if "rope_theta" in theirs:
        theirs["rope_parameters"] = {"rope_type": "default", "rope_theta": theirs.pop("rope_theta")}
    return {
        "architectures": [family.architecture],
        "model_type": config.family,
        **theirs,
        **family.fixed,
        **family.written,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": None,
        "dtype": "float32",
    }


def _our_config(theirs: Any, where: str) -> ModelConfig:
    """Our config of a `transformers` config.json."""
    if not isinstance(theirs, dict) or theirs.get("model_type") not in FAMILY:
        found = theirs.get("model_type") if isinstance(theirs, dict) else None
        raise InputError(
            f"a model of type {found!r} cannot be loaded",
            where=where,
            fix=f"known types are {', '.join(FAMILY)}",
        )
    name = theirs["model_type"]
    family = FAMILY[name]
    rope = theirs.get("rope_parameters") or theirs.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise InputError(f"rope_parameters is {rope!r}, not a table", where=where)
    theirs = {**family.defaults, **family.fixed, **theirs, **rope}
    odd = [f"{key}: {theirs[key]}" for key, value in family.fixed.items() if theirs[key] != value]
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        odd.append(f"rope_type: {rope.get('rope_type', rope.get('type'))}")
    if name == "gpt2" and not theirs["tie_word_embeddings"]:
        odd.append("tie_word_embeddings: False")
    if odd:
        raise InputError(
            f"this {name} has settings that groundup does not compute: {', '.join(odd)}",
            where=where,
            fix="use a model with the family's usual settings",
        )
    if problems := _bad_values(
        {key: (theirs.get(key), field) for key, field in family.fields.items()}
    ):
        raise InputError(f"not the config of a {name} model: {'; '.join(problems)}", where=where)
    try:
        sizes = {field: theirs.get(key) for key, field in family.fields.items()}
        heads = sizes["attention.n_heads"]
        config = build(
            name,
            vocab_size=sizes["vocab_size"],
            n_layers=sizes["n_layers"],
            d_model=sizes["d_model"],
            context_length=sizes["context_length"],
            n_heads=heads,
            n_kv_heads=sizes.get("attention.n_kv_heads") or heads,
            d_ff=sizes["feed_forward.d_ff"],
        )
    except TypeError as error:
        lacks = ", ".join(key for key in family.fields if theirs.get(key) is None)
        raise InputError(
            f"not the config of a {name} model: {lacks} missing", where=where
        ) from error
    except ConfigError as error:
        reasons = "; ".join(error.problems) or error.message
        raise InputError(f"not the config of a {name} model: {reasons}", where=where) from error
    values = config.to_dict()
    for field in ("attention.head_dim", "norm.eps", "positions.rotary_base", "tie_embeddings"):
        if sizes.get(field) is not None:
            _set(values, field, sizes[field])
    if "logit_softcap" in sizes:
        values["logit_softcap"] = sizes["logit_softcap"]  # null means no cap
    return ModelConfig.from_dict(values)


def _bad_values(values: dict[str, tuple[Any, str]]) -> list[str]:
    """What no value of theirs may be, one phrase each; missing sizes are left to the caller.

    Args:
        values: their key → its value and our field.
    """
    problems = []
    for key, (value, field) in values.items():
        if field == "tie_embeddings":
            if not isinstance(value, bool):
                problems.append(f"{key} is {value!r}, not true or false")
        elif value is None and (field in MAY_BE_NULL or field not in POSITIVE_NUMBERS):
            continue
        elif field in POSITIVE_NUMBERS:
            if not (_is_number(value) and 0 < value < float("inf")):  # NaN fails both
                problems.append(f"{key} is {value!r}, not a finite number above zero")
        elif not _is_number(value) or isinstance(value, float):
            problems.append(f"{key} is {value!r}, not a whole number")
        elif field == "context_length" and value > _LONGEST_CONTEXT:
            problems.append(f"{key} is {value}, more than {_LONGEST_CONTEXT:,}")
    return problems


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _get(values: dict[str, Any], dotted: str) -> Any:
    for key in dotted.split("."):
        values = values[key]
    return values


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    *groups, last = dotted.split(".")
    for group in groups:
        values = values[group]
    values[last] = value


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickles = sorted(p.name for end in ("bin", "pt", "pth") for p in folder.glob(f"*.{end}"))
        if pickles:
            raise InputError(
                f"{pickles[0]} is a pickle, which can run code when it is loaded",
                where=str(folder),
                fix="convert it where you trust it: model.save_pretrained(folder) of transformers "
                "writes safetensors",
            )
        raise InputError("no model.safetensors here", where=str(folder))
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            tensors |= load_file(file)
        except (SafetensorError, ValueError) as error:
            raise InputError(f"not a safetensors file: {error}", where=str(file)) from error
    return {name: tensor for name, tensor in tensors.items() if not _NOT_WEIGHTS.search(name)}


def _prefix(config: ModelConfig, tensors: dict[str, Tensor]) -> str:
    """What stands before every name in our table but not in the file (the first GPT-2 files)."""
    bare = config.family == "gpt2" and "wte.weight" in tensors
    return "transformer." if bare else ""


def _check_tensors(
    rows: list[Row],
    state: Mapping[str, Tensor],
    tensors: dict[str, Tensor],
    config: ModelConfig,
    where: str,
) -> None:
    expected = {row.theirs: row.shape(state) for row in rows}
    problems = [f"missing tensor {name}" for name in expected if name not in tensors]
    tied = {"lm_head.weight"} if config.tie_embeddings else set()  # some writers repeat it
    problems += [f"unknown tensor {name}" for name in tensors if name not in {*expected, *tied}]
    problems += [
        f"{name} has shape {list(tensors[name].shape)}, not {shape}"
        for name, shape in expected.items()
        if name in tensors and list(tensors[name].shape) != shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise InputError(
            f"the tensors do not fit config.json: {'; '.join(problems[:5])}{more}",
            where=where,
            fix="take config.json and model.safetensors from the same export",
        )
