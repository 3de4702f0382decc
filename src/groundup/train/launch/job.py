"""What is started: ``groundup pretrain`` of one project, by so many processes on so many nodes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from groundup.errors import ConfigError, InputError
from groundup.train.parallel.layout import (
    LayoutConfig,
    layout_of,
    nearest_of,
    nearest_size,
    require_multiple,
)

PORT = 29400  # torchrun's own default for its rendezvous
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123, as Kubernetes asks
ENDPOINT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*)(:\d{1,5})?")


@dataclass(frozen=True)
class Job:
    """One training job.

    Attributes:
        name: of the project; letters, digits, ``._-``.
        folder: the project's, absolute.
        min_nodes, max_nodes: it runs on any number between (torchrun's elastic form).
        processes: per node.
        gpus: per node that a scheduler is asked for; 0 asks for none.
        arguments: of ``groundup pretrain`` besides the project: ``--config FILE``, ``key=value``.
        max_restarts: how often it may fail without a new checkpoint before it is given up.
        grace_seconds: between the request to stop and the kill; saving happens in it.
    """

    name: str
    folder: Path
    min_nodes: int = 1
    max_nodes: int = 1
    processes: int = 1
    gpus: int = 0
    arguments: tuple[str, ...] = ()
    max_restarts: int = 3
    grace_seconds: int = 120

    def groundup(self, command: str) -> list[str]:
        """The words after ``python`` of a command on the project."""
        return ["-m", "groundup", command, "--project", str(self.folder), *self.arguments]


def read_nodes(text: str) -> tuple[int, int]:
    """``4`` or ``2:4`` as least and most nodes.

    Raises:
        InputError: it is neither.
    """
    match = re.fullmatch(r"(\d{1,6})(?::(\d{1,6}))?", text)
    least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= least <= most:
        raise InputError(
            f"{text!r} is no number of nodes", where="--nodes", fix="write it like 4 or 2:4"
        )
    return least, most


def require_room(layout: LayoutConfig, job: Job) -> None:
    """Check that every number of nodes that the job may run on holds the layout.

    Raises:
        ConfigError: one does not; with the nearest numbers that do.
    """
    for n_nodes in range(job.min_nodes, job.max_nodes + 1):
        size = n_nodes * job.processes
        try:
            require_multiple(layout, size)
            if not layout.planned:
                layout_of(layout, size)
        except ConfigError as error:
            enough = nearest_size(layout, size)
            on = max(n for n in range(1, min(n_nodes, enough) + 1) if enough % n == 0)
            raise ConfigError(
                f"{error.message} ({n_nodes} node{'s'[: n_nodes != 1]} × {job.processes})",
                where="pretrain.layout, --nodes, --nproc-per-node",
                fix=f"--nodes {on} --nproc-per-node {enough // on}, or set the layout to "
                f"{nearest_of(layout, size)}",
            ) from error


def torchrun_arguments(job: Job, worker: Sequence[str], endpoint: str, run_id: str) -> list[str]:
    """What torchrun itself is told for ``worker`` (the words after ``python``).

    Restarts are ours, not torchrun's: between two of them the doctor looks at the node.

    Raises:
        InputError: several nodes without an endpoint, or something that is none. (One node without
            meets itself at a free port.)
    """
    words = ["--nproc-per-node", str(job.processes), "--max-restarts", "0"]
    if job.max_nodes == 1 and not endpoint:
        return ["--standalone", *words, *worker]
    if not ENDPOINT.fullmatch(endpoint):
        raise InputError(
            f"{endpoint!r} is no place to meet at"
            if endpoint
            else "several nodes, nowhere to meet",
            where="--rdzv-endpoint",
            fix=f"name one of the nodes, the same on all of them: HOST:{PORT}",
        )
    if job.max_nodes == 1:  # else its name is looked up
        words += ["--local-addr", endpoint.rpartition(":")[0].strip("[]")]
    return [
        "--nnodes", f"{job.min_nodes}:{job.max_nodes}", *words, "--rdzv-backend", "c10d",
        f"--rdzv-endpoint={endpoint}", f"--rdzv-id={run_id}", *worker,
    ]  # fmt: skip


def label(name: str) -> str:
    """The project's name as Kubernetes writes names.

    Raises:
        InputError: nothing of it is left.
    """
    made = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:52].strip("-")
    if not LABEL.fullmatch(made):
        raise InputError(f"{name!r} cannot name a job", where="project.name", fix="letters, digits")
    return made
