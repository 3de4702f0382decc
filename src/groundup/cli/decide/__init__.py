"""``groundup decide``: buy, adapt or train, with the numbers behind the answer."""

from __future__ import annotations

import click

from groundup.cli.frame import LazyGroup

COMMANDS = {
    "options": (
        "groundup.cli.decide.options:options",
        "Rank the options for your answers (the default).",
    ),
    "models": ("groundup.cli.decide.options:models", "The candidates, bought or open."),
    "techniques": ("groundup.cli.decide.options:techniques", "Prompting to scratch, side by side."),
    "prices": ("groundup.cli.decide.prices:prices", "What pretrained and fine-tuned models cost."),
    "ownership": ("groundup.cli.decide.prices:ownership", "Total cost and break-even of owning."),
    "trial": ("groundup.cli.decide.trial:trial", "Try models on your own evaluation over HTTP."),
}


@click.command(cls=LazyGroup, commands=COMMANDS, default="options")
def decide() -> None:
    """Whether to buy, adapt or train, and what each costs.

    Without a command it ranks the options (`groundup decide options --help`).
    """
