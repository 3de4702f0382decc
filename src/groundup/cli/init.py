"""``groundup init``: a project file in which every setting is explained and commented out.

The file is made from the sections' own models, so its texts and defaults are always those in force.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groundup.errors import ConfigError, InputError

if TYPE_CHECKING:
    from pydantic import BaseModel

FIRST_BUDGET = "4m"  # something to see soon; the user sets the real one

HEAD = """\
# A groundup project: `groundup run` in this folder does everything that is not done yet.
# Lines that begin with `# key:` show the default; take the `# ` away to change one.
# `groundup show` prints all values in force, `groundup schema` the schema for editors.
"""


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--input", "text", metavar="FOLDER", help="The folder of text to train on.")
def init(folder: Path, text: str | None) -> None:
    """Write a commented groundup.yaml into DIR."""
    from groundup.files import write_atomic
    from groundup.project import FILE_NAME

    path = folder / FILE_NAME
    if path.exists():
        raise ConfigError(
            "there is a project file already", where=str(path), fix="change it, or name another DIR"
        )
    if text is not None and not Path(text).is_dir():
        raise InputError("there is no such folder of text", where=text)
    write_atomic(path, project_text(folder, text))
    click.echo(f"wrote {path}; next: groundup run {folder}")


def project_text(folder: Path, text: str | None) -> str:
    """The whole file: sections with every key at its default, commented out."""
    from pydantic import BaseModel

    from groundup.project import ProjectFile

    chosen: dict[str, dict[str, Any]] = {
        "project": {"name": _name(folder)},
        "plan": {"budget": FIRST_BUDGET},
    }
    if text is not None:
        source = Path(text).resolve()
        inside = source.is_relative_to(folder.resolve())
        chosen["data"] = {"input": str(source.relative_to(folder.resolve()) if inside else source)}
    lines = [HEAD]
    for name in ProjectFile.model_fields:
        section = getattr(ProjectFile(), name)
        if not isinstance(section, BaseModel):
            told = ProjectFile.model_fields[name].description or ""
            lines += [*_comment(told, ""), f"# {name}: {_inline(section)}", ""]
            continue
        lines += [*_comment(inspect.getdoc(type(section)) or "", ""), f"{name}:"]
        lines += [*_section(section, chosen.get(name, {}), "  "), ""]
    return "\n".join(lines)


def _section(section: BaseModel, chosen: dict[str, Any], indent: str) -> Iterator[str]:
    from pydantic import BaseModel

    plain = section.model_dump(mode="json")
    for name, field in type(section).model_fields.items():
        yield from _comment(field.description or "", indent)
        value = getattr(section, name)
        if name in chosen:
            yield f"{indent}{name}: {_inline(chosen[name])}"
        elif isinstance(value, BaseModel):
            yield f"{indent}{name}:"
            yield from _section(value, {}, indent + "  ")
        else:
            yield f"{indent}# {name}: {_inline(plain[name])}"


def _comment(text: str, indent: str) -> list[str]:
    width = 96 - len(indent)
    return [f"{indent}# {line}" for line in textwrap.wrap(" ".join(text.split()), width)]


def _inline(value: Any) -> str:
    """JSON is YAML: quoted where a text needs it."""
    from groundup.yaml12 import read_yaml

    if isinstance(value, str) and value.isprintable() and value == value.strip():
        try:
            if read_yaml(f"a: {value}".encode(), "init").value == {"a": value}:
                return value
        except ConfigError:
            pass
    return json.dumps(value, ensure_ascii=False)


def _name(folder: Path) -> str:
    """A project name from the folder's: only what may stand in a file name."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", folder.resolve().name)
    return name.lstrip("._-")[:64] or "project"
