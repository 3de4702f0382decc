"""``groundup doctor``: whether the nodes are fit for a run, and which to leave out."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import click

from groundup.cli.options import DURATION, json_option
from groundup.errors import InputError


@click.command()
@click.argument("folder", default=".", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the results go; the list exclude.txt is written beside it "
    "(default: DIR/doctor/nodes.json).",
)
@click.option(
    "--seconds",
    type=DURATION,
    default=10.0,
    show_default=True,
    help="How long the checks of one node may take.",
)
@click.option(
    "--join-seconds",
    type=DURATION,
    default=60.0,
    show_default=True,
    help="How long a rank may take to come, and a check to end.",
)
@click.option(
    "--hosts",
    metavar="A,B,…",
    default="",
    help="Host name of each rank in order, to name one that never comes.",
)
@json_option
def doctor(
    folder: Path,
    output: Path | None,
    seconds: float,
    join_seconds: float,
    hosts: str,
    as_json: bool,
) -> int:
    """Check this node; started by torchrun, every node and the network between them.

    Matrix products with a known answer on every device and their speed, memory patterns, disk with
    fsync, clock, versions, GPU errors. DIR is the project: its disk is tested and doctor/ in it
    gets the results. Exit code 2 if a node should be left out; `groundup launch` leaves it out.
    """
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # who is missing, we say: not its stack
    from groundup.tables import print_json, print_tables
    from groundup.train import doctor as visit
    from groundup.train.doctor import exclude
    from groundup.train.doctor.member import member
    from groundup.train.doctor.report import tables

    limits = visit.Limits(seconds=seconds, join_seconds=join_seconds, hang_seconds=join_seconds)
    is_first, record = member().rank == 0, output or folder / exclude.FOLDER / exclude.RECORD
    if is_first and not folder.is_dir():
        raise InputError("there is no such folder", where=str(folder), fix="name the project")
    if is_first:
        exclude.require_place(record)
    names = [name for name in hosts.split(",") if name]
    verdict = visit.check(folder, limits, names)
    code = 2 if verdict.failed else 0
    if is_first:
        if not as_json:
            print_tables(tables(verdict))
        written = exclude.write(verdict, record)
        if as_json:
            print_json(written)
        else:
            seen = {node.host for node in verdict.nodes}
            for host, reasons in written["exclude"].items():
                what = "leave out" if host in seen else "not seen now, still left out:"
                click.echo(f"{what} {host}: {'; '.join(reasons) or 'put on the list by hand'}")
            click.echo(f"results: {record}")
    leave_behind(code)
    return code


def leave_behind(code: int) -> None:
    """End here if a check hangs in a thread: waiting for it at exit would hang this process too."""
    from groundup.train.doctor.run import THREAD

    if any(thread.name == THREAD for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
