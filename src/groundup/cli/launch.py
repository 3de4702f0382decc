"""``groundup launch``: the same training by torchrun, as a Slurm job, on Kubernetes."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groundup.cli.options import config_option, overrides_argument
from groundup.errors import InputError, UserError

if TYPE_CHECKING:
    from groundup.train.launch.job import Job


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
        click.option(
            "--max-restarts", type=click.IntRange(0), default=3, show_default=True,
            help="Failures without a new checkpoint between them before it is given up.",
        ),
        click.option(
            "--grace-seconds", type=click.IntRange(1), default=120, show_default=True,
            help="Time to save between a request to stop and the kill.",
        ),
        config_option,
        overrides_argument,
        click.argument("folder", default=".", metavar="DIR"),
    )  # fmt: skip
    for option in options:
        function = option(function)
    return function


output_option = click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE",
    help="Where it is written (default: below DIR/launch).",
)  # fmt: skip


@click.group()
def launch() -> None:
    """Start training on one node or many, the nodes that the doctor left out left out.

    The stages before training run first; the doctor looks at the nodes before every start.
    """


@launch.command()
@job_options
@click.option(
    "--rdzv-endpoint",
    "endpoint",
    default="",
    metavar="HOST:PORT",
    help="With several nodes: where they meet, one of them; the same on all.",
)
@click.option(
    "--rdzv-id", "run_id", default="groundup", show_default=True, metavar="NAME",
    help="With several nodes: the name of this job; the same on all.",
)  # fmt: skip
def torchrun(endpoint: str, run_id: str, **given: Any) -> int:
    """Run this node's part of the training of DIR, and run it again when it fails.

    With several nodes give the same command on each. After a failure the doctor looks at the node,
    and training goes on from the last checkpoint; a node that is not fit ends with exit code 2.
    """
    from groundup.hardware import visible_gpus
    from groundup.train.launch.supervise import run_here

    job = read_job(**given)
    if job.gpus > len(visible_gpus()):
        raise UserError(
            f"{job.gpus} GPUs are asked for, and this node has {len(visible_gpus())}",
            where="--gpus-per-node",
            fix="--nproc-per-node starts processes without asking for GPUs",
        )
    return run_here(job, endpoint, run_id, time.sleep)


@launch.command()
@job_options
@output_option
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="One more for sbatch, as partition=gpu or time=24:00:00; may be given several times.",
)
@click.option("--submit", is_flag=True, help="Then give it to sbatch.")
def slurm(output: Path | None, options: tuple[str, ...], submit: bool, **given: Any) -> int:
    """Write the training of DIR as a Slurm batch script."""
    from groundup.train.launch.slurm import script

    job = read_job(**given)
    path = output or job.folder / "launch" / f"{job.name}.sbatch"
    pairs = dict(option.partition("=")[::2] for option in options)
    leave_out = excluded_of(job)
    text = script(job, path.absolute(), sys.executable, leave_out, pairs)
    write(path, text)
    if not submit:
        click.echo(f"submit it by: sbatch {shlex.quote(str(path))}")
        return 0
    if shutil.which("sbatch") is None:
        raise UserError("there is no sbatch here", fix=f"submit {path} where Slurm is installed")
    return subprocess.run(["sbatch", str(path)], check=False).returncode


@launch.command()
@job_options
@output_option
@click.option("--image", required=True, help="Container image that has groundup.")
@click.option("--claim", required=True, help="PersistentVolumeClaim that holds the project.")
@click.option(
    "--mount",
    default="/project",
    show_default=True,
    metavar="PATH",
    help="Where the project is in the container.",
)
@click.option("--namespace", help="Namespace of the job (default: kubectl's).")  # fmt: skip
def kubernetes(
    output: Path | None, image: str, claim: str, mount: str, namespace: str | None, **given: Any
) -> int:
    """Write the training of DIR as a Kubernetes job."""
    from dataclasses import replace

    from groundup.train.launch.kubernetes import manifest

    if not mount.startswith("/"):
        raise InputError(f"{mount!r} is no absolute path", where="--mount")
    job = read_job(**given)
    inside = replace(job, folder=Path(mount))
    path = output or job.folder / "launch" / f"{job.name}.yaml"
    write(path, manifest(inside, image, claim, excluded_of(job), namespace))
    click.echo(f"start it by: kubectl apply -f {shlex.quote(str(path))}")
    return 0


def read_job(
    folder: str,
    config: str | None,
    overrides: tuple[str, ...],
    nodes: str,
    processes: int | None,
    gpus: int | None,
    max_restarts: int,
    grace_seconds: int,
) -> Job:
    """The job that the options and the project file describe; wrong ones are refused here."""
    from groundup.hardware import visible_gpus
    from groundup.project import load_project
    from groundup.train.launch.job import Job, read_nodes

    if "=" in folder and not Path(folder).exists():  # `groundup launch torchrun key=value`
        folder, overrides = ".", (folder, *overrides)
    least, most = read_nodes(nodes)
    project = load_project(folder, config, overrides)
    return Job(
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


def excluded_of(job: Job) -> list[str]:
    """The hosts on the project's list, said when there are any."""
    from groundup.train.doctor.exclude import FOLDER, excluded

    found = excluded(job.folder / FOLDER)
    if found:
        click.echo(f"left out: {', '.join(found)}")
    return found


def write(path: Path, text: str) -> None:
    """Write the file and say where it is; never over what is no plain file."""
    from groundup.files import require_plain_target, write_atomic

    require_plain_target(path)
    write_atomic(path, text)
    os.chmod(path, 0o755 if path.suffix == ".sbatch" else 0o644)
    click.echo(f"written: {path}")
