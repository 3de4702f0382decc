"""The tables that decide ships; a user lays rows over them as over those of plan."""

from __future__ import annotations

from pathlib import Path

from groundup.errors import InputError
from groundup.plan.catalogs import Row, cached, read_catalog

SHIPPED = Path(__file__).parent / "catalog"


@cached
def rows(name: str, key: str | None = "id") -> tuple[Row, ...]:
    """The rows of one of decide's tables (see `plan.catalogs.read_catalog`), read once.

    Raises:
        InputError: a file that cannot be read as a table.
    """
    return tuple(read_catalog(name, key, SHIPPED))


@cached
def assumed(name: str, column: str = "value") -> float:
    """What the costs assume where nothing was answered (`catalog/assumptions.csv`).

    Raises:
        InputError: there is no such assumption, or its cell is empty or no number.
    """
    for row in rows("assumptions"):
        if row.text("id") == name:
            return row.needed(column)
    raise InputError(f"there is no assumption {name!r}", where="assumptions.csv")


@cached
def lever(name: str) -> float:
    """The factor by which something lowers a bill (`catalog/levers.csv`).

    Raises:
        InputError: there is no such lever, or its factor is empty or no number.
    """
    for row in rows("levers"):
        if row.text("id") == name:
            return row.needed("factor")
    raise InputError(f"there is no lever {name!r}", where="levers.csv")
