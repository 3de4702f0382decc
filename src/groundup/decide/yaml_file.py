"""Reading a small YAML file of a person's: bounded, and every finding with its line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from groundup.errors import ConfigError, StorageError
from groundup.yaml12 import MAX_BYTES, KeyPath, Yaml, dotted, read_yaml


def read_file(path: Path, *, missing_fix: str = "") -> Yaml:
    """The document in a file.

    Args:
        path: of the file; no more than `MAX_BYTES` of it are read.
        missing_fix: what to do where there is none.

    Raises:
        ConfigError: there is no such file, or it is not YAML or too large.
        StorageError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigError(
            "there is no such file", where=str(path), fix=missing_fix or "check its name"
        ) from error
    except OSError as error:
        raise StorageError(f"cannot read it: {error.strerror}", where=str(path)) from error
    return read_yaml(data, str(path))


def located(
    findings: Mapping[KeyPath, str], document: Yaml, path: Path, above: KeyPath = ()
) -> list[str]:
    """What `findings.check` found, each with file, line and key.

    Args:
        findings: key → one sentence.
        document: the values come from.
        path: of its file.
        above: where in the document the checked values stand.
    """
    found = []
    for key, text in findings.items():
        full = (*above, *key)
        lines = (document.lines.get(full[:end]) for end in range(len(full), 0, -1))
        line = next((line for line in lines if line), 1)
        found.append(f"{path}:{line}: {dotted(key) + ': ' if key else ''}{text}")
    return found
