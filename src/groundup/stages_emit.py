"""A project with nothing left open, for the configuration of another engine.

Where the plan was made its choices are taken. Without one the file itself has to say how large the
model is and how long the run: nothing is trained or measured here.
"""

from __future__ import annotations

from groundup.architecture.config import ModelConfig
from groundup.artifacts import Store
from groundup.errors import ConfigError, GroundupError
from groundup.project import Project
from groundup.stages import STAGES, needed
from groundup.stages_named import pretrain_section
from groundup.stages_work import Work
from groundup.train.config import CHOSEN, PretrainConfig, Settings, unsettled
from groundup.train.launch.emit.job import EmitJob
from groundup.train.parallel.layout import LayoutConfig, layout_of

# What the engines run on, for what the plan would find out by probing.
ON_GPUS = {"device": "cuda", "precision": "bf16", "attention": "sdpa"}
PER_RUN = 10  # evaluations and checkpoints where the file does not say


def emit_job(project: Project, n_ranks: int | None) -> EmitJob:
    """The training that a project file describes, for ``n_ranks`` GPUs.

    Args:
        n_ranks: None: as many as the layout has at least.

    Raises:
        ConfigError: what only a plan could choose is open, and there is none; or the layout is not
            one of so many processes.
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
    return EmitJob(project.project.name, model, settings, layout, layout_of(layout, size))


def planned(project: Project) -> tuple[ModelConfig, Settings] | None:
    """Model and settings of the plan that was made of this file; None: there is none."""
    work = Work(project, Store(project.folder / "artifacts"), only_finished=True)
    try:
        for name in needed("plan"):
            work.done[name], _ = STAGES[name](work)
    except GroundupError:  # not made yet, or its text is gone
        return None
    made = work.done["plan"].json("plan.json")
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
    from groundup.plan.local.candidates import Job

    fields = {
        **project.model.model_dump(),
        **project.pretrain.model_dump(),
        "objective": section.objective.kind,
        "sentence": section.objective.sentence != "none",
        "vocab_size": project.tokenizer.vocab_size,
        "network": None,
        "sample_tokens": 0,
    }
    job = Job(**{name: fields[name] for name in Job.__dataclass_fields__})
    return job.build(n_layers, d_model), Settings(**{**opened, **filled})
