"""``groundup verify``: whether every file is still the one that was written."""

from __future__ import annotations

from pathlib import Path

import click

from groundup.cli.options import json_option
from groundup.errors import CorruptError, InputError


@click.command()
@click.argument("path", default=".", type=click.Path(path_type=Path))
@json_option
def verify(path: Path, as_json: bool) -> None:
    """Check every file, tensor and manifest under PATH against its hash.

    PATH is a project, a run, an artifact or a checkpoint. Exit code 2 if one is bad; each is named.
    """
    from groundup.tables import print_json
    from groundup.track.verify import verify as verify_folder

    if not path.is_dir():
        raise InputError("there is no such folder", where=str(path))
    checked, bad = verify_folder(path)
    if not checked:
        raise InputError(
            "nothing here has a manifest",
            where=str(path),
            fix="name a project, a run, an artifact or a checkpoint",
        )
    if as_json:
        status = "bad" if bad else "ok"
        print_json({"status": status, "path": str(path), "checked": checked, "bad": bad})
    if bad:
        names = "\n         ".join(bad)
        raise CorruptError(
            f"{len(bad)} of {checked} files and records are damaged",
            where=names,
            fix="remove the damaged folder; `groundup run` makes it again or uses the one before",
        )
    if not as_json:
        click.echo(f"{checked} files and records are as they were written")
