"""``groundup model``: the presets of every family, their shape and their exact parameters."""

from __future__ import annotations

import click

from groundup.cli.frame import LazyGroup

COMMANDS = {
    "list": ("groundup.cli.presets:list_models", "Every preset with its size and source."),
    "show": ("groundup.cli.presets:show_model", "The config, parameters and FLOPs of one."),
    "params": ("groundup.cli.plan.memory:params", "Exact parameters of a model."),
}


@click.command(cls=LazyGroup, commands=COMMANDS)
def model() -> None:
    """The models that are known by name."""
