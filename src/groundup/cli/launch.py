"""``groundup launch``: the same training here, by torchrun, Slurm, Kubernetes, Ray, or others."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groundup.cli.launch_job import (
    excluded_of,
    job_options,
    read_job,
    read_project_and_job,
    require_job_trainable,
    restart_options,
    without_folder,
)
from groundup.cli.options import config_option, json_option, overrides_argument
from groundup.errors import InputError, UserError

if TYPE_CHECKING:
    pass


output_option = click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE",
    help="Where it is written (default: below DIR/launch).",
)  # fmt: skip


class LaunchGroup(click.Group):
    """``--emit ENGINE …`` is the command ``emit ENGINE …``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the option's words in the command's order.

        Raises:
            click.UsageError: one of the commands that start something is named too.
        """
        for place, word in enumerate(args):
            if word == "--emit" and place + 1 < len(args):
                engine, rest = args[place + 1], [*args[:place], *args[place + 2 :]]
            elif word.startswith("--emit="):
                engine, rest = word.partition("=")[2], [*args[:place], *args[place + 1 :]]
            else:
                continue
            if rest and rest[0] in self.commands and not Path(rest[0]).is_dir():
                raise click.UsageError(
                    f"--emit only writes files for {engine}, and `{rest[0]}` starts or writes our "
                    f"own training: leave one of them out (groundup launch --emit {engine} DIR)",
                    ctx,
                )
            args = ["emit", engine, *rest]
            break
        return super().parse_args(ctx, args)


@click.group(cls=LaunchGroup)
@click.option(
    "--emit", metavar="ENGINE", expose_value=False,
    help="Write the equivalent configuration for another engine, as `launch emit` does.",
)  # fmt: skip
def launch() -> None:
    """Start training on one node or many, the nodes that the doctor left out left out.

    The stages before training run first; the doctor looks at the nodes before every start.
    """


@launch.command()
@click.option(
    "--ranks", "n_ranks", type=click.IntRange(1), metavar="N",
    help="Processes (default: one per GPU, or one).",
)  # fmt: skip
@click.option(
    "--address", default="", metavar="HOST:PORT",
    help="Where they meet (default: a free port of this machine).",
)  # fmt: skip
@restart_options
@config_option
@click.argument("folder", default=".", metavar="DIR")
@overrides_argument
def local(n_ranks: int | None, address: str, **given: Any) -> int:
    """Run the training of DIR in N processes on this machine; any layout.

    Ctrl-C saves and ends all of them; the same command goes on.
    """
    from groundup.hardware import available_cores
    from groundup.progress import say
    from groundup.stages import require_trainable
    from groundup.train.launch.local import (
        meeting_place,
        require_devices,
        usable_gpus,
    )
    from groundup.train.launch.supervise import run_here

    n_ranks = n_ranks or len(usable_gpus()) or 1
    project, job = read_project_and_job(**given, nodes="1", processes=n_ranks, gpus=None)
    section = project.pretrain
    require_devices(section.device, n_ranks)
    place = meeting_place(address)
    require_trainable(project, n_ranks, n_ranks)
    cores = available_cores()
    on_cpu = section.device == "cpu" or not usable_gpus()
    if on_cpu and n_ranks > 1 and (section.n_threads or cores) * n_ranks > cores:
        each = max(1, cores // n_ranks)
        say(f"{cores} cores for {n_ranks} ranks: pretrain.n_threads={each} leaves each its own")
    planned = partial(require_trainable, project, n_ranks, 0)
    return run_here(job, place, "groundup", time.sleep, planned)


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

    project, job = read_project_and_job(**given)
    if job.gpus > len(visible_gpus()):
        raise UserError(
            f"{job.gpus} GPUs are asked for, and this node has {len(visible_gpus())}",
            where="--gpus-per-node",
            fix="--nproc-per-node starts processes without asking for GPUs",
        )
    require_job_trainable(project, job, job.processes)
    planned = partial(require_job_trainable, project, job, 0)
    return run_here(job, endpoint, run_id, time.sleep, planned)


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
@click.option("--run", "is_run", is_flag=True, help="Then run it here (needs ray).")
def ray(output: Path | None, is_run: bool, **given: Any) -> int:
    """Write the training of DIR as a Python file for Ray Train.

    A rank is a worker of Ray; with --gpus-per-node each has a GPU.
    """
    from groundup.train.launch.ray import script

    job = read_job(**given)
    path = output or job.folder / "launch" / f"{job.name}_ray.py"
    write(path, script(job, sys.executable))
    if not is_run:
        click.echo(f"run it on the cluster by: python {shlex.quote(str(path))}")
        return 0
    if importlib.util.find_spec("ray") is None:
        raise UserError("ray is not installed here", fix="pip install 'groundup[ray]'")
    return subprocess.run([sys.executable, str(path)], check=False).returncode


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


@launch.command()
@click.argument("engine", type=click.Choice(["deepspeed", "megatron", "torchtitan"]))
@click.argument("folder", default=".", metavar="DIR")
@overrides_argument
@config_option
@click.option(
    "--ranks", "n_ranks", type=click.IntRange(1), metavar="N",
    help="GPUs (default: as many as the layout has).",
)  # fmt: skip
@click.option(
    "--gpus-per-node", "gpus", type=click.IntRange(1), default=8, show_default=True, metavar="N",
    help="GPUs of a node, which the command that starts it must say.",
)  # fmt: skip
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="DIR",
    help="Folder for the files (default: DIR/launch/ENGINE).",
)  # fmt: skip
@json_option
def emit(
    engine: str,
    folder: str,
    overrides: tuple[str, ...],
    config: str | None,
    n_ranks: int | None,
    gpus: int,
    output: Path | None,
    as_json: bool,
) -> int:
    """Write the training of DIR as the configuration of another engine.

    Settings that the engine cannot be told are listed, in the file too where it has comments.
    """
    from groundup.project import load_project
    from groundup.stages_emit import emit_job
    from groundup.tables import Table, print_json, print_tables
    from groundup.train.launch.emit.engines import ENGINES

    folder, overrides = without_folder(folder, overrides)
    project = load_project(folder, config, overrides)
    made = ENGINES[engine](emit_job(project, n_ranks, gpus))
    target = output or project.folder / "launch" / engine
    for name, text in made.files.items():
        write(target / name, text, is_said=not as_json)
    left_out = [(one.key, textwrap.shorten(str(one.value), 40), one.why) for one in made.left_out]
    if as_json:
        print_json(
            {
                "engine": engine,
                "files": [str(target / name) for name in made.files],
                "left_out": [
                    {"key": one.key, "value": one.value, "why": one.why} for one in made.left_out
                ],
                "notes": list(made.notes),
                "command": made.command,
            }
        )
        return 0
    print_tables([Table("does not carry over", ["key", "value", "why"], left_out)])
    for note in made.notes:
        click.echo(f"note: {note}")
    click.echo(f"start it by: {made.command}")
    return 0


def write(path: Path, text: str, *, is_said: bool = True) -> None:
    """Write the file and say where it is; never over what is no plain file."""
    from groundup.files import require_plain_target, write_atomic

    require_plain_target(path)
    write_atomic(path, text)
    os.chmod(path, 0o755 if path.suffix == ".sbatch" else 0o644)
    if is_said:
        click.echo(f"written: {path}")
