"""What no training could do that a project file asks for, said before any stage runs.

The trainer asks the same where it divides the model. Here it is asked as soon as the project is
read, so that a mistake costs seconds, and not the measurements and the plan that come before.

Notable: a size that the file leaves to the plan is taken to be one that suits the layout; once the
plan is made, its own is asked about.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from groundup.architecture.config import ModelConfig
from groundup.artifacts import Artifact, Store
from groundup.errors import ConfigError
from groundup.hardware import available_cores
from groundup.stages_found import has_findings
from groundup.stages_named import pretrain_section
from groundup.stages_plan import job_of
from groundup.train.asynchronous.layout import require_fitting, require_one_server
from groundup.train.config import CUDA_GRAPHS, Settings, unsettled
from groundup.train.parallel.layout import layout_of, require_multiple

if TYPE_CHECKING:
    from groundup.project import Project
    from groundup.train.config import PretrainConfig

WIDTH = 64  # of a head, where the file leaves the size to the plan


def require_possible_run(
    project: Project, n_ranks: int, planned: Callable[[], Artifact | None]
) -> None:
    """Check that ``n_ranks`` processes can train what a project file describes.

    Args:
        planned: gives the plan that was made of the file, if one was.

    Raises:
        ConfigError: they cannot, whatever the plan chooses for what the file leaves open.
        InputError: something that the section ``pretrain`` names is not there.
    """
    section = pretrain_section(project)
    layout, kind = section.layout, section.asynchronous.kind
    require_one_server(kind, n_ranks)
    require_multiple(layout, n_ranks)
    if layout.planned:
        return
    axes = layout_of(layout, n_ranks)
    if section.compile == CUDA_GRAPHS:
        from groundup.train.compile import require_graphs_possible

        on_gpu = replace(settings_so_far(project, section), device="cuda")  # a CPU: see below
        require_graphs_possible(on_gpu, n_ranks)
    if n_ranks == 1:
        return

    from groundup.stages_layout import require_runnable

    require_fitting(settings_so_far(project, section), axes)
    known = known_so_far(project, section, axes["tp"], planned)
    if known is not None:
        require_runnable(*known, layout, n_ranks)


def known_so_far(
    project: Project, section: PretrainConfig, tp: int, planned: Callable[[], Artifact | None]
) -> tuple[ModelConfig, Settings] | None:
    """Model and settings as the plan has them, or else the file; None where little is known yet.

    Sizes that the file leaves to a plan that is not made are taken to be such as suit the layout.

    Raises:
        ConfigError: the family has no model of the sizes that the file gives.
    """
    job = job_of(project, project.tokenizer.vocab_size)
    is_open = job.n_layers is None or job.d_model is None
    is_filled = has_findings(Store(project.folder / "artifacts"))
    if is_open or is_filled:
        plan = planned()
        if plan is not None:
            made = plan.json("plan.json")
            return ModelConfig.from_dict(made["model"]), Settings(**made["settings"])
        if is_filled:  # what was found may fill the file's settings
            return None
    if job.n_layers is not None and job.d_model is not None:
        return job.build(job.n_layers, job.d_model), settings_so_far(project, section)
    d_model, n_layers = WIDTH * tp, section.layout.pp * section.layout.vpp
    with suppress(ConfigError):  # of the sizes taken here: they are not the user's
        suited = replace(job, n_heads=tp, d_ff=4 * d_model)
        return suited.build(n_layers, d_model), settings_so_far(project, section)
    return None


def settings_so_far(project: Project, section: PretrainConfig) -> Settings:
    """What the plan chooses stays as open as the file leaves it: none of it is asked for here."""
    context_length, seed = project.model.context_length, project.project.seed
    return Settings(**unsettled(section, context_length=context_length, seed=seed))


def require_possible_here(project: Project, n_ranks: int) -> None:
    """The same of this machine: an address to listen at, a GPU to take memory off.

    Raises:
        ConfigError: there is none.
    """
    section = project.pretrain
    if section.asynchronous.kind == "parameter_server" and n_ranks == 1:
        from groundup.train.asynchronous.listener import bound

        bound(section.asynchronous.host, section.asynchronous.port).close()
    require_gpu(section)


def require_gpu(section: PretrainConfig) -> None:
    """Refuse what is for a GPU alone where ``device: auto`` finds none.

    Raises:
        ConfigError: there is none.
    """
    wants_graphs = section.compile == CUDA_GRAPHS
    if section.device != "auto" or not (section.offload_optimizer or wants_graphs):
        return
    from groundup.train.parallel.offload import nothing_to_offload
    from groundup.train.resources import pick_device

    if pick_device("auto") != "cpu":
        return
    if section.offload_optimizer:
        raise nothing_to_offload()
    raise ConfigError(
        "compile: cuda_graphs is for a GPU, and there is none here",
        where="pretrain.compile",
        fix="set it to false",
    )


def many_threads(section: PretrainConfig) -> str | None:
    """What to say of more threads than cores; no error: a larger machine's bits may be wanted."""
    cores, n_threads = available_cores(), section.n_threads
    if n_threads is None or n_threads <= cores:
        return None
    return (
        f"pretrain.n_threads is {n_threads}, and there {'is' if cores == 1 else 'are'} {cores} "
        f"core{'s'[: cores != 1]}: {cores} would be faster; more are for the bits of a run that a "
        "larger machine began"
    )


def lonely_replica(section: PretrainConfig, n_ranks: int) -> str | None:
    """What to say of local SGD in one process; no error: it is what others are compared with."""
    if section.asynchronous.kind != "local_sgd" or n_ranks > 1:
        return None
    return (
        "local_sgd in one process: one replica, which nobody averages with, so only the outer "
        "optimizer differs from ordinary training; `groundup launch local --ranks N` starts more"
    )
