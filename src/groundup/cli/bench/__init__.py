"""``groundup bench``: what the parts of groundup are worth, measured on this machine."""

from __future__ import annotations

import click

from groundup.cli.frame import LazyGroup

COMMANDS = {
    "guard": ("groundup.cli.bench.guard:guard", "Faults in small trainings, and who recovers."),
    "train": ("groundup.cli.bench.train:train", "Tokens per second of real training steps."),
}


@click.command(cls=LazyGroup, commands=COMMANDS)
def bench() -> None:
    """Measurements of its own parts, on small models and on this machine."""
