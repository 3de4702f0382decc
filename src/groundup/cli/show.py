"""``groundup show`` and ``groundup schema``: what the project file says, and what it may say."""

from __future__ import annotations

import json

import click

from groundup.cli.options import project_options


@click.command()
@project_options
def show(project: str, config: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Print every value of the project with its origin: default, file and line, or override."""
    from groundup.project import load_project, values
    from groundup.tables import Table, print_json, print_tables
    from groundup.yaml12 import dotted

    loaded = load_project(project, config, overrides)
    merged = {dotted(path): value for path, value in values(loaded)}
    if as_json:
        entries = {
            key: {"value": value, "origin": loaded.origins[key]} for key, value in merged.items()
        }
        print_json({"folder": str(loaded.folder), "values": entries})
        return
    rows = [
        (key, json.dumps(value, ensure_ascii=False), loaded.origins[key])
        for key, value in merged.items()
    ]
    print_tables([Table(str(loaded.folder), ["key", "value", "origin"], rows)])


@click.command()
def schema() -> None:
    """Print the JSON schema of groundup.yaml, for completion and checks in an editor."""
    from groundup.project import schema as project_schema

    click.echo(json.dumps(project_schema(), indent=1, ensure_ascii=False))
