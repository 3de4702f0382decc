"""The one YAML reader: YAML 1.2 core values, each with its line, from files nobody has vouched for.

PyYAML speaks YAML 1.1, where ``no`` is false, ``1e-3`` a string and ``12:30`` the number 750. Only
its event parser is used here; values are built from the events by the core schema of YAML 1.2
(chapter 10.3 of the specification). Notable: keys are the text as written, repeated keys are
refused with both lines, and aliases and unknown tags are refused outright, so that no file of a
kilobyte can unfold into a gigabyte or name a Python object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from groundup.errors import ConfigError

MAX_BYTES = 2**20  # a project file is a few kilobytes
MAX_DEPTH = 32  # ours nest four deep
MAX_NUMBER_LENGTH = 64  # longer literals are typing accidents, and Python reads them slowly

KeyPath: TypeAlias = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
_CONSTANTS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)


@dataclass(frozen=True)
class Yaml:
    """A document that was read.

    Attributes:
        value: dicts, lists and scalars; None for an empty document.
        lines: 1-based line of every key and list item.
        problems: ``name:line: what`` for everything that is YAML but refused here.
    """

    value: Any
    lines: dict[KeyPath, int]
    problems: tuple[str, ...]


def read_yaml(data: bytes, name: str) -> Yaml:
    """Read one document.

    Args:
        data: the bytes of a file.
        name: the file's name, for messages.

    Raises:
        ConfigError: not UTF-8, not YAML, too large or too deep; with the line.
    """
    if len(data) > MAX_BYTES:
        raise ConfigError(f"the file is larger than {MAX_BYTES // 2**20} MiB", where=name)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"byte 0x{data[error.start]:02x} is not UTF-8",
            where=f"{name}:{line}",
            fix="save the file as UTF-8",
        ) from error
    return _Builder(name).build(_events(text, name))


def _events(text: str, name: str) -> Iterator[yaml.Event]:
    """The parser's events, its errors in our words."""
    try:
        yield from yaml.parse(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"the character {text[error.position]!a} is not allowed in YAML",
            where=f"{name}:{line}",
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark else name
        raise ConfigError(_explain(error), where=place) from error
    except (ValueError, OverflowError) as error:  # chr() and int() inside PyYAML's scanner
        raise ConfigError(f"not valid YAML: {error}", where=name) from error


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "syntax error"
    if "'\\t'" in problem:
        return "a tab where only spaces may indent"
    if "cannot start any token" in problem:
        return f"not valid YAML: {problem}; put the text in quotes"
    return f"not valid YAML: {problem}" + (f" ({error.context})" if error.context else "")


class _Builder:
    """Builds values from events with an explicit stack: depth costs no recursion."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[KeyPath, int] = {}
        self.problems: list[str] = []

    def build(self, events: Iterator[yaml.Event]) -> Yaml:
        """Consume all events of one document."""
        root: list[Any] = []  # one list item: the document
        stack: list[tuple[KeyPath, dict[str, Any] | list[Any]]] = [((), root)]
        key: str | None = None  # a mapping's key that waits for its value
        documents = 0
        for event in events:
            mark = event.start_mark
            line = mark.line + 1 if mark else 0
            path, holder = stack[-1]
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise ConfigError(
                        "a second document begins; a file holds one", where=f"{self.name}:{line}"
                    )
            elif isinstance(event, yaml.CollectionEndEvent):
                stack.pop()
            elif not isinstance(event, yaml.NodeEvent):
                continue
            elif isinstance(holder, dict) and key is None:
                key = self._key(event, line)
                self._note_key((*path, key), holder, line)
            else:
                if isinstance(holder, list):
                    here = (*path, len(holder)) if holder is not root else ()
                    self.lines.setdefault(here, line)
                else:
                    here = (*path, str(key))
                value = self._value(event, line)
                if isinstance(holder, list):
                    holder.append(value)
                elif here[-1] not in holder:
                    holder[str(key)] = value
                key = None
                if isinstance(event, yaml.CollectionStartEvent):
                    stack.append((here, value))
                    if len(stack) > MAX_DEPTH:
                        raise ConfigError(
                            f"nested deeper than {MAX_DEPTH} levels", where=f"{self.name}:{line}"
                        )
        return Yaml(root[0] if root else None, self.lines, tuple(self.problems))

    def _key(self, event: yaml.Event, line: int) -> str:
        if isinstance(event, yaml.ScalarEvent):
            return self._text(event.value, line)
        raise ConfigError("a key must be a plain name", where=f"{self.name}:{line}")

    def _note_key(self, path: KeyPath, holder: dict[str, Any], line: int) -> None:
        if path[-1] in holder:
            self._problem(
                line, f"{dotted(path)}: key given twice (first on line {self.lines[path]})"
            )
        self.lines.setdefault(path, line)

    def _value(self, event: yaml.Event, line: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            self._problem(line, f"alias '*{event.anchor}' is not supported; write the value out")
            return None
        if isinstance(event, yaml.CollectionStartEvent):
            mapping = isinstance(event, yaml.MappingStartEvent)
            if event.tag not in (None, "!", _TAG + ("map" if mapping else "seq")):
                self._problem(line, f"tag {event.tag!r} is not supported")
            return {} if mapping else []
        assert isinstance(event, yaml.ScalarEvent)  # the one kind of node that is left
        return self._scalar(event, line)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> Any:
        text = self._text(event.value, line)
        if event.tag is None and event.implicit[0]:
            return self._core(text, line)
        if event.tag in (None, "!", _TAG + "str"):
            return text
        self._problem(line, f"tag {event.tag!r} is not supported")
        return None

    def _core(self, text: str, line: int) -> Any:
        """The value of a plain scalar by the core schema."""
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if not (integer := _INTEGER.fullmatch(text)) and not _FLOAT.fullmatch(text):
            return text
        if len(text) > MAX_NUMBER_LENGTH:
            self._problem(line, f"a number of {len(text)} characters")
            return None
        if integer:
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        return float(text.replace(".", "", 1) if text[-1] in "fFnN" else text)

    def _text(self, text: str, line: int) -> str:
        if not any("\ud800" <= character <= "\udfff" for character in text):
            return text
        try:  # JSON writes characters beyond U+FFFF as two escapes
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            self._problem(line, f"{text!a} holds half a character (a lone surrogate)")
            return ascii(text)

    def _problem(self, line: int, text: str) -> None:
        self.problems.append(f"{self.name}:{line}: {text}")


def dotted(path: KeyPath) -> str:
    """``("data", "sources", 0)`` → ``data.sources[0]``; odd keys are quoted."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        else:
            name = part if re.fullmatch(r"[\w-]{1,80}", part) else ascii(part[:80])
            shown += f".{name}" if shown else name
    return shown
