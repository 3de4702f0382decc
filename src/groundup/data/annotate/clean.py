"""Cleaning: what may be changed in any text without changing what it says.

Code stays code: every step keeps a Python file parseable (the tests parse the whole standard
library before and after). All steps are linear in the text, also on a megabyte of spaces.
"""

from __future__ import annotations

import re

_PAGE_BREAK = re.compile(r"^[ \t\f]*\f", re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # Cc without tab and line feed
_BLANK_LINES = re.compile(r"\n{4,}")


def clean(text: str, markdown: bool = False) -> tuple[str, tuple[str, ...]]:
    """The cleaned text and the names of the steps (keys of `STEPS`) that changed something.

    Args:
        text: as it was read.
        markdown: two spaces at the end of a line are a line break (CommonMark 6.7) and stay.
    """
    changes = []
    for name, step in STEPS.items():
        if markdown and step is _trailing_space:
            step = _trailing_space_in_markdown
        cleaned = step(text)
        if cleaned != text:
            changes.append(name)
            text = cleaned
    return text, tuple(changes)


def _byte_order_mark(text: str) -> str:
    return text.lstrip("\ufeff")


def _line_ends(text: str) -> str:
    if "\r" not in text:
        return text
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _control_characters(text: str) -> str:
    """A space for each, so that no two words join and no escape swallows a quote.

    A page break at the start of a line also takes the white space before it: Python counts the
    indentation from there (language reference, 2.1.8).
    """
    if "\f" in text:
        text = _PAGE_BREAK.sub("", text)
    return _CONTROL.sub(" ", text)


def _trailing_space(text: str) -> str:
    if " \n" not in text and "\t\n" not in text and not text.endswith((" ", "\t")):
        return text
    return "\n".join(line.rstrip(" \t") for line in text.split("\n"))


def _trailing_space_in_markdown(text: str) -> str:
    if " \n" not in text and "\t\n" not in text and not text.endswith((" ", "\t")):
        return text
    return "\n".join(
        bare + "  " if (bare := line.rstrip(" \t")) and line.endswith("  ") else bare
        for line in text.split("\n")
    )


def _blank_lines(text: str) -> str:
    """At most two in a row (what PEP 8 puts between functions)."""
    return _BLANK_LINES.sub("\n\n\n", text)


def _outer_lines(text: str) -> str:
    """No blank line (or byte order mark after one) first, exactly one line end last."""
    inner = text.lstrip("\n\ufeff").rstrip("\n")
    return f"{inner}\n" if inner else ""


STEPS = {
    "byte_order_mark": _byte_order_mark,
    "line_ends": _line_ends,
    "control_characters": _control_characters,
    "trailing_space": _trailing_space,
    "blank_lines": _blank_lines,
    "outer_lines": _outer_lines,
}
