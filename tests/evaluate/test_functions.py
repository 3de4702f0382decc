from __future__ import annotations

import ast
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.evaluate.functions import (
    ACCEPTED,
    EMPTY,
    OPEN,
    SYNTAX,
    closed,
    functions,
    outcome,
    parse,
)

FILE = textwrap.dedent('''
    """Module."""

    def plain(x):
        """Double it."""
        return 2 * x

    def no_docstring(x):
        return x

    def only_docstring():
        """Nothing else."""

    class Shelf:
        """Books."""

        @property
        async def method(
            self,
            n: int = 3,
        ) -> int:
            """First line.

            More.
            """

            if n:
                return n
            return 0

    def long():
        """Too long."""
        BODY
''').replace("    BODY", "\n".join(["    x = 1"] * 31))

PROMPT = 'def f(x):\n    """Say."""'


def test_functions_with_docstring_and_body_are_found_and_moved_left() -> None:
    found = {function.name: function for function in functions(FILE)}
    assert list(found) == ["plain", "method", "long"]
    assert [function.n_lines for function in found.values()] == [1, 4, 31]
    assert found["plain"].prompt == 'def plain(x):\n    """Double it."""'
    assert found["plain"].body == "\n    return 2 * x\n"
    method = found["method"]
    assert method.prompt.startswith("async def method(\n    self,")
    assert method.prompt.endswith('\n    More.\n    """')
    assert method.body == "\n\n    if n:\n        return n\n    return 0\n"


def test_every_function_found_passes_its_own_test_also_when_text_follows() -> None:
    for source in (ast.__file__, textwrap.__file__):
        with open(source, encoding="utf-8") as file:
            found = list(functions(file.read()))
        assert len(found) > 5
        for function in found:
            assert outcome(function.prompt, function.body, ended=True) == ACCEPTED
            assert outcome(function.prompt, function.body + "x = 1", ended=False) == ACCEPTED


@pytest.mark.parametrize(
    ("completion", "ended", "verdict"),
    [
        ("\n    return x\n\ndef g", False, ACCEPTED),
        ("\n    return x\n", True, ACCEPTED),
        ("\n    return x", True, ACCEPTED),
        ("\n    pass\nx", False, ACCEPTED),
        ("\n    return x\n", False, OPEN),  # cut for length: it may not have been the end
        ("\n    return (x\n\ny", False, SYNTAX),
        ("\n    return (\nx)", False, SYNTAX),  # goes on at the margin: strict
        ("\n  return x\ny", False, SYNTAX),
        (" + 1\nx", False, EMPTY),
        ("\n    # nothing\nx", False, EMPTY),
        ('\n    ...\n    "more"\nx', False, EMPTY),
        ("\nreturn x\n", False, EMPTY),
        ("", True, EMPTY),
        ("\n    return '\0'\nx", False, SYNTAX),
        ("\n    return '\\d'\nx", False, ACCEPTED),  # warns on some versions: no error
        ("\n    return x\n    # é\n", True, ACCEPTED),
    ],
)
def test_the_verdict_is_strict(completion: str, ended: bool, verdict: str) -> None:
    assert outcome(PROMPT, completion, ended) == verdict


def test_the_cut_is_where_a_line_begins_at_the_margin() -> None:
    assert closed("\n    a\n\n\nb\nc", ended=False) == "\n    a\n\n\n"
    assert closed("x\n    a\n  ", ended=False) is None
    assert closed("x\n    a\n  ", ended=True) == "x\n    a\n  "


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000,
        "-" * 100_000 + "1",
        "not " * 20_000 + "x",
        "x" + ".y" * 50_000,
        "9" * 10_000,
        "\0",
        "\ud800",
        "f'{" * 500,
        "if x:\n" + "".join(" " * n + "if x:\n" for n in range(1, 200)),
        "1 is 1\n'\\d'",
    ],
)
def test_hostile_text_is_judged_and_raises_nothing(text: str) -> None:
    parse(text)
    assert outcome(PROMPT, "\n    " + text, ended=True)
    list(functions(text))


@given(text=st.text(max_size=200), ended=st.booleans())
@settings(deadline=None)
def test_any_completion_has_a_verdict(text: str, ended: bool) -> None:
    assert outcome(PROMPT, text, ended) in {ACCEPTED, OPEN, SYNTAX, EMPTY}


def test_carriage_returns_and_form_feeds_do_not_shift_lines() -> None:
    text = FILE.replace("def no_doc", "\f\ndef no_doc").replace("\n", "\r\n")
    assert [function.name for function in functions(text)] == ["plain", "method", "long"]


def test_prose_has_no_functions() -> None:
    assert list(functions("It was a dark night; the rain fell in torrents.")) == []
