"""Selection: which documents are kept, and for each of the others one reason.

Rules first, copies second: a document refused by a rule must not stand for its copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from groundup.data.annotate.quality import Quality
from groundup.data.config import DataConfig
from groundup.data.document import Row

# reason → (what it means, whether a document's signals earn it); the first that holds is given.
RULES: dict[str, tuple[str, Callable[[Row | Quality, DataConfig], bool]]] = {
    "too_short": (
        "fewer bytes than data.min_bytes",
        lambda row, config: row.n_bytes < config.min_bytes,
    ),
    "few_letters": (
        "a smaller share of letters than data.min_letter_share",
        lambda row, config: row.letter_share < config.min_letter_share,
    ),
    "long_lines": (
        "longer lines on average than data.max_mean_line_bytes",
        lambda row, config: row.mean_line_bytes > config.max_mean_line_bytes,
    ),
    "repeated_lines": (
        "a larger share of repeated lines than data.max_duplicate_line_share",
        lambda row, config: row.duplicate_line_share > config.max_duplicate_line_share,
    ),
}
COPIES = {
    "exact_copy": "the same text as another document but for white space",
    "near_copy": "at least data.near_duplicate_threshold similar to a kept document",
    "near_copy_of_held_out": "at least that similar to a document of validation or test",
}


def broken_rules(rows: Sequence[Row | Quality], config: DataConfig) -> list[str | None]:
    """For each document the rule it breaks, None where it breaks none."""
    return [
        next((reason for reason, (_, breaks) in RULES.items() if breaks(row, config)), None)
        for row in rows
    ]
