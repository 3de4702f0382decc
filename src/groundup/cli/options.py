"""What commands on a project have in common: which project, which values, which form of output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on standard output instead of tables."
)
config_option = click.option(
    "--config", metavar="FILE", help="Project file in that folder (default: groundup.yaml)."
)
overrides_argument = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
project_option = click.option(
    "--project", default=".", metavar="DIR", help="The project's folder (default: here)."
)


def project_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--project DIR --config FILE [KEY=VALUE]... --json``."""
    for option in (json_option, config_option, project_option, overrides_argument):
        function = option(function)
    return function
