"""``groundup worker``: compute gradients for a run that a parameter server trains."""

from __future__ import annotations

from pathlib import Path

import click

from groundup.cli.options import json_option, project_option
from groundup.cli.run import failure_as_json


@click.command()
@project_option
@click.option("--run", "run_name", metavar="NAME", help="Its run (default: the newest).")
@click.option(
    "--server", metavar="HOST:PORT", help="Where it listens (default: the server on this machine)."
)
@click.option(
    "--token-file", type=click.Path(path_type=Path), metavar="FILE",
    help="The server's token (default: GROUNDUP_WORKER_TOKEN, then server.token of the run).",
)  # fmt: skip
@click.option("--name", metavar="NAME", help="In the server's log (default: host and process).")
@click.option(
    "--threads", type=click.IntRange(1), metavar="N", help="CPU threads (default: the run's)."
)
@json_option
def worker(
    project: str,
    run_name: str | None,
    server: str | None,
    token_file: Path | None,
    name: str | None,
    threads: int | None,
    as_json: bool,
) -> int:
    """Join a run with pretrain.asynchronous.kind parameter_server, on any machine, at any time.

    DIR is the server's project or a copy of it: its artifacts and the run's run.json are needed.
    SIGTERM or Ctrl-C ends it after the samples it is at; nothing is lost however it ends.
    """
    import os
    import socket
    from dataclasses import asdict

    from groundup.stages_worker import address_of, join_run, run_to_join, token_of
    from groundup.tables import print_json
    from groundup.train.signals import stop_requested

    with failure_as_json(as_json):
        folder = Path(project).resolve()
        run = run_to_join(folder, run_name)
        address = read_address(server) if server is not None else address_of(run)
        token = token_of(run, token_file)
        called = name or f"{socket.gethostname()}/{os.getpid()}"
        with stop_requested() as stop:
            done = join_run(folder, run, address, token, name=called, n_threads=threads, stop=stop)
    if as_json:
        print_json({"run": str(run), **asdict(done)})
    else:
        why = done.why or "asked to stop"
        click.echo(f"{called}: {done.applied} updates, {done.refused} gradients refused; {why}")
    return 0


def read_address(text: str) -> tuple[str, int]:
    """``HOST:PORT``; an IPv6 address stands in brackets.

    Raises:
        ConfigError: it is none.
    """
    from groundup.errors import ConfigError

    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ConfigError(
            f"{text!r} is no address", where="--server", fix="write it like 10.0.0.7:29400"
        )
    return host, int(port)
