"""The answers from a file, the command line or a person at a terminal, and their file.

Everything wrong in a file is said at once, each with file, line and the name that was probably
meant, as in the project file (`groundup.project`). The file may be flat or have one section
``decide``.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from groundup.decide.config import DecideConfig
from groundup.decide.criteria import read_criteria
from groundup.errors import ConfigError, StorageError
from groundup.files import write_atomic
from groundup.findings import check, shown
from groundup.yaml12 import MAX_BYTES, KeyPath, dotted, read_yaml

FILE_NAME = "answers.yaml"
SECTION = "decide"
HEAD = '# Answers for `groundup decide --answers FILE`; null is "don\'t know".\n'
STOP, HELP = ("q", "quit"), ("?", "help")


def load_answers(file: Path | None, overrides: Sequence[str] = ()) -> DecideConfig:
    """Read and check answers.

    Args:
        file: YAML, flat or with a section ``decide``; None: only the overrides.
        overrides: ``key=value``, the value read as YAML; they win over the file.

    Raises:
        ConfigError: everything that is wrong, each with file, line and key.
        StorageError: the file cannot be read.
    """
    raw: dict[str, Any] = {}
    places: dict[str, str] = {}
    problems: list[str] = []
    if file is not None:
        raw, places, problems = _read_file(file)
    for override in overrides:
        problems += _apply(override, raw, places)
    answers, findings = check(DecideConfig, raw)
    for key, text in findings.items():
        place = places.get(str(key[0]), str(file)) if key else str(file)
        problems.append(f"{place}: {dotted(key) + ': ' if key else ''}{text}")
    if problems or answers is None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"{count} in the answers", problems=tuple(_by_line(problems)))
    return answers


def write_answers(path: Path, answers: DecideConfig) -> None:
    """Write a file that `load_answers` reads as the same answers, each under its question.

    Raises:
        StorageError: the disk is full or the folder is not writable.
    """
    lines = [HEAD]
    for name, one in DecideConfig.model_fields.items():
        question = " ".join((one.description or "").split())
        lines += [f"# {line}" for line in textwrap.wrap(question, 96)]
        lines += [f"{name}: {written(getattr(answers, name))}", ""]
    write_atomic(path, "\n".join(lines))


def ask(
    answers: DecideConfig,
    read: Callable[[], str],
    say: Callable[[str], None],
    keep: Callable[[DecideConfig], None],
) -> DecideConfig:
    """Ask one question after the other; an empty line keeps what is known or leaves it open.

    Args:
        answers: what is known already; shown as the default.
        read: the next line that was typed; empty at the end of the input.
        say: prints to the person.
        keep: called with all answers after each one, so that none is lost.

    Returns:
        all answers. ``q`` and the end of the input end the questions.
    """
    known = {name: getattr(answers, name) for name in answers.model_fields_set}
    names = list(DecideConfig.model_fields)
    say(f"{len(names)} questions. Enter: don't know; ?: why it is asked; q: enough, decide now.")
    for number, name in enumerate(names, 1):
        question = " ".join((DecideConfig.model_fields[name].description or "").split())
        say(f"\n{number}/{len(names)} {name}: {question}")
        while True:
            now = getattr(answers, name)
            shown_now = "don't know" if now is None else written(now)
            say(f"  [{shown_now}] ")
            line = read()
            text = line.strip()
            if not line or text.lower() in STOP:
                return answers
            if text in HELP:
                say(_why_asked(name))
                continue
            if not text:
                break
            raw = dict(known)
            wrong = _apply(f"{name}={text}", raw, {})
            checked, findings = check(DecideConfig, raw) if not wrong else (None, {})
            if checked is None:
                said = [*wrong, *findings.values()]
                say(f"  {'; '.join(said)}")
                continue
            known, answers = raw, checked
            keep(answers)
            break
    return answers


def written(value: Any) -> str:
    """A value as it stands in the file."""
    match value:
        case None:
            return "null"
        case bool():
            return "yes" if value else "no"
        case float() if value.is_integer():
            return str(int(value))
    return str(value)


def _why_asked(name: str) -> str:
    """The criteria that look at an answer."""
    options = {0: "all", 1: "buy", 2: "adapt", 3: "train"}
    found = [
        f"  {one.id} ({options[one.option]}, {one.effect}): {one.reason}"
        for one in read_criteria()
        if one.field == name
    ]
    return "\n".join(found) or "  It is needed for the costs or the shortlist, not for the ranking."


def _read_file(file: Path) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """The values, the place of each key, and what is refused of the YAML."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigError(
            "there is no such file of answers",
            where=str(file),
            fix="`groundup decide --interactive` asks and writes one",
        ) from error
    except OSError as error:
        raise StorageError(f"cannot read it: {error.strerror}", where=str(file)) from error
    document = read_yaml(data, str(file))
    raw: Any = {} if document.value is None else document.value
    above: KeyPath = ()
    if isinstance(raw, dict) and list(raw) == [SECTION]:
        raw, above = raw[SECTION] or {}, (SECTION,)
    if not isinstance(raw, dict):
        raise ConfigError(
            "answers are lines of `name: answer`",
            where=f"{file}:1",
            fix="for example `data_may_leave_org: no`",
        )
    places = {
        str(key): f"{file}:{document.lines[(*above, key)]}"
        for key in raw
        if (*above, key) in document.lines
    }
    return raw, places, list(document.problems)


def _apply(override: str, raw: dict[str, Any], places: dict[str, str]) -> list[str]:
    """Lay one ``key=value`` over ``raw``; what is wrong with its form."""
    name = f"override {shown(override)}"
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        return [f"{name}: write it as key=value, for example budget=$20M"]
    try:
        document = read_yaml(text.encode("utf-8", "surrogatepass"), name)
    except ConfigError as error:
        return [f"{name}: {error.message}"]
    raw[key.strip()] = document.value
    places[key.strip()] = name
    return list(document.problems)


def _by_line(problems: Sequence[str]) -> list[str]:
    """In the order of the file, overrides last."""

    def line(problem: str) -> tuple[bool, int]:
        found = re.match(r"[^\n]*?:(\d+): ", problem)
        return problem.startswith("override"), int(found[1]) if found else 0

    return sorted(problems, key=line)
