"""The answers of a trial on disk: one line each, brought to the disk before it counts.

A process that is killed loses what was in flight and nothing else: a torn last line is cut off. A
later line of the same request (one that was refused and asked again) holds.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from groundup.errors import InputError
from groundup.files import fsync_folder, storage_errors

ANSWERS = "answers.jsonl"


@dataclass(frozen=True)
class Answer:
    """One line."""

    key: str  # of the request
    reply: str | None  # None: the endpoint refused this request
    problem: str  # what it said then
    finish_reason: str | None  # "length": cut off; None where the endpoint does not say
    input_tokens: int | None
    output_tokens: int | None
    seconds: float
    attempts: int
    usd: float | None  # at the prices of the day; results are priced anew from the tokens


def read_answers(path: Path) -> dict[str, Answer]:
    """The answers in a journal, by request; none where there is no file.

    Raises:
        InputError: a line that is no answer, other than a torn last one.
    """
    with storage_errors(path.parent, reads=True):
        data = path.read_bytes() if path.exists() else b""
    return _answers(_whole_lines(data), path)


class Journal:
    """The journal, open to be added to.

    Raises:
        InputError: a line in it is no answer.
        StorageError: the folder is not writable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with storage_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = _whole_lines(path.read_bytes() if path.exists() else b"")
            self.answers = _answers(whole, path)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            os.ftruncate(self._file, len(whole))
            fsync_folder(path.parent)

    def add(self, answer: Answer) -> None:
        """Write one answer.

        Raises:
            StorageError: the disk is full.
        """
        line = json.dumps(asdict(answer), ensure_ascii=False, allow_nan=False) + "\n"
        with storage_errors(self.path.parent):
            rest = memoryview(line.encode("utf-8", "surrogatepass"))
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        self.answers[answer.key] = answer

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def _whole_lines(data: bytes) -> bytes:
    return data[: data.rfind(b"\n") + 1]


def _answers(data: bytes, path: Path) -> dict[str, Answer]:
    answers = {}
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        try:
            answer = _answer(json.loads(line.decode("utf-8", "surrogatepass")))
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"not a line of answers: {error}", where=f"{path}:{number}", fix="remove the line"
            ) from error
        answers[answer.key] = answer
    return answers


def _answer(found: Any) -> Answer:
    """A line as an answer.

    Raises:
        ValueError: what is wrong with it.
    """
    if not isinstance(found, Mapping) or set(found) != set(_KINDS):
        raise ValueError(f"it must have the fields {', '.join(_KINDS)}")
    for name, kinds in _KINDS.items():
        value = found[name]
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}")
        if isinstance(value, int | float) and not 0 <= value < math.inf:
            raise ValueError(f"{name} is {value!r}")
    return Answer(**found)


_NONE = type(None)
_KINDS: dict[str, tuple[type, ...]] = {
    "key": (str,),
    "reply": (str, _NONE),
    "problem": (str,),
    "finish_reason": (str, _NONE),
    "input_tokens": (int, _NONE),
    "output_tokens": (int, _NONE),
    "seconds": (int, float),
    "attempts": (int,),
    "usd": (int, float, _NONE),
}
