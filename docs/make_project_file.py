"""Write docs/project-file.md from the schema of the project file.

    python docs/make_project_file.py

Texts and defaults are those of the sections' own models, so the page cannot say anything else than
the program does; `tests/docs/test_docs.py` fails when it is out of date.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from groundup.project import schema

PAGE = Path(__file__).with_name("project-file.md")
HEAD = """\
# The project file

<!-- Made by docs/make_project_file.py. Do not edit: change the docstrings and run it again. -->

A project is a folder with a `groundup.yaml`. The file has the sections below; some have sections of
their own. Each section and each key may be left out, but something must decide size and length of
the training: a `plan.budget`, or `model.n_layers`, `model.d_model` and `pretrain.steps`.
`groundup init DIR` writes a file in which every key stands with its meaning.

```yaml
project:
  name: letters
data:
  input: [letters, notes/diary.txt]   # relative to the project folder
plan:
  budget: 1h30m
```

**Another file.** `--config FILE` reads another file (a relative path begins in the folder), so that
one folder can hold several variants; they share what they have in common.

**Overrides.** `key=value` after a command replaces one value for that command only, for example
`groundup run . plan.budget=10m`. The value is read as YAML; `plan.budget=` sets null. An override
is not remembered: to go on with an interrupted run, give the same ones again, or write them down.

**Where a value comes from.** `groundup show` prints every value in force with its origin: default,
file and line, or override. `groundup schema` prints the JSON schema for editors.

**Mistakes.** The whole file is checked whichever command you give. All mistakes are printed at
once, each with file, line, dotted key and, for a misspelt key, the one that was probably meant.

**YAML.** The file is YAML 1.2: `no` is text, `1e-3` is a number, `12:30` is text. Keys given twice,
aliases and tags are refused. The file must be UTF-8 and smaller than 1 MiB.

**Quantities.** Where a table says *or quantity*, a unit may follow the number:

| kind | examples | units |
| --- | --- | --- |
| count | `4096`, `1_000`, `10M`, `2e9` | `k` `M` `B` or `G` `T`, powers of a thousand |
| bytes | `200MB`, `16GiB` | `kB` `MB` `GB` `TB`, and `KiB` `MiB` `GiB` `TiB` |
| time | `90s`, `4m`, `1h30m`, `2d` | `ms` `s` `m` `h` `d` `w` |
| money | `$5k`, `1200` | US dollars; `k` `M` |
"""


def page() -> str:
    """The whole page."""
    made = schema()
    definitions: dict[str, Any] = made["$defs"]
    sections = [
        part
        for name, entry in made["properties"].items()
        for part in (
            _section(name, definitions[_name(entry["$ref"])], definitions)
            if "$ref" in entry
            else _single(name, entry)
        )
    ]
    return "\n".join([HEAD, *sections])


def _single(name: str, rule: dict[str, Any]) -> Iterator[str]:
    """A key that is no section."""
    told = [
        f"Default `{json.dumps(rule['default'])}`; accepts {accepts(rule)}.",
        _line(rule["description"]),
    ]
    yield "\n".join([f"## {name}", "", *told, ""])


def _section(name: str, model: dict[str, Any], definitions: dict[str, Any]) -> Iterator[str]:
    """The table of a section, then those of the sections inside it."""
    rules = model["properties"]
    inside = {key: definitions[_name(rule["$ref"])] for key, rule in rules.items()
              if "$ref" in rule}  # fmt: skip
    lines = [f"{'##' if '.' not in name else '###'} {name}", "", _line(model["description"]), ""]
    if rules.keys() - inside.keys():
        lines += ["| key | default | accepts | meaning |", "| --- | --- | --- | --- |"]
    for key, rule in rules.items():
        if key not in inside:
            default = json.dumps(rule.get("default", {}), ensure_ascii=False)
            cells = [f"`{key}`", f"`{default}`", accepts(rule), _line(rule["description"])]
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    for key, rule in rules.items():
        for entry in _entries(rule):
            lines += ["", f"An entry of `{name}.{key}` that is a mapping has the keys:", ""]
            lines += _keys(definitions[entry])
        for entry in set(_inside(rule)) - set(_entries(rule)):
            lines += ["", f"`{name}.{key}` has the keys:", ""]
            lines += _keys(definitions[entry])
    if inside:
        names = ", ".join(f"[`{name}.{key}`](#{name}{key})" for key in inside)
        lines += ["", f"Inside it are sections of their own: {names}."]
    yield "\n".join([*lines, ""])
    for key, below in inside.items():
        yield from _section(f"{name}.{key}", below, definitions)


def _entries(rule: dict[str, Any]) -> Iterator[str]:
    """Names of the models that a list may hold."""
    for choice in rule.get("anyOf", [rule]):
        items = choice.get("items", {})
        yield from (_name(one["$ref"]) for one in items.get("anyOf", [items]) if "$ref" in one)


def _inside(rule: dict[str, Any]) -> Iterator[str]:
    """Names of the models that a value may be, beside others such as null."""
    yield from (_name(one["$ref"]) for one in rule.get("anyOf", ()) if "$ref" in one)


def _keys(model: dict[str, Any]) -> list[str]:
    """A line for each key; keys without a text of their own stand with the one before them."""
    groups: list[tuple[list[str], str]] = []
    for name, told in model["properties"].items():
        if "description" in told or not groups:
            groups.append(([], _line(told.get("description", ""))))
        groups[-1][0].append(f"`{name}`")
    return [f"- {', '.join(names)}: {text}" for names, text in groups]


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def accepts(rule: dict[str, Any]) -> str:
    """What a value may be, in words."""
    if "anyOf" in rule:
        choices = [accepts(choice) for choice in rule["anyOf"]]
        is_number = rule["anyOf"][0].get("type") in ("integer", "number")
        if is_number and choices[1:] == ["text"]:  # a number that may be written with a unit
            return f"{choices[0]}, or quantity"
        return ", or ".join(choices)
    if "enum" in rule or "const" in rule:
        return ", ".join(f"`{name}`" for name in rule.get("enum", [rule.get("const")]))
    if "$ref" in rule:
        return "mapping"
    if rule["type"] == "array":
        return f"list of {accepts(rule['items'])}"
    if rule["type"] == "object":
        inside = rule["additionalProperties"]
        return f"mapping of names to {'values' if inside is True else accepts(inside)}"
    if rule["type"] == "boolean":
        return "`yes`, `no`"
    names = {"integer": "whole number", "number": "number", "string": "text", "null": "`null`"}
    name = names[rule["type"]]
    bounds = ["above {exclusiveMinimum:g}"] if "exclusiveMinimum" in rule else []
    bounds += ["at least {minimum:g}"] if "minimum" in rule and not bounds else []
    bounds += ["at most {maximum:g}"] if "maximum" in rule else []
    if rule.get("exclusiveMaximum", 2**53) < 2**53:
        bounds.append("below {exclusiveMaximum:g}")
    return " ".join([name, " and ".join(bounds).format(**rule)]).strip()


def _line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
