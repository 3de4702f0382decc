"""Quality signals of one document: measured here, judged in `select`.

Shares are counted on UTF-8 bytes: a character beyond ASCII counts as one letter.
"""

from __future__ import annotations

from dataclasses import dataclass

_SPACE = b" \t\n"
_CONTINUATION = bytes(range(0x80, 0xC0))  # bytes 2 to 4 of a character
_LETTERS = bytes(
    byte for byte in range(256) if (chr(byte).isascii() and chr(byte).isalpha()) or byte >= 0xC0
)


@dataclass(frozen=True, slots=True)
class Quality:
    """The quality signals; names are the columns of ``signals.parquet``."""

    n_bytes: int
    n_lines: int
    letter_share: float
    duplicate_line_share: float
    mean_line_bytes: float


def measure_quality(data: bytes) -> Quality:
    """Measure a cleaned document, given as UTF-8.

    Returns:
        Letters among visible characters; bytes of lines that occurred before among bytes of all
        lines (white space around lines not counted); mean bytes of the lines that are not blank.
    """
    visible = len(data.translate(None, _SPACE + _CONTINUATION))
    letters = visible - len(data.translate(None, _SPACE + _CONTINUATION + _LETTERS))
    lines = [line for line in map(bytes.strip, data.split(b"\n")) if line]
    n_line_bytes = sum(map(len, lines))
    n_repeated_bytes = n_line_bytes - sum(map(len, set(lines)))
    return Quality(
        n_bytes=len(data),
        n_lines=data.count(b"\n"),
        letter_share=letters / max(visible, 1),
        duplicate_line_share=n_repeated_bytes / max(n_line_bytes, 1),
        mean_line_bytes=n_line_bytes / max(len(lines), 1),
    )
