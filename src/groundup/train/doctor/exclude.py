"""The list of nodes to leave out: ``doctor/exclude.txt``, one host name a line; no torch.

The reasons stand in ``doctor/nodes.json`` beside it. Each visit replaces what is known of the hosts
it has seen and keeps the others: a host that was left out was not there to be seen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from groundup.artifacts import now
from groundup.errors import InputError, LockedError
from groundup.files import lock, read_json, require_plain_target, write_atomic, write_json
from groundup.train.doctor.member import HOST_NAME
from groundup.train.doctor.result import Verdict

FOLDER, LIST, RECORD, LOCK = "doctor", "exclude.txt", "nodes.json", ".lock"
LOCK_SECONDS = 10.0  # several nodes of one shared folder write one after another


def excluded(folder: Path) -> list[str]:
    """The hosts on the list in ``folder`` (``<project>/doctor``); none where there is no list.

    Raises:
        InputError: a line is no host name.
    """
    path = folder / LIST
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found: dict[str, None] = {}
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if name and not HOST_NAME.fullmatch(name):
            raise InputError(
                f"{name!r} is no host name", where=f"{path}:{number}", fix="one name a line"
            )
        if name:
            found[name] = None
    return list(found)


def reasons(path: Path) -> Mapping[str, Sequence[str]]:
    """Host → why it is on the list, as far as the record says."""
    record = read_json(path) if path.is_file() else {}
    found = record.get("exclude") if isinstance(record, dict) else None
    return found if isinstance(found, dict) else {}


def require_place(record_path: Path) -> None:
    """Make sure that `write` can write there, before the nodes are checked for it.

    Raises:
        StorageError: it cannot: a folder that cannot be written, a name that is no plain file's.
    """
    for path in (record_path, record_path.parent / LIST, record_path.parent / LOCK):
        require_plain_target(path)


def write(verdict: Verdict, record_path: Path) -> dict[str, Any]:
    """Write ``record_path`` and the list beside it, and return the record.

    Raises:
        StorageError: they cannot be written, see `require_place`.
        InputError: a list that was written by hand is no list.
    """
    folder = record_path.parent
    require_place(record_path)  # once more: checks take seconds to minutes
    with patient_lock(folder / LOCK):
        seen = {node.host for node in verdict.nodes}
        before = reasons(record_path)
        leave_out = {host: before.get(host, []) for host in excluded(folder) if host not in seen}
        leave_out |= {
            node.host: node.reasons for node in verdict.failed if HOST_NAME.fullmatch(node.host)
        }
        record = {"version": 1, "at": now(), **verdict.to_dict(), "exclude": leave_out}
        write_json(record_path, record)
        write_atomic(folder / LIST, "".join(f"{host}\n" for host in sorted(leave_out)))
    return record


@contextmanager
def patient_lock(path: Path) -> Iterator[None]:
    """Hold ``path``, and wait a little for whoever has it.

    Raises:
        LockedError: it is held for longer than that.
    """
    end = time.monotonic() + LOCK_SECONDS
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(lock(path))
                break
            except LockedError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
        yield
