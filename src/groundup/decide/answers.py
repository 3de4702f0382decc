"""The answers from a file, the command line or a person at a terminal, and their file.

Everything wrong in a file is said at once, each with file, line and the name that was probably
meant, as in the project file (`groundup.project`). The file may be flat or have a section
``decide``, as a project file does.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from groundup.decide.config import DecideConfig, question
from groundup.decide.contradictions import impossible
from groundup.decide.criteria import read_criteria
from groundup.decide.yaml_file import located, read_file
from groundup.errors import ConfigError
from groundup.files import write_atomic
from groundup.findings import check, shown
from groundup.yaml12 import KeyPath, Yaml, dotted, read_yaml

FILE_NAME = "answers.yaml"
SECTION = "decide"
HEAD = '# Answers for `groundup decide --answers FILE`; null is "don\'t know".\n'
HOW_TO_BEGIN = "`groundup decide --interactive` asks and writes one"
STOP, HELP = ("q", "quit"), ("?", "help")
DONT_KNOW = "don't know"
# What the paper's procedure asks first (planner field note, section 5); the rest is offered.
MAIN = (
    "task_is_narrow",
    "needs_chat",
    "needs_frontier_quality",
    "stage",
    "prompting_ceiling_measured",
    "tokens_per_month",
    "data_may_leave_org",
    "edge_or_offline",
    "unique_tokens",
    "labelled_examples",
    "change_architecture_or_tokenizer",
    "team_llm_skill",
    "budget",
    "deadline_months",
)


def load_answers(file: Path | None, overrides: Sequence[str] = ()) -> DecideConfig:
    """Read and check answers.

    Args:
        file: YAML, flat or with a section ``decide`` (a project file); None: only the overrides.
        overrides: ``key=value``, the value read as YAML; they win over the file.

    Raises:
        ConfigError: everything that is wrong, each with file, line and key.
        StorageError: the file cannot be read.
    """
    raw: dict[str, Any] = {}
    document = Yaml(None, {}, ())
    above: KeyPath = ()
    if file is not None:
        document = read_file(file, missing_fix=HOW_TO_BEGIN)
        raw, above = _section(document, file)
    problems = list(document.problems)
    overridden: dict[str, str] = {}
    for override in overrides:
        key, value, wrong = _read_override(override)
        problems += [f"override {shown(override)}: {text}" for text in wrong]
        if not wrong:
            raw[key], overridden[key] = value, override
    answers, findings = check(DecideConfig, raw)
    in_file = {key: text for key, text in findings.items() if not key or key[0] not in overridden}
    if file is not None:
        problems += located(in_file, document, file, above)
    problems += [
        f"override {shown(overridden[str(key[0])])}: {dotted(key)}: {text}"
        for key, text in findings.items()
        if key not in in_file
    ]
    if problems or answers is None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"{count} in the answers", problems=tuple(_by_line(problems)))
    return answers


def is_ours(path: Path) -> bool:
    """Whether a file was written by `write_answers`, so that it may be written again."""
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return stream.readline() == HEAD.splitlines(keepends=True)[0]
    except OSError:
        return False


def write_answers(path: Path, answers: DecideConfig) -> None:
    """Write a file that `load_answers` reads as the same answers, each under its question.

    Raises:
        StorageError: the disk is full or the folder is not writable.
    """
    lines = [HEAD]
    for name in DecideConfig.model_fields:
        lines += [f"# {line}" for line in textwrap.wrap(question(name), 96)]
        lines += [f"{name}: {written(getattr(answers, name))}", ""]
    write_atomic(path, "\n".join(lines))


def ask(
    answers: DecideConfig,
    read: Callable[[], str],
    say: Callable[[str], None],
    keep: Callable[[DecideConfig], None],
) -> DecideConfig:
    """Ask the questions that matter most, then offer the rest; an empty line leaves one as it is.

    Args:
        answers: what is known already; shown as the default.
        read: the next line that was typed; empty at the end of the input.
        say: prints to the person.
        keep: called with all answers after each one, so that none is lost.

    Returns:
        all answers. ``q`` and the end of the input end the questions.
    """
    rest = [name for name in DecideConfig.model_fields if name not in MAIN]
    say(f"{len(MAIN)} questions. Enter: don't know; ?: why it is asked; q: enough, decide now.")
    answers, go_on = _ask_each(MAIN, answers, read, say, keep)
    if not go_on:
        return answers
    say(f"\nThat is what matters most. {len(rest)} more questions, for costs and fine points?")
    say("  [no] ")
    if read().strip().lower() in ("y", "yes"):
        answers, _ = _ask_each(rest, answers, read, say, keep)
    return answers


def _ask_each(
    names: Sequence[str],
    answers: DecideConfig,
    read: Callable[[], str],
    say: Callable[[str], None],
    keep: Callable[[DecideConfig], None],
) -> tuple[DecideConfig, bool]:
    """All answers, and whether the person goes on."""
    for number, name in enumerate(names, 1):
        say(f"\n{number}/{len(names)} {name}: {question(name)}")
        while True:
            now = getattr(answers, name)
            say(f"  [{DONT_KNOW if now is None else written(now)}] ")
            line = read()
            text = line.strip()
            if not line or text.lower() in STOP:
                return answers, False
            if text in HELP:
                say(_why_asked(name))
                continue
            if not text:
                break
            changed, wrong = _answered(answers, name, text)
            if changed is None:
                say(f"  {'; '.join(wrong)}")
                continue
            answers = changed
            keep(answers)
            break
    return answers, True


def _answered(answers: DecideConfig, name: str, text: str) -> tuple[DecideConfig | None, list[str]]:
    """The answers with one more, or what is wrong with it: alone, or beside the others."""
    known = {key: getattr(answers, key) for key in answers.model_fields_set}
    _, value, wrong = _read_override(f"{name}={text}")
    if wrong:
        return None, wrong
    changed, findings = check(DecideConfig, {**known, name: value})
    if changed is None:
        return None, list(findings.values())
    before = impossible(answers)
    against = [said for said in impossible(changed) if said not in before]
    if against:
        ways = "answer otherwise, or press Enter to leave this one"
        return None, [f"that cannot be: {said}" for said in against] + [ways]
    return changed, []


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


def _section(document: Yaml, file: Path) -> tuple[dict[str, Any], KeyPath]:
    """The answers in a file, flat or its section ``decide``, and where that stands.

    Raises:
        ConfigError: there are no answers in it.
    """
    raw: Any = {} if document.value is None else document.value
    names = DecideConfig.model_fields
    if isinstance(raw, dict) and SECTION in raw and not any(key in names for key in raw):
        section = {} if raw[SECTION] is None else raw[SECTION]
        if isinstance(section, dict):
            return dict(section), (SECTION,)
        raw = section
    if not isinstance(raw, dict):
        raise ConfigError(
            "answers are lines of `name: answer`",
            where=f"{file}:1",
            fix="for example `data_may_leave_org: no`",
        )
    if len(raw) > 1 and all(isinstance(value, dict) for value in raw.values()):
        raise ConfigError(
            f"a file of sections ({', '.join(map(str, raw))}), but none is `{SECTION}`",
            where=str(file),
            fix=f"write the answers below `{SECTION}:`",
        )
    return dict(raw), ()


def _read_override(override: str) -> tuple[str, Any, list[str]]:
    """Key and value of ``key=value``, and what is wrong with its form."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        return "", None, ["write it as key=value, for example budget=$20M"]
    try:
        document = read_yaml(text.encode("utf-8", "surrogatepass"), shown(text))
    except ConfigError as error:
        return "", None, [error.message]
    return key.strip(), document.value, list(document.problems)


def _by_line(problems: Sequence[str]) -> list[str]:
    """In the order of the file, overrides last."""

    def line(problem: str) -> tuple[bool, int]:
        found = re.match(r"[^\n]*?:(\d+): ", problem)
        return problem.startswith("override"), int(found[1]) if found else 0

    return sorted(problems, key=line)
