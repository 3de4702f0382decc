"""What the commands on a training job share: chips, context and batch as they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from groundup.cli.options import COUNT

if TYPE_CHECKING:
    from groundup.plan.hardware import Match

chips_option = click.option("--n", "n_chips", type=COUNT, required=True, help="Number of chips.")
seq_option = click.option(
    "--seq",
    "--context-length",
    "context_length",
    type=COUNT,
    help="Tokens of a sequence (default: the model's context).",
)


def batch_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--global-batch TOKENS`` or ``--global-batch-sequences N``."""
    for option in (
        click.option(
            "--global-batch-sequences", type=COUNT, metavar="N", help="Or sequences of a step."
        ),
        click.option(
            "--global-batch",
            type=COUNT,
            metavar="TOKENS",
            help="Tokens of a step (default: by `groundup plan hyperparameters`).",
        ),
    ):
        function = option(function)
    return function


def batch_tokens(
    tokens: float | None, sequences: float | None, context_length: int
) -> float | None:
    """Tokens of a step, from whichever was given; None: neither.

    Raises:
        InputError: both, or a number that is not positive or, of sequences, not whole.
    """
    from groundup.errors import InputError
    from groundup.plan.limits import require_count, require_positive

    if tokens is not None and sequences is not None:
        raise InputError(
            "--global-batch and --global-batch-sequences both give the batch",
            where="global-batch",
            fix="give one",
        )
    if sequences is not None:
        return require_count(sequences, "global-batch-sequences") * context_length  # type: ignore[arg-type]
    return None if tokens is None else require_positive(tokens, "global-batch")


def chip_notes(match: Match) -> tuple[list[str], list[str]]:
    """Notes and warnings on the chip: what its name stood for, odd peaks, cards without nodes."""
    from groundup.plan.hardware import peak_warnings

    chip = match.chip
    notes = [match.note] if match.note else []
    if chip.node_size == 1 and chip.vendor == "NVIDIA":
        notes.append(
            f"{chip.id} has no links of its own: each card counts as a node, so cards in one "
            "machine are priced as if the network joined them"
        )
    return notes, peak_warnings(chip)
