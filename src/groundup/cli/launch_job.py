"""What all forms of ``groundup launch`` share: their options, and the job that these describe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groundup.cli.options import config_option, overrides_argument
from groundup.errors import InputError

if TYPE_CHECKING:
    from groundup.project import Project
    from groundup.train.launch.job import Job


def restart_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How often it is started again, and how long a stop may take."""
    options = (
        click.option(
            "--max-restarts", type=click.IntRange(0), default=3, show_default=True,
            help="Failures without a new checkpoint between them before it is given up.",
        ),
        click.option(
            "--grace-seconds", type=click.IntRange(1), default=120, show_default=True,
            help="Time to save between a request to stop and the kill.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def job_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What all forms have in common."""
    options = (
        click.option(
            "--nodes", default="1", metavar="N|MIN:MAX", show_default=True, help="How many nodes."
        ),
        click.option(
            "--nproc-per-node", "processes", type=click.IntRange(1), metavar="N",
            help="Processes per node (default: one per GPU, or one).",
        ),
        click.option(
            "--gpus-per-node", "gpus", type=click.IntRange(1), metavar="N", help="GPUs per node."
        ),
        restart_options,
        config_option,
        overrides_argument,
        click.argument("folder", default=".", metavar="DIR"),
    )  # fmt: skip
    for option in options:
        function = option(function)
    return function


def read_job(**given: Any) -> Job:
    """The job that the options and the project file describe; wrong ones are refused here.

    Raises:
        ConfigError: its processes cannot train what the project file describes.
    """
    project, job = read_project_and_job(**given)
    require_job_trainable(project, job, 0)
    return job


def require_job_trainable(project: Project, job: Job, n_local: int) -> None:
    """Ask of the fewest and of the most nodes whether they could train the project.

    Args:
        n_local: processes that will be on this machine.

    Raises:
        ConfigError: they could not, or the layout is not one of so many processes.
    """
    from groundup.stages import require_trainable
    from groundup.train.launch.job import require_room

    require_room(project.pretrain.layout, job)
    for n_nodes in sorted({job.min_nodes, job.max_nodes}):
        require_trainable(project, n_nodes * job.processes, n_local)


def read_project_and_job(
    folder: str,
    config: str | None,
    overrides: tuple[str, ...],
    nodes: str,
    processes: int | None,
    gpus: int | None,
    max_restarts: int,
    grace_seconds: int,
) -> tuple[Project, Job]:
    """The project file as it is overridden, and the job that it and the options describe.

    Raises:
        InputError: more processes per node than GPUs.
    """
    from groundup.hardware import visible_gpus
    from groundup.project import load_project
    from groundup.train.launch.job import Job, read_nodes

    if gpus and processes and processes > gpus:
        raise InputError(
            f"{processes} processes on {gpus} GPU{'s'[: gpus != 1]} of each node: a process has a "
            "GPU of its own",
            where="--nproc-per-node",
            fix=f"--nproc-per-node {gpus}, or leave --gpus-per-node out to train without GPUs",
        )
    folder, overrides = without_folder(folder, overrides)
    least, most = read_nodes(nodes)
    project = load_project(folder, config, overrides)
    return project, Job(
        name=project.project.name,
        folder=project.folder,
        min_nodes=least,
        max_nodes=most,
        processes=processes or gpus or len(visible_gpus()) or 1,
        gpus=gpus or 0,
        arguments=(*(("--config", config) if config else ()), *overrides),
        max_restarts=max_restarts,
        grace_seconds=grace_seconds,
    )


def without_folder(folder: str, overrides: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The project's folder and the overrides, where `groundup launch local key=value` was given."""
    if "=" in folder and not Path(folder).exists():
        return ".", (folder, *overrides)
    return folder, overrides


def excluded_of(job: Job) -> list[str]:
    """The hosts on the project's list, said when there are any."""
    from groundup.train.doctor.exclude import FOLDER, excluded

    found = excluded(job.folder / FOLDER)
    if found:
        click.echo(f"left out: {', '.join(found)}")
    return found
