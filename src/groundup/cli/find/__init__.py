"""``groundup find``: short measurements before a long run, whose results the plan takes."""

from __future__ import annotations

import click

from groundup.cli.frame import LazyGroup

COMMANDS = {
    "batch-size": (
        "groundup.cli.find.batch_size:batch_size",
        "The largest micro-batch that fits, and the fastest.",
    ),
    "learning-rate": (
        "groundup.cli.find.learning_rate:learning_rate",
        "A rate from one short run in which it grows.",
    ),
    "noise-scale": (
        "groundup.cli.find.noise_scale:noise_scale",
        "The critical batch size, from the gradients' noise.",
    ),
}


@click.command(cls=LazyGroup, commands=COMMANDS)
def find() -> None:
    """Measure a project's own model, data and optimizer before a long run.

    What is found is kept in the project. `groundup plan` shows it, and takes it for what the
    project file leaves open, as long as model, data, tokenizer and optimizer are the same.
    """
