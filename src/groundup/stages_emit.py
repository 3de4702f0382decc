"""A project with nothing left open, for the configuration of another engine.

Where the plan was made its choices are taken. Without one the file itself has to say how large the
model is and how long the run: nothing is trained or measured here.
"""

from __future__ import annotations

from dataclasses import replace

from groundup.architecture.config import ModelConfig
from groundup.errors import ConfigError
from groundup.project import Project
from groundup.stages import finished
from groundup.stages_layout import require_runnable
from groundup.stages_named import pretrain_section
from groundup.stages_plan import job_of
from groundup.train.config import CHOSEN, PretrainConfig, Settings, unsettled
from groundup.train.launch.emit.job import EmitJob
from groundup.train.parallel.layout import LayoutConfig, layout_of

# What the engines run on, for what the plan would find out by probing.
ON_GPUS = {"device": "cuda", "precision": "bf16", "attention": "sdpa"}
PER_RUN = 10  # evaluations and checkpoints where the file does not say


def emit_job(project: Project, n_ranks: int | None, gpus_per_node: int = 8) -> EmitJob:
    """The training that a project file describes, for ``n_ranks`` GPUs.

    Args:
        n_ranks: None: as many as the layout has at least.
        gpus_per_node: more than these are on several nodes, all of them full.

    Raises:
        ConfigError: what only a plan could choose is open, and there is none; the layout is not
            one of so many processes; they do not fill their nodes; or the model cannot be divided
            like that.
    """
    section = pretrain_section(project)
    if section.layout.planned:
        raise ConfigError(
            "layout: auto is decided when training starts, for the machine there is",
            where="pretrain.layout",
            fix="`groundup plan layout` lists the fastest for a GPU; write one of them",
        )
    chosen = planned(project)
    if chosen is None:
        chosen = written(project, section)
    model, settings = chosen
    layout = LayoutConfig(**settings.layout)
    size = n_ranks or layout.size() or layout.least
    job = EmitJob(
        project.project.name, model, settings, layout, layout_of(layout, size), gpus_per_node
    )
    job.require_full_nodes()
    # What fp8 cannot be divided by is our own layers' limit.
    require_runnable(model, replace(settings, precision="bf16"), layout, size)
    return job


def planned(project: Project) -> tuple[ModelConfig, Settings] | None:
    """Model and settings of the plan that was made of this file; None: there is none."""
    plan = finished(project, "plan")
    if plan is None:
        return None
    made = plan.json("plan.json")
    return ModelConfig.from_dict(made["model"]), Settings(**made["settings"])


def written(project: Project, section: PretrainConfig) -> tuple[ModelConfig, Settings]:
    """Model and settings as the file has them.

    Raises:
        ConfigError: the file leaves sizes or steps to the plan.
    """
    n_layers, d_model, steps = project.model.n_layers, project.model.d_model, section.steps
    opened = unsettled(
        section, context_length=project.model.context_length, seed=project.project.seed
    )
    if n_layers is None or d_model is None or steps is None or section.init_from is not None:
        raise ConfigError(
            "size or steps are left to the plan, and no plan was made of this project file",
            where=str(project.folder),
            fix="`groundup plan` first; or write model.n_layers, model.d_model and pretrain.steps",
        )
    given = {name: opened[name] for name in CHOSEN}
    every = max(1, steps // PER_RUN)
    filled = {
        **{name: ON_GPUS[name] if given[name] == "auto" else given[name] for name in ON_GPUS},
        "float32_matmul_precision": "highest",
        "n_threads": given["n_threads"] or 1,
        "steps": steps,
        **{
            name: given[name] or every
            for name in ("evaluate_every", "checkpoint_every", "sample_every")
        },
    }
    job = job_of(project, project.tokenizer.vocab_size)
    return job.build(n_layers, d_model), Settings(**{**opened, **filled})
