"""The user's own evaluation: JSONL of prompts with what is expected, or multiple choice.

{"prompt": "Capital of France?", "expected": "Paris"}            or a list of right answers
{"prompt": "2 + 2 = ?", "choices": ["3", "4"], "answer": "B"}    letter, place from 0, or text
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundup.errors import ConfigError, InputError, StorageError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
PLACE = "{question}"  # where a prompt file wants the question


@dataclass(frozen=True)
class Item:
    """One question."""

    id: str
    question: str
    expected: tuple[str, ...]  # accepted answers; of multiple choice the right letter
    choices: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The question as asked, choices included."""
        if not self.choices:
            return self.question
        lines = [
            f"{letter}. {choice}" for letter, choice in zip(LETTERS, self.choices, strict=False)
        ]
        return "\n".join([self.question, *lines, "Answer with one letter."])


@dataclass(frozen=True)
class Prompt:
    """An instruction to try; ``{question}`` in it is replaced, else the question follows it."""

    name: str
    text: str

    def around(self, item: Item) -> str:
        """What is asked of the model."""
        if PLACE in self.text:
            return self.text.replace(PLACE, item.text)
        return f"{self.text.rstrip()}\n\n{item.text}" if self.text.strip() else item.text


def read_items(path: Path) -> list[Item]:
    """The items of a file.

    Raises:
        StorageError: it cannot be read.
        ConfigError: lines that are no items, all named at once, or no line at all.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read it: {error.strerror}", where=str(path)) from error
    items, problems = [], []
    seen: dict[str, int] = {}
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            item = _item(json.loads(line), number)
        except (ValueError, RecursionError) as error:
            problems.append(f"{path}:{number}: {error}")
            continue
        if item.id in seen:
            problems.append(f"{path}:{number}: the id {item.id!r} is also on line {seen[item.id]}")
        seen[item.id] = number
        items.append(item)
    if problems:
        count = "1 line is" if len(problems) == 1 else f"{len(problems)} lines are"
        raise ConfigError(f"{count} no evaluation items", problems=tuple(problems[:20]))
    if not items:
        raise InputError("the evaluation is empty", where=str(path))
    return items


def messages(prompt: Prompt, item: Item, shots: Sequence[Item]) -> list[dict[str, str]]:
    """The chat: each shot as a turn that was answered well, then the question."""
    turns = []
    for shot in shots:
        turns += [
            {"role": "user", "content": prompt.around(shot)},
            {"role": "assistant", "content": shot.expected[0]},
        ]
    return [*turns, {"role": "user", "content": prompt.around(item)}]


def _item(found: Any, line: int) -> Item:
    """One line as an item.

    Raises:
        ValueError: what is wrong with it.
    """
    if not isinstance(found, dict):
        raise ValueError("not an object")
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("half of a character (a lone surrogate), which cannot be sent") from None
    question = found.get("prompt", found.get("question"))
    if not isinstance(question, str) or not question.strip():
        raise ValueError('needs "prompt", a text')
    name = str(found.get("id", f"line-{line}"))
    if "choices" in found:
        choices = found["choices"]
        if not isinstance(choices, list) or not 2 <= len(choices) <= len(LETTERS):
            raise ValueError('"choices" must be a list of 2 to 26 texts')
        if not all(isinstance(choice, str) and choice.strip() for choice in choices):
            raise ValueError('every one of "choices" must be a text')
        if len({" ".join(choice.casefold().split()) for choice in choices}) < len(choices):
            raise ValueError('two of "choices" are the same')
        return Item(name, question, (_letter(found.get("answer"), choices),), tuple(choices))
    expected = found.get("expected", found.get("answer"))
    accepted = expected if isinstance(expected, list) else [expected]
    if not accepted or not all(map(_is_answer, accepted)):
        raise ValueError('needs "expected", a text or a list of texts')
    return Item(name, question, tuple(str(one) for one in accepted))


def _is_answer(value: Any) -> bool:
    """A text or a number; not ``true``, ``NaN`` or nothing."""
    if isinstance(value, str):
        return bool(value.strip())
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _letter(answer: Any, choices: Sequence[str]) -> str:
    """The right choice's letter; what could mean two choices is refused."""
    places = set()
    if type(answer) is int and 0 <= answer < len(choices):
        places.add(answer)
    if isinstance(answer, str) and len(answer) == 1 and answer.upper() in LETTERS[: len(choices)]:
        places.add(LETTERS.index(answer.upper()))
    if type(answer) in (int, str) and str(answer) in choices:
        places.add(choices.index(str(answer)))
    if len(places) > 1:
        raise ValueError(f'"answer" is {answer!r}: the text of one choice and the place of another')
    if not places:
        raise ValueError(f'"answer" is {answer!r}, which is none of the {len(choices)} choices')
    return LETTERS[places.pop()]
