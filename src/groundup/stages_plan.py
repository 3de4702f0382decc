"""The stages ``machine`` and ``plan``, and what the planner is told of project and tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundup.artifacts import Artifact, environment
from groundup.errors import InputError
from groundup.files import write_json
from groundup.progress import say
from groundup.project import Project, recipe_of
from groundup.stages_found import NOTHING, Filled, Found, found, has_findings
from groundup.stages_named import (
    first_network,
    hash_weights,
    pretrain_section,
    require_its_tokenizer,
)
from groundup.stages_work import VERSIONS, Work
from groundup.train.config import SAMPLE_TOKENS, WHO_IS_TOLD, Settings, settle, unsettled
from groundup.train.ramps import samples_before
from groundup.units import format_bytes, format_duration

if TYPE_CHECKING:
    from groundup.plan.local.candidates import Corpus as TrainingSplit
    from groundup.plan.local.candidates import Job
    from groundup.plan.local.choose import Plan
    from groundup.train.config import PretrainConfig
    from groundup.train.parallel.layout import LayoutConfig


def machine(work: Work) -> tuple[Artifact, bool]:
    """Measure what this machine can do at the sizes that are in question.

    Once a plan is made its machine stays, even where the project is moved to another one: what was
    decided before step 0 is not decided again.
    """
    made = work.store.read(plan_path(work))
    if made is not None:
        used = work.store.read(work.store.root / "machine" / made.json("plan.json")["machine"])
        if used is not None:
            return used, False
    settings, job, corpus = open_settings(work), plan_job(work), training_split(work)
    settings["init_from"] = None  # a step takes as long whatever the weights are
    budget = work.project.plan.budget

    def make(folder: Path) -> Mapping[str, Any]:
        from groundup.train.measure import measure_machine

        found = measure_machine(settings, job, corpus, budget, work.store.root)
        write_json(folder / "machine.json", found)
        return {"matmul_flops_per_second": found["matmul_flops_per_second"]}

    chooses: dict[str, Any] = {"corpus": asdict(corpus), "budget": budget}
    if len(job.sizes()) == 1:  # nothing chooses which sizes are measured
        chooses = {}
        job = replace(
            job, steps=None, evaluate_every=None, checkpoint_every=None, sample_every=None
        )
    config = {
        "settings": {name: settings[name] for name in TIMED},
        "job": asdict(job),
        **chooses,
        "environment": {key: value for key, value in environment().items() if key != "groundup"},
    }
    return work.build("machine", config=config, make=make)


def plan(work: Work) -> tuple[Artifact, bool]:
    """Choose what the project file leaves open, and predict the run."""
    section = pretrain_section(work.project)

    def make(folder: Path) -> Mapping[str, Any]:
        from groundup.plan.local.choose import make_plan
        from groundup.plan.local.machine import read_machine

        measured = read_machine(work.done["machine"].json("machine.json"))
        job = plan_job(work)
        if job.network is not None:
            source, tokenizer = str(section.init_from), work.done["tokenizer"].path
            require_its_tokenizer(Path(source), tokenizer, job.network["vocab_size"])
        made = make_plan(work.project.plan, job, measured, training_split(work))
        model = job.build(made.choice["n_layers"], made.choice["d_model"]).to_dict()
        findings, filled = with_findings(work, model)
        settings = settle(
            without_alerts(filled.section),
            made.choice,
            context_length=job.context_length,
            seed=work.project.project.seed,
        )
        mixture = mixture_of(work, settings)
        made.notes.extend(notes_for_processes(section.layout, made, settings, model))
        chosen = {
            **made.to_dict(),
            **({"mixture": mixture} if mixture else {}),
            **said_of(findings, filled, made.choice),
            "model": model,
            "settings": settings.to_dict(),
            "machine": work.done["machine"].path.name,
        }
        write_json(folder / "plan.json", chosen)
        choice = made.choice
        bits = made.predicted["bits_per_byte"]
        say(
            f"plan: {choice['n_layers']} layers × {choice['d_model']}, {choice['steps']} steps, "
            f"{settings.precision} on {measured.device_name}; predicts "
            f"{format_duration(made.predicted['duration_seconds'] or 0)}"
            + (f", {bits:.2f} bits per byte" if bits is not None else "")
        )
        for warning in mixture["warnings"] if mixture else ():
            say(f"plan: warning: {warning}")
        return {}

    return work.build("plan", config=plan_config(work), inputs=["tokens"], make=make)


def with_findings(work: Work, model: Mapping[str, Any] | None = None) -> tuple[Found, Filled]:
    """What `groundup find` found, and the section with it.

    Args:
        model: the one that is planned; None: as far as the project file has one.
    """
    section = pretrain_section(work.project)
    findings = project_findings(work) if model is None else found(work, model)
    if findings == NOTHING:
        return findings, Filled(section, {}, {})
    of_recipe = {key.removeprefix("pretrain.") for key in recipe_of(work.project)["keys"]}
    return findings, findings.fill(
        section, model_is_given=given_model(work) is not None, of_recipe=of_recipe
    )


def project_findings(work: Work) -> Found:
    """The findings that are of this project file, as far as it says what model it trains."""
    return found(work, given_model(work)) if has_findings(work.store) else NOTHING


def said_of(findings: Found, filled: Filled, choice: Mapping[str, Any]) -> dict[str, Any]:
    """What the plan keeps of the findings, and says of them; nothing where there are none."""
    from groundup.plan.local.found import found_notes

    if findings == NOTHING:
        return {}
    kept = {
        "findings": findings.contents(),
        "used": dict(filled.used),
        "unused": dict(filled.unused),
        "ignored": dict(findings.ignored),
    }
    for note in found_notes(kept, choice):
        say(f"plan: {note}")
    return {"found": kept}


def given_model(work: Work) -> dict[str, Any] | None:
    """The model of a project file that gives its size; None where the plan chooses."""
    job = written_job(work)
    if job.n_layers is None or job.d_model is None:
        return None
    return job.build(job.n_layers, job.d_model).to_dict()


def mixture_of(work: Work, settings: Settings) -> dict[str, Any] | None:
    """How often the run sees each source, and what is to be said of it; None for one pass.

    Raises:
        ConfigError: epochs or caps of `data.mixture` cannot hold in a run of this length.
    """
    from groundup.tokens.dataset import TokenDataset
    from groundup.tokens.repeats import worth
    from groundup.tokens.run_mixture import run_mixture

    dataset = TokenDataset(work.done["tokens"].path, "train")
    if dataset.mixture is None and dataset.mixture_config.max_epochs is None:
        return None
    n_samples = samples_before(settings, settings.steps)
    found = run_mixture(dataset, settings.context_length, n_samples)
    return {**found.to_dict(), "warnings": list(worth(found).warnings)}


def notes_for_processes(
    layout: LayoutConfig, made: Plan, settings: Settings, model: Mapping[str, Any]
) -> list[str]:
    """What the plan says where the project file asks for several processes."""
    from groundup.stages_ranks import predicted_for

    n_ranks = layout.size() or layout.least
    if n_ranks == 1:
        return []
    plan = {"predicted": made.predicted, "band": made.band, "memory": made.memory, "model": model}
    predicted = predicted_for(plan, settings, n_ranks)
    size = predicted["peak_memory_bytes"]
    needs = "unknown" if size is None else f"about {format_bytes(size)} on the fullest"
    return [
        f"all of this is for one process; by {n_ranks} ({predicted['of']['layout']}) the loss is "
        f"the same, memory {needs}, and the duration is not predicted: it depends on what they "
        "tell each other"
    ]


def plan_config(work: Work) -> dict[str, Any]:
    """What the plan depends on beside the tokens and the machine."""
    project, source = work.project, pretrain_section(work.project).init_from
    findings = project_findings(work).of_this
    return {
        "plan": project.plan.model_dump(mode="json"),
        "model": project.model.model_dump(mode="json"),
        "pretrain": without_alerts(project.pretrain).model_dump(mode="json"),
        "seed": project.project.seed,
        **({"init_from": hash_weights(Path(source))} if source is not None else {}),
        **(
            {"found": {kind: each.content_hash for kind, each in findings.items()}}
            if findings
            else {}
        ),
    }


def without_alerts(section: PretrainConfig) -> PretrainConfig:
    """The section without whom the guard tells: that changes no plan, and may hold a secret."""
    guard = section.guard.model_copy(update=dict.fromkeys(WHO_IS_TOLD))
    return section.model_copy(update={"guard": guard})


def plan_path(work: Work) -> Path:
    """Where the plan is, or would be: it does not depend on the machine."""
    return work.store.path(
        "plan",
        work.project.project.name,
        version=VERSIONS["plan"],
        config=plan_config(work),
        inputs=work.hashes(["tokens"]),
    )


def open_settings(work: Work) -> dict[str, Any]:
    """The training settings as far as the project file, or what was found for it, has them."""
    return unsettled(
        with_findings(work)[1].section,
        context_length=work.project.model.context_length,
        seed=work.project.project.seed,
    )


def plan_job(work: Work) -> Job:
    """What is to be trained, for the planner; with the micro-batch that was found, if any."""
    job = written_job(work)
    _, filled = with_findings(work)
    micro_batch_size = filled.section.micro_batch_size
    if micro_batch_size == job.batch_size:
        micro_batch_size = job.micro_batch_size  # the whole batch, in whatever words
    return replace(job, micro_batch_size=micro_batch_size)


def written_job(work: Work) -> Job:
    """The same as the project file has it."""
    return job_of(work.project, work.done["tokens"].json("index.json")["vocab_size"])


def job_of(project: Project, vocab_size: int) -> Job:
    """What the project file says is to be trained, for the planner."""
    from groundup.plan.local.candidates import Job

    objective = project.pretrain.objective
    fields = {
        **project.model.model_dump(),
        **project.pretrain.model_dump(),
        "objective": objective.kind,
        "sentence": objective.sentence != "none",
        "vocab_size": vocab_size,
        "sample_tokens": SAMPLE_TOKENS,
        "network": None,
    }
    source = pretrain_section(project).init_from
    if source is not None:
        network = first_network(project, Path(source))
        fields |= {
            **{name: getattr(network, name) for name in ("family", "n_layers", "d_model")},
            "vocab_size": network.vocab_size,
            "network": network.to_dict(),
        }
    return Job(**{name: fields[name] for name in Job.__dataclass_fields__})


def training_split(work: Work) -> TrainingSplit:
    """Sizes of the packed training split, for the planner.

    Raises:
        InputError: it is shorter than one window, or a split to measure on has no text.
    """
    from groundup.plan.local.candidates import Corpus as TrainingSplit

    splits = work.done["tokens"].json("index.json")["splits"]
    for split in dict.fromkeys(["validation", work.project.evaluate.split]):
        if splits[split]["n_bytes"] == 0:
            raise InputError(
                f"the {split} split has no text, so nothing could be measured on it",
                where="data.input",
                fix="add documents with text: each is put whole into one split",
            )
    counts, validation = splits["train"], splits["validation"]
    context_length = work.project.model.context_length
    if counts["n_tokens"] <= context_length:
        raise InputError(
            f"the training split has {counts['n_tokens']:,} tokens, fewer than one window of "
            f"{context_length:,} and its target",
            where="model.context_length",
            fix="give more text, or a shorter model.context_length",
        )
    scored = validation["n_tokens"] - validation["n_documents"]  # separators are given
    return TrainingSplit(
        n_tokens=counts["n_tokens"],
        n_bytes=counts["n_bytes"],
        validation_bytes_per_token=validation["n_bytes"] / scored if scored else None,
    )


# Of the settings that are not in the job, those that a step's time and memory depend on.
TIMED = ("device", "precision", "attention", "n_threads")
