"""Prompts from held-out Python: a function's signature and docstring, and what counts as its body.

The text is only ever parsed, never run: neither the user's nor the model's.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Function:
    """A function moved to the left margin.

    Attributes:
        name: of the function.
        prompt: from ``def`` to the docstring's closing quotes.
        body: the rest of the function as it really is, from that line's break on.
        n_lines: of the body.
    """

    name: str
    prompt: str
    body: str
    n_lines: int


def functions(text: str) -> Iterator[Function]:
    """Module-level functions and methods of a file that have a docstring and a body below.

    Nothing where the file is not Python. Only functions that pass `outcome` themselves.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    tree = parse(text)
    if tree is None:
        return
    lines = text.split("\n")
    for node in _definitions(tree.body):
        docstring, *rest = node.body
        head_end, end = docstring.end_lineno or 0, node.end_lineno or 0
        if ast.get_docstring(node, clean=False) is None or not rest or rest[0].lineno <= head_end:
            continue
        margin = lines[node.lineno - 1][: node.col_offset]
        moved = [_without(margin, line) for line in lines[node.lineno - 1 : end]]
        n_head = head_end - node.lineno + 1
        prompt = "\n".join(moved[:n_head])
        body = "\n" + "\n".join(moved[n_head:]) + "\n"
        if outcome(prompt, body, ended=True) == ACCEPTED:
            yield Function(node.name, prompt, body, end - head_end)


ACCEPTED, OPEN, SYNTAX, EMPTY = "accepted", "does not close", "syntax error", "no body"


def outcome(prompt: str, completion: str, ended: bool) -> str:
    """Strict verdict on a completed function: one of the four words above.

    ``ACCEPTED`` if the function closes, the prompt and the completion up to there are accepted by
    ``ast.parse`` as exactly one function, and behind the docstring there is a statement that is
    not a bare constant (``...`` or a string alone is no body; ``pass`` is).

    Args:
        prompt: signature and docstring, ``def`` at the left margin.
        completion: the text after it.
        ended: the document ends with the completion (it was not cut for length).
    """
    whole = closed(completion, ended)
    if whole is None:
        return OPEN
    tree = parse(prompt + whole)
    if tree is None or len(tree.body) != 1:
        return SYNTAX
    (function,) = tree.body
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        return SYNTAX
    return EMPTY if all(map(_is_constant, function.body[1:])) else ACCEPTED


def closed(completion: str, ended: bool) -> str | None:
    """The completion up to where the function closes; None if it does not.

    It closes where a line begins at the left margin, or where the document ends. (A bracket or
    string that goes on at the margin is cut too, and then fails to parse: that is strict.)
    """
    margin = re.search(r"\n(?=\S)", completion)
    if margin:
        return completion[: margin.end()]
    return completion if ended else None


def parse(text: str) -> ast.Module | None:
    """The syntax tree of ``text``, or None where it is not Python (or drives the parser mad)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes and the like
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            return None


def _definitions(body: Iterable[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from _definitions(node.body)


def _without(margin: str, line: str) -> str:
    """``line`` moved left; a line that begins left of the margin (in a string) loses its blanks."""
    return line[len(margin) :] if line.startswith(margin) else line.lstrip(" \t")


def _is_constant(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
