"""The dated tables that groundup ships (chips, prices, laws, runs), and how a user replaces rows.

A catalog is a CSV file with a header; each row says where it is from and when it was read. Files of
the same name in the folder that the environment variable ``GROUNDUP_CATALOG`` names are laid over
the shipped ones: a row with the same key replaces ours (cells left empty keep our value), a new key
adds a row.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cache, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from groundup.errors import InputError

SHIPPED = Path(__file__).parent / "catalog"
VARIABLE = "GROUNDUP_CATALOG"
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Row:
    """One row with its place, so that a wrong cell can be named."""

    values: dict[str, str]
    where: str  # file:line

    def text(self, column: str) -> str:
        """The cell, without spaces around it; empty where there is none."""
        return (self.values.get(column) or "").strip()

    def number(self, column: str) -> float | None:
        """The cell as a number; None where it is empty.

        Raises:
            InputError: it is no finite number; file, line and column are named.
        """
        text = self.text(column)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(f"{column} is {text!r}, which is no number", where=self.where)
        return value

    def needed(self, column: str) -> float:
        """The cell as a number that must be there.

        Raises:
            InputError: it is empty or no number.
        """
        value = self.number(column)
        if value is None:
            raise InputError(f"{column} is empty", where=self.where)
        return value

    def day(self, column: str) -> date | None:
        """The cell as a date; ``2025-03`` is its first day; None where it is empty.

        Raises:
            InputError: it is no date.
        """
        text = self.text(column)
        if not text:
            return None
        year, _, rest = text.partition("-")
        month, _, day = rest.partition("-")
        try:
            return date(int(year), int(month or 1), int(day or 1))
        except ValueError:
            raise InputError(f"{column} is {text!r}, which is no date", where=self.where) from None


def read_catalog(name: str, key: str | None = None, shipped: Path = SHIPPED) -> list[Row]:
    """The rows of the catalog ``name``, the user's laid over ours.

    Args:
        name: of the file, without ``.csv``.
        key: the column by which the user's rows replace ours; None: the user's file replaces all.
        shipped: the folder of ours.

    Raises:
        InputError: a file that cannot be read as a table.
    """
    ours = read_rows(shipped / f"{name}.csv")
    folder = os.environ.get(VARIABLE)
    theirs_file = Path(folder) / f"{name}.csv" if folder else None
    if theirs_file is None or not theirs_file.is_file():
        return ours
    theirs = read_rows(theirs_file)
    if key is None:
        return theirs
    rows = {row.text(key): row for row in ours}
    for row in theirs:
        name_of = row.text(key)
        if not name_of:
            raise InputError(f"{key} is empty", where=row.where)
        base = rows[name_of].values if name_of in rows else {}
        given = {column: cell for column, cell in row.values.items() if cell}
        rows[name_of] = Row({**base, **given}, row.where)
    return list(rows.values())


def read_rows(path: Path) -> list[Row]:
    """Every row of a CSV file; lines that begin with ``#`` are remarks.

    Raises:
        InputError: no such file, not UTF-8, no header, or a row with too many cells.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise InputError("there is no such table", where=str(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read this table: {error}", where=str(path)) from error
    numbered = [(n, line) for n, line in enumerate(lines, 1) if line and not line.startswith("#")]
    reader = csv.DictReader(line for _, line in numbered)
    if not reader.fieldnames:
        raise InputError("the table has no header", where=str(path))
    rows = []
    for values in reader:
        where = f"{path}:{numbered[min(reader.line_num, len(numbered)) - 1][0]}"
        if None in values:
            raise InputError("more cells than the header has columns", where=where)
        rows.append(Row({name: cell or "" for name, cell in values.items()}, where))
    return rows


def cached(function: Callable[P, R]) -> Callable[P, R]:
    """``function``, computed once for its arguments (hashable) and the user's folder of tables."""
    known: Callable[..., R] = cache(lambda folder, *args, **kwargs: function(*args, **kwargs))

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return known(os.environ.get(VARIABLE), *args, **kwargs)

    return call
