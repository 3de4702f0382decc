"""The tables that decide ships; a user lays rows over them as over those of plan."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from groundup.errors import InputError
from groundup.plan.catalogs import VARIABLE, Row, read_catalog

SHIPPED = Path(__file__).parent / "catalog"


def rows(name: str, key: str | None = "id") -> tuple[Row, ...]:
    """The rows of one of decide's tables (see `plan.catalogs.read_catalog`), read once.

    Raises:
        InputError: a file that cannot be read as a table.
    """
    return _read(name, key, os.environ.get(VARIABLE))


def assumed(name: str, column: str = "value") -> float:
    """What the costs assume where nothing was answered (`catalog/assumptions.csv`).

    Raises:
        InputError: there is no such assumption, or its cell is empty or no number.
    """
    for row in rows("assumptions"):
        if row.text("id") == name:
            return row.needed(column)
    raise InputError(f"there is no assumption {name!r}", where="assumptions.csv")


@cache
def _read(name: str, key: str | None, folder: str | None) -> tuple[Row, ...]:
    """``folder`` is part of the key: another folder of the user's is another table."""
    return tuple(read_catalog(name, key, SHIPPED))
