"""How every command of ``groundup find`` begins and ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from groundup.cli.run import INTERRUPTED, failure_as_json

if TYPE_CHECKING:
    from groundup.tables import Table


def finish(
    found: Callable[[Any], dict[str, Any]],
    tables: Callable[[Mapping[str, Any]], Iterable[Table]],
    *,
    project: str,
    config: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> int:
    """Open the project, find, and print; the exit code.

    Args:
        found: project → what was found, and ``is_whole``: whether nobody stopped it.
        tables: of that, for people.
    """
    from groundup.project import load_project
    from groundup.tables import print_json, print_tables

    with failure_as_json(as_json):
        result = found(load_project(project, config, overrides))
    status = "finished" if result["is_whole"] else "interrupted"
    if as_json:
        print_json({"status": status, **result})
    else:
        print_tables(tables(result))
        for place in ("path", "page"):
            if place in result:
                click.echo(f"{place}: {result[place]}")
    return 0 if result["is_whole"] else INTERRUPTED
