"""Tables: the same values for a terminal and a pipe, and no cell that steers the terminal."""

from __future__ import annotations

import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.tables import Table, print_json, print_tables, printable, show


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


TABLE = Table(
    "Splits",
    ["split", "documents", "share"],
    [("train", 12345, 0.92), ("validation", 7, None), ("[red]x", 0, 0.0)],
)


def test_a_pipe_gets_aligned_text() -> None:
    file = io.StringIO()
    print_tables([TABLE], file)
    assert file.getvalue() == (
        "Splits\n"
        "split       documents  share\n"
        "----------  ---------  -----\n"
        "train          12,345   0.92\n"
        "validation          7      –\n"
        "[red]x              0      0\n\n"
    )


def test_a_terminal_gets_a_box_with_the_same_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    file = Terminal()
    print_tables([TABLE], file)
    seen = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue())
    assert "╭" in seen
    for cell in ("Splits", "validation", "12,345", "0.92", "[red]x"):
        assert cell in seen


def test_no_color_means_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    file = Terminal()
    print_tables([TABLE], file)
    codes = re.findall(r"\x1b\[([0-9;]*)m", file.getvalue())
    assert not any(re.search(r"\b(3[0-7]|9[0-7]|38|48)\b", code) for code in codes)


def test_a_dumb_terminal_gets_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    file = Terminal()
    print_tables([TABLE], file)
    assert file.getvalue().isascii() is False  # the dash of the empty cell
    assert "╭" not in file.getvalue()


def test_an_empty_table_still_shows_its_columns() -> None:
    file = io.StringIO()
    print_tables([Table("Nothing", ["a", "b"], [])], file)
    assert file.getvalue() == "Nothing\na  b\n-  -\n\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (True, "yes"), (False, "no"), (1234567, "1,234,567"), (0.123456, "0.1235"),
     (1234.5, "1,234"), (2.5e9, "2.5B"), (-3e7, "-30M"), ([1, 2.5], "1, 2.5"), ("x", "x")],
)  # fmt: skip
def test_values_without_a_unit(value: object, text: str) -> None:
    assert show(value) == text


@given(st.text(st.characters(), max_size=30))
def test_printable_text_holds_no_control_and_loses_nothing(text: str) -> None:
    seen = printable(text)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", seen)
    if "\\" not in text and text.isprintable():
        assert seen == text


def test_an_ansi_sequence_is_written_out() -> None:
    assert printable("a\x1b[31mb\n\x9b2J\u202e", keep="\n") == "a\\x1b[31mb\n\\x9b2J\\u202e"


def test_json_is_one_line() -> None:
    file = io.StringIO()
    print_json({"text": "é\nb", "n": 1}, file)
    assert file.getvalue().count("\n") == 1
    assert json.loads(file.getvalue()) == {"text": "é\nb", "n": 1}
