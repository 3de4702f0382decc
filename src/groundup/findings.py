"""Checks plain values against a section's model and says what is wrong in plain words.

Pydantic finds everything at once, but its places carry the names of union members and its texts
speak of inputs and instances. Here each finding gets the key as it stands in the file and one
sentence, and an unknown key the one that was probably meant.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from groundup.yaml12 import KeyPath, dotted

Model = TypeVar("Model", bound=BaseModel)


def check(model: type[Model], raw: dict[str, Any]) -> tuple[Model | None, dict[KeyPath, str]]:
    """The checked values, or what is wrong with them: key → one sentence."""
    raw = _fill_empty_sections(model, raw)
    found = {
        path: ["must be a number, is true or false"]
        for path in _booleans_for_numbers(model, raw, ())
    }
    booleans, checked = set(found), None
    try:
        checked = model.model_validate(raw)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            path = _path(detail, raw)
            texts = found.setdefault(path, [])
            text = _words(model, detail, path)
            if path not in booleans and text not in texts:
                texts.append(text)
    return None if found else checked, {
        path: " — or: ".join(texts) for path, texts in found.items()
    }


def _fill_empty_sections(model: type[BaseModel], raw: dict[str, Any]) -> dict[str, Any]:
    """``model:`` with every line below it commented out is YAML's null; here an empty section."""
    filled = dict(raw)
    for name, field in model.model_fields.items():
        inner = field.annotation
        if name in raw and isinstance(inner, type) and issubclass(inner, BaseModel):
            value = {} if raw[name] is None else raw[name]
            filled[name] = _fill_empty_sections(inner, value) if isinstance(value, dict) else value
    return filled


def _booleans_for_numbers(model: type[BaseModel], raw: Any, path: KeyPath) -> Iterator[KeyPath]:
    """Keys where ``true`` stands for a number: pydantic would take it for 1."""
    for name, field in model.model_fields.items():
        if not isinstance(raw, dict) or name not in raw:
            continue
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _booleans_for_numbers(inner, raw[name], (*path, name))
        elif isinstance(raw[name], bool):
            types = {inner, *get_args(inner)}
            if types & {int, float} and bool not in types:
                yield (*path, name)


def _path(detail: ErrorDetails, raw: Any) -> KeyPath:
    """Where a finding is in the file: pydantic's place without the names of union members."""
    path: list[str | int] = []
    for part in detail["loc"]:
        if isinstance(raw, dict) and part in raw:
            path.append(part)
            raw = raw[str(part)]
        elif isinstance(raw, list) and isinstance(part, int) and part < len(raw):
            path.append(part)
            raw = raw[part]
    if detail["type"] == "missing":
        path.append(detail["loc"][-1])
    return tuple(path)


def _words(model: type[BaseModel], detail: ErrorDetails, path: KeyPath) -> str:
    """One of pydantic's findings in plain words."""
    kind, context = detail["type"], detail.get("ctx", {})
    value = shown(detail["input"])
    match kind:
        case "extra_forbidden":
            return "unknown key" + _suggestion(model, path)
        case "missing":
            return "is missing"
        case "int_parsing" | "float_parsing" | "int_type" | "float_type" | "decimal_parsing":
            return f"{value} is not a number"
        case "int_from_float":
            return f"{value} is not a whole number"
        case "bool_parsing" | "bool_type":
            return f"{value} is neither true nor false"
        case "string_type":
            return f"{value} is not text; put it in quotes"
        case "path_type":
            return f"{value} is not a path"
        case "list_type" | "tuple_type" | "set_type" | "frozen_set_type":
            return f"{value} is not a list; write [a, b]"
        case "dict_type" | "model_type" | "model_attributes_type" | "dataclass_type":
            return f"must be a section of `key: value` lines, is {value}"
        case "literal_error" | "enum":
            expected = str(context.get("expected", ""))
            known = re.findall(r"'([^']*)'", expected)
            near = difflib.get_close_matches(str(detail["input"]), known, n=1)
            return f"{value} is not one of {expected}" + (
                f"; did you mean {near[0]!r}?" if near else ""
            )
        case "greater_than":
            return f"must be above {context['gt']:g}, is {value}"
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}, is {value}"
        case "less_than":
            return f"must be below {context['lt']:g}, is {value}"
        case "less_than_equal":
            return f"must be at most {context['le']:g}, is {value}"
        case "finite_number":
            return f"{value} is not a finite number"
        case "string_pattern_mismatch":
            return f"{value} does not fit the pattern {context['pattern']}"
        case "value_error" | "assertion_error":
            return str(context.get("error") or detail["msg"])
    text = detail["msg"].replace("Input should", "must")
    return f"{text[0].lower()}{text[1:]}, is {value}"


def _suggestion(model: type[BaseModel], path: KeyPath) -> str:
    """What an unknown key was meant to be: a neighbour's name, or the same name elsewhere."""
    key = str(path[-1])
    neighbours = _names(model, path[:-1])
    if near := difflib.get_close_matches(key, neighbours, n=1, cutoff=0.6):
        return f"; did you mean {near[0]!r}?"
    for section in model.model_fields:
        if key in _names(model, (section,)):
            return f"; did you mean '{dotted((section, key))}'?"
    return f"; known keys are {', '.join(neighbours)}" if neighbours else ""


def _names(annotation: Any, path: KeyPath) -> list[str]:
    """The keys known at ``path`` below an annotation, through optionals, unions and lists."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not path:
            return list(annotation.model_fields)
        field = annotation.model_fields.get(str(path[0]))
        return _names(field.annotation, path[1:]) if field else []
    rest = path[1:] if path and isinstance(path[0], int) else path
    return [name for inner in get_args(annotation) for name in _names(inner, rest)]


def shown(value: Any) -> str:
    """A value for a message: on one line, printable, not long."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    if isinstance(value, Mapping):
        text = "a section"
    return text if len(text) <= 80 else f"{text[:77]}…"
