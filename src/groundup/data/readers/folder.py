"""A folder of text files: one document a file, in sorted order, nothing lost silently.

Framing is our own because every library's differs on bad input: a file that is not
UTF-8, holds NUL bytes, has an endless line, is too large or cannot be read is set aside with its
reason and offset, and the rest goes on. Links to folders are not followed, so there are no circles;
links to files are followed inside the tree only.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

# Reasons a file is set aside, and what they mean to a reader of the report.
QUARANTINE_REASONS = {
    "unreadable": "cannot be opened or is not an ordinary file",
    "link_outside": "a link that leads out of the input folder",
    "too_large": "larger than data.max_file_bytes",
    "nul_byte": "holds NUL bytes: binary, or text in UTF-16",
    "long_line": "has a line longer than data.max_line_bytes",
    "not_utf8": "is not UTF-8",
}


@dataclass(frozen=True, slots=True)
class File:
    """A file to be read and the names it goes by: `locator` is its path inside the input."""

    source: str
    locator: str
    path: Path


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A file set aside: a reason of `QUARANTINE_REASONS`, and the byte where it shows."""

    source: str
    locator: str
    reason: str
    n_bytes: int = 0
    offset: int | None = None


@dataclass(slots=True)
class Listing:
    """What an input holds: files to read, files refused, and how many of which other ending."""

    files: list[File] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    other_endings: Counter[str] = field(default_factory=Counter)


def list_folder(
    folder: Path,
    source: str,
    extensions: tuple[str, ...],
    skip: tuple[str, ...] = (),
) -> Listing:
    """List the text files below ``folder``, sorted by locator.

    Args:
        folder: the root; locators are relative to it.
        source: the name of the input.
        extensions: endings wanted, lower case, with their dot.
        skip: glob patterns of names (files or folders) left out; hidden ones always are.
    """
    listing = Listing()
    real = os.path.realpath(folder)

    def refuse(path: str, reason: str) -> None:
        listing.quarantined.append(Quarantined(source, locator_of(path, folder), reason))

    def failed(error: OSError) -> None:
        refuse(error.filename, "unreadable")

    def leads_outside(path: str) -> bool:
        return os.path.islink(path) and not Path(os.path.realpath(path)).is_relative_to(real)

    for parent, folders, names in os.walk(folder, onerror=failed):
        folders[:] = [name for name in folders if _wanted(name, skip)]
        for name in folders:
            if leads_outside(path := os.path.join(parent, name)):
                refuse(path, "link_outside")
        for name in names:
            path, ending = os.path.join(parent, name), os.path.splitext(name)[1].lower()
            if not _wanted(name, skip):
                continue
            if ending not in extensions:
                listing.other_endings[ending or "no ending"] += 1
            elif leads_outside(path):
                refuse(path, "link_outside")
            else:
                listing.files.append(File(source, locator_of(path, folder), Path(path)))
    listing.files.sort(key=lambda file: file.locator)
    listing.quarantined.sort(key=lambda file: file.locator)
    return listing


def _wanted(name: str, skip: tuple[str, ...]) -> bool:
    return not name.startswith(".") and not any(Path(name).match(pattern) for pattern in skip)


def locator_of(path: str, folder: Path) -> str:
    """Path relative to ``folder`` with ``/``; bytes of a name that are not UTF-8 are escaped."""
    relative = Path(os.path.relpath(path, folder)).as_posix()
    return relative.encode(errors="backslashreplace").decode()


def read_text(file: File, max_file_bytes: int, max_line_bytes: int) -> str | Quarantined:
    """The text of a file, or why it is set aside.

    Memory stays below five times ``max_file_bytes``: the bytes, and a text of up to four bytes a
    character (one emoji makes all of them as wide as it).
    """

    def refuse(reason: str, n_bytes: int, offset: int | None = None) -> Quarantined:
        return Quarantined(file.source, file.locator, reason, n_bytes, offset)

    data = read_bytes(file, max_file_bytes)
    if isinstance(data, Quarantined):
        return data
    if (offset := data.find(b"\0")) >= 0:
        return refuse("nul_byte", len(data), offset)
    if (offset := find_long_line(data, max_line_bytes)) >= 0:
        return refuse("long_line", len(data), offset)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        return refuse("not_utf8", len(data), error.start)


def read_bytes(file: File, max_file_bytes: int) -> bytes | Quarantined:
    """The bytes of a file, or why they are not read."""
    try:
        info = file.path.stat()
        if not stat.S_ISREG(info.st_mode):  # a pipe would wait for its writer for ever
            return Quarantined(file.source, file.locator, "unreadable")
        if info.st_size > max_file_bytes:
            return Quarantined(file.source, file.locator, "too_large", info.st_size)
        return file.path.read_bytes()
    except OSError:
        return Quarantined(file.source, file.locator, "unreadable")


def find_long_line(data: bytes, max_line_bytes: int) -> int:
    """Offset of the first line longer than ``max_line_bytes`` (CR or LF ends one), or -1.

    Jumps from window to window: a file of short lines costs one look per window.
    """
    start = 0
    while len(data) - start > max_line_bytes:
        window = start, start + max_line_bytes + 1
        end = max(data.rfind(b"\n", *window), data.rfind(b"\r", *window))
        if end < 0:
            return start
        start = end + 1
    return -1
