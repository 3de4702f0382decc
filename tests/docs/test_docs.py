"""The documentation says what is so: links lead somewhere, commands exist, pages are up to date."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

import groundup
from groundup.cli.frame import COMMANDS, LazyGroup, group
from groundup.errors import GroundupError
from groundup.project import ProjectFile, load_project, values

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
DEFAULTS = {"plan": "project", "decide": "options", "model": "list", "data": "build"}  # of groups
GENERATED = ("project_file", "command_line")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def test_there_are_pages() -> None:
    assert {"README.md", "quickstart.md", "architecture.md"} <= {page.name for page in PAGES}


@every_page
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", text)
    missing = [
        target
        for target in targets
        if not re.match(r"[a-z]+:", target) and not (page.parent / target).exists()
    ]
    assert not missing


@every_page
def test_every_command_that_is_named_exists(page: Path) -> None:
    named = {
        name
        for code in code_of(page)
        for name in re.findall(r"(?:^|/|\s|-m )groundup ([a-z]\w*)\b(?!:)", code, re.MULTILINE)
    }
    assert named <= set(COMMANDS)


@every_page
def test_every_command_of_a_group_that_is_named_exists(page: Path) -> None:
    assert not [wrong for code in code_of(page) for wrong in no_such_commands(code)]


def test_a_command_of_a_group_that_does_not_exist_is_found() -> None:
    assert no_such_commands("$ groundup plan frobnicate --gpu h100") == ["plan frobnicate"]
    assert no_such_commands("groundup decide\ngroundup plan plan.budget=4m | head") == []
    assert no_such_commands("groundup plan --json, groundup decide COMMAND, groundup plan") == []


def no_such_commands(code: str) -> list[str]:
    """What follows the name of a group without being one of its commands, an option or a value."""
    tables = {
        name: found.table
        for name in COMMANDS
        if isinstance(found := group.get_command(click.Context(group), name), LazyGroup)
    }
    return [
        f"{name} {word}"
        for name, word in re.findall(r"(?<![\w-])groundup (\w+) +([a-z][\w.=-]*)", code)
        if name in tables and word not in tables[name] and "=" not in word
    ]


@every_page
def test_every_option_given_to_a_command_is_one_of_its_options(page: Path) -> None:
    helps = load("command_line").page()
    for code in code_of(page):
        joined = code.replace("\\\n", " ")
        for words, rest in re.findall(
            r"groundup ([a-z]\w*(?: [a-z][a-z-]*(?=\s|$)){0,2})([^\n|#]*)", joined
        ):
            name = words
            while f"## groundup {name}\n" not in helps and " " in name:
                name = name.rpartition(" ")[0]  # the last word is none of the command
            if name in DEFAULTS:
                name = f"{name} {DEFAULTS[name]}"  # a group without a word
            rest = words.removeprefix(name) + rest
            part = helps.partition(f"## groundup {name}\n")[2].partition("\n## ")[0]
            for option in re.findall(r"(?<=\s)--[a-z][\w-]*", rest):
                assert re.search(rf"{option}\b", part), f"{name} has no {option}"


@every_page
def test_every_key_that_is_named_is_a_key_of_the_project_file(page: Path) -> None:
    found = {".".join(map(str, key)): value for key, value in values(ProjectFile.model_construct())}
    known = {  # keys and the sections above them
        ".".join(parts[:n]) for key in found if (parts := key.split(".")) for n in range(2, 5)
    }
    free = tuple(f"{key}." for key, value in found.items() if isinstance(value, dict))
    sections = "|".join(ProjectFile.model_fields)
    endings = "json|jsonl|py|yaml|md|csv|html|png|safetensors|model"
    named = {
        key
        for code in code_of(page)
        for key in re.findall(
            rf"(?<![\w./])((?:{sections})(?:\.(?!(?:{endings}|key)\b)[a-z]\w*)+)\b", code
        )
    }
    assert {key for key in named if not key.startswith(free)} <= known


@every_page
def test_every_yaml_example_is_a_valid_project(page: Path, tmp_path: Path) -> None:
    for language, code in fences(page):
        if language == "yaml":
            (tmp_path / "groundup.yaml").write_text(code)
            load_project(tmp_path)


@every_page
def test_every_python_example_parses_and_uses_public_names(page: Path) -> None:
    for language, code in fences(page):
        if language == "python":
            used = {
                node.attr
                for node in ast.walk(ast.parse(code))
                if isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "groundup"
            }
            assert used <= set(groundup.__all__)


@pytest.mark.parametrize("name", GENERATED)
def test_the_generated_page_is_up_to_date(name: str) -> None:
    made = load(name)
    assert made.PAGE.read_text() == made.page(), f"run python docs/make_{name}.py"


def test_the_page_of_the_project_file_has_every_key_with_its_default() -> None:
    page = load("project_file").page()
    rows = re.findall(r"^(?:##+ ([\w.]+)|\| `(\w+)` \| `(.*?)` \||Default `(.*?)`;)", page, re.M)
    section, said = "", {}
    for heading, key, default, alone in rows:
        section = heading or section
        if alone:
            said[section] = alone
        if key and key != "key":
            said[f"{section}.{key}"] = default
    known = {".".join(map(str, key)): value for key, value in values(ProjectFile.model_construct())}
    assert said.keys() == known.keys()
    for key, default in said.items():
        nothing = default == "null"
        assert (known[key] is None) == nothing
        if not nothing:
            assert json.loads(default.replace("\\|", "|")) == (
                list(known[key]) if isinstance(known[key], tuple) else known[key]
            )


@pytest.mark.parametrize("command", ["", "run"])
def test_the_page_of_the_command_line_shows_what_a_terminal_shows(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "groundup", *command.split(), "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert f"```text\n{done.stdout}```\n" in load("command_line").page()


@pytest.mark.parametrize(
    "path", ["first-llm/groundup.yaml", "first-llm/tiny.yaml", "domain-corpus/groundup.yaml"]
)
def test_the_example_is_a_valid_project(path: str) -> None:
    folder, _, name = path.partition("/")
    try:
        load_project(ROOT / "examples" / folder, name)
    except GroundupError as error:
        pytest.fail(str(error))


def load(name: str) -> ModuleType:
    """One of the scripts that make a page."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/make_{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fences(page: Path) -> list[tuple[str, str]]:
    """(language, code) of every fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def code_of(page: Path) -> Iterator[str]:
    """Fenced blocks, Python excepted, and spans of code."""
    text = page.read_text()
    yield from (code for language, code in fences(page) if language != "python")
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
