"""``groundup find``: short measurements of a project's own model, data and optimizer, kept for it.

What is found is an artifact of kind ``finding`` that says what it is of (`stages_found`); the next
plan takes it. What was seen until a stop was asked for is kept too.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundup.architecture.config import ModelConfig
from groundup.artifacts import Artifact, Store, now
from groundup.errors import ConfigError, InputError, Interrupted
from groundup.files import LOCK, hash_json, lock, write_json
from groundup.progress import progress, say
from groundup.stages import STAGES, needed, run_project
from groundup.stages_found import FILE, KIND, RATES, identity
from groundup.stages_named import named_now, pretrain_section
from groundup.stages_work import Work

if TYPE_CHECKING:
    from groundup.project import Project
    from groundup.train.batch import Batch
    from groundup.train.config import Settings
    from groundup.train.objective import Objective

PAGE = "finding.html"


@dataclass(frozen=True)
class Subject:
    """What is measured: the model and the settings that the plan has, and the project's data.

    Attributes:
        model, settings: of the plan; the learning rates and the micro-batch are as the project file
            has them, whatever was found before.
    """

    work: Work
    model: ModelConfig
    settings: Settings


@contextmanager
def subject_of(project: Project) -> Iterator[Subject]:
    """A project planned, and held while it is measured.

    Raises:
        ConfigError: several processes, or nothing to plan by.
        UserError: whatever a stage before finds wrong.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "groundup find measures one process, and torchrun has started several",
            fix="give the command without torchrun",
        )
    run_project(project, "plan")
    with lock(project.folder / LOCK):
        work = Work(project, Store(project.folder / "artifacts"), only_finished=True)
        for name in needed("plan"):
            work.done[name], _ = STAGES[name](work)
        work.only_finished = False
        work.require_whole(["tokens", "tokenizer"])

        from groundup.train.config import Settings, unsettled
        from groundup.train.resources import pick_device, use

        plan, section = work.done["plan"].json("plan.json"), pretrain_section(project)
        own = unsettled(
            section, context_length=project.model.context_length, seed=project.project.seed
        )
        settings = Settings(**named_now(plan["settings"], section))
        settings = replace(
            settings,
            **{name: own[name] for name in (*RATES, "micro_batch_size")},
            layout={},
            compile=False,  # its minutes would be most of the measurement
        )
        pick_device(settings.device)
        use(settings.n_threads, settings.float32_matmul_precision)
        yield Subject(work, ModelConfig.from_dict(plan["model"]), settings)


def data_of(subject: Subject) -> tuple[Objective, Callable[[int, int], Batch]]:
    """The run's objective, and its batches: first sample, rows → batch on the CPU."""
    from groundup.stages_training import objective_of
    from groundup.tokenizer.load import load_tokenizer
    from groundup.tokens.dataset import TokenDataset
    from groundup.tokens.run_mixture import planned
    from groundup.train.augment.config import AugmentConfig
    from groundup.train.augment.rows import augmentation_of
    from groundup.train.ramps import samples_before

    work, settings = subject.work, subject.settings
    n_samples = samples_before(settings, settings.steps)
    dataset = TokenDataset(work.done["tokens"].path, "train")
    dataset = planned(dataset, settings.context_length, n_samples)
    tokenizer = load_tokenizer(work.done["tokenizer"].path)
    dataset.require_tokenizer(tokenizer.hash)
    objective = replace(
        objective_of(settings, tokenizer),
        augmentation=augmentation_of(AugmentConfig(**settings.augment), tokenizer),
    )

    def batch(cursor: int, rows: int) -> Batch:
        return objective.batch_at(dataset, settings.seed, cursor, rows, settings.context_length)

    return objective, batch


def find_batch_size(project: Project, most: int | None = None) -> dict[str, Any]:
    """The micro-batch that is fastest, and the largest that fits (`train.find.batch_size`).

    Args:
        most: rows of the largest that is tried; None: four times `pretrain.batch_size`.

    Returns:
        ``trials``, ``largest``, ``fastest``, ``is_whole`` and ``suggested``, and where it is kept.

    Raises:
        BudgetError: not even one row fits.
        Interrupted: asked to stop before there was anything to keep.
    """
    from groundup.train.find import batch_size as finder
    from groundup.train.signals import stop_requested

    with subject_of(project) as subject:
        settings = subject.settings
        most = most or 4 * settings.batch_size
        limit = finder.usable_bytes(settings.device)
        job = {
            "model": subject.model.to_dict(),
            "settings": replace(settings, init_from=None).to_dict(),  # as fast with any weights
            "limit_bytes": limit,
        }
        with (
            progress("batch size", math.log2(most) + 1, "doublings") as shown,
            stop_requested() as stop,
        ):

            def seen(trial: finder.Trial) -> None:
                doublings = math.log2(trial.rows) + 1
                shown.advance(max(0.0, doublings - shown.done), finder.words(trial))

            trials = finder.find_batch_size(job, most, seen=seen, stop=stop)
            stopped = stop()
        if not trials:
            raise nothing_kept()
        fits = [trial for trial in trials if trial.fits]
        fastest = finder.fastest_of(trials)
        best = finder.fastest_of(trials, settings.batch_size)
        assert fastest is not None
        assert best is not None  # one row divides every batch
        result = {
            "suggested": {"micro_batch_size": best.rows},
            "tokens_per_second": best.tokens_per_second,
            "peak_memory_bytes": best.peak_memory_bytes,
            "largest": fits[-1].rows,
            "is_largest": not trials[-1].fits,
            "fastest": fastest.rows,
            "batch_size": settings.batch_size,
            "limit_bytes": limit,
            "is_whole": not stopped,
            "trials": [asdict(trial) for trial in trials],
        }
        return keep(subject, "batch_size", {"most": most}, result)


def find_learning_rate(project: Project, *, low: float, high: float, steps: int) -> dict[str, Any]:
    """A learning rate by a range test (`train.find.lr_range`), from the run's own first state.

    Args:
        low, high: ends of the sweep, as multiples of the peak rates the file or the optimizer has.
        steps: of the sweep.

    Returns:
        the rates at ``steepest``, ``lowest``, ``diverged`` and the ``suggested`` ones by name; the
        curve; and where it is kept.

    Raises:
        Interrupted: asked to stop before there was anything to keep.
    """
    from groundup.train.find import lr_range
    from groundup.train.find.range_chart import range_chart
    from groundup.train.signals import stop_requested
    from groundup.train.start import new_state

    if not 0 < low < high < math.inf:
        raise ConfigError(
            f"a sweep from {low:g} to {high:g} times the usual rate does not grow",
            where="--from, --to",
            fix="give --to the larger of the two, both above 0",
        )
    if steps < 2 * lr_range.FEWEST:
        raise ConfigError(
            f"a sweep of {steps} steps says nothing", where="--steps", fix="give 100 or more"
        )
    with subject_of(project) as subject:
        settings = subject.settings
        state = new_state(subject.model, settings)
        objective, batch = data_of(subject)
        rows = settings.batch_size
        ratios = lr_range.exponential(low, high, steps)
        with progress("learning rate", steps, "steps") as shown, stop_requested() as stop:
            swept = lr_range.sweep(
                state,
                settings,
                lambda number: batch(number * rows, rows),
                objective.loss,
                ratios,
                stop=stop,
                shown=shown,
            )
            stopped = stop()
        if not swept.ratios:
            raise nothing_kept()
        read = lr_range.read_range(swept, steps)
        peaks = peak_rates(state.model, settings)

        def rate(ratio: float | None) -> float | None:
            return None if ratio is None else ratio * peaks["learning_rate"]

        suggested = read.suggested
        result = {
            "suggested": None
            if suggested is None
            else {name: float(f"{suggested * peak:.3g}") for name, peak in peaks.items()},
            "steepest": rate(read.steepest),
            "lowest": rate(read.lowest),
            "diverged": rate(read.diverged),
            "usual": peaks,
            "optimizer": settings.optimizer,
            "is_whole": not stopped,
            "rates": [ratio * peaks["learning_rate"] for ratio in swept.ratios],
            "losses": [loss if math.isfinite(loss) else None for loss in swept.losses],
            "smoothed": [loss if math.isfinite(loss) else None for loss in read.smoothed],
        }
        asked = {"low": low, "high": high, "steps": steps}
        return keep(subject, "learning_rate", asked, result, range_chart(result))


def peak_rates(model: Any, settings: Settings) -> dict[str, float]:
    """The peak rates of a run by their keys in the section ``pretrain``; the first leads."""
    from groundup.train.optimizers.groups import BESIDE_MUON, OTHERS_BESIDE_MUON, roles

    if settings.optimizer != "muon":
        return {"learning_rate": settings.learning_rate}
    of_embeddings, of_rest = BESIDE_MUON.get(model.config.init, OTHERS_BESIDE_MUON)
    rates = {
        "learning_rate": settings.learning_rate,
        "adam_learning_rate": settings.adam_learning_rate or of_rest,
    }
    if roles(model)[1]:
        rates["embedding_learning_rate"] = settings.embedding_learning_rate or of_embeddings
    return rates


def find_noise_scale(
    project: Project, *, batches: int, rows: int | None = None, checkpoint: Path | None = None
) -> dict[str, Any]:
    """The critical batch size (`train.find.noise_scale`) at the first state or at a checkpoint.

    Args:
        batches: that are measured.
        rows: of each; None: `pretrain.batch_size`, or 16 where that is less.
        checkpoint: a checkpoint, a run or a project; None: the run's first state.

    Returns:
        ``rows`` (None: beyond what can be seen), ``interval`` and ``tokens``; what it is made of;
        and where it is kept.

    Raises:
        InputError: the checkpoint is of another model.
        Interrupted: asked to stop before there was anything to keep.
    """
    from groundup.train.find import noise_scale as finder
    from groundup.train.signals import stop_requested
    from groundup.train.start import new_state

    with subject_of(project) as subject:
        settings = subject.settings
        whole = max(16, settings.batch_size) if rows is None else rows
        n_parts = finder.parts_of(whole, settings.micro_batch_size)
        state = new_state(subject.model, settings)
        at = None if checkpoint is None else go_to(checkpoint, state, subject.model.to_dict())
        objective, batch = data_of(subject)
        with progress("noise scale", batches, "batches") as shown, stop_requested() as stop:
            norms = finder.measure_norms(
                state,
                settings,
                lambda number: batch(state.cursor + number * whole, whole),
                objective.loss,
                n_batches=batches,
                n_parts=n_parts,
                stop=stop,
                shown=shown,
            )
            stopped = stop()
        if not norms:
            raise nothing_kept()
        seen = finder.noise_scale(norms, whole // n_parts, whole)

        def finite(value: float) -> float | None:
            return value if math.isfinite(value) else None

        result = {
            "rows": finite(seen.rows),
            "interval": None if seen.interval is None else [*map(finite, seen.interval)],
            "tokens": finite(seen.rows * settings.context_length),
            "gradient_square": seen.gradient_square,
            "trace": seen.trace,
            "loss": sum(each.loss for each in norms) / len(norms),
            "batch_size": settings.batch_size,
            "n_batches": len(norms),
            "rows_per_batch": whole,
            "rows_per_part": whole // n_parts,
            "checkpoint": at,
            "step": state.step,
            "is_whole": not stopped,
            "norms": [asdict(each) for each in norms],
        }
        return keep(subject, "noise_scale", {"batches": batches, "rows": whole}, result)


def go_to(path: Path, state: Any, model: Mapping[str, Any]) -> str:
    """Bring ``state``, of ``model``, to a checkpoint's; its folder.

    Raises:
        InputError: there is none, or it is of another model.
        CorruptError: it is damaged.
    """
    from groundup.find import find_model, is_checkpoint, newest_checkpoint
    from groundup.model.blend import blend_activation
    from groundup.train.checkpoint import load_checkpoint
    from groundup.train.parallel.model import blueprints

    runs = sorted((path / "runs").glob("*"), key=lambda run: run.stat().st_mtime_ns, reverse=True)
    of_runs = [folder for run in runs for folder in newest_checkpoint(run)]
    folder = of_runs[0] if of_runs else find_model(path)
    if not is_checkpoint(folder):
        raise InputError(
            "there is no checkpoint here",
            where=f"--checkpoint {path}",
            fix="name a checkpoint, a run, or a project that has trained",
        )
    trained = load_checkpoint(folder, state)["model"]
    if differing := sorted(name for name in trained if trained[name] != model[name]):
        raise InputError(
            f"the checkpoint is of another model: {', '.join(differing)}",
            where=f"--checkpoint {path}",
            fix="take one of this project file's model, or its project",
        )
    if state.activation is not None:  # changed on the way
        for network in blueprints(state.model):
            blend_activation(network, **state.activation)
    say(f"at {folder}, step {state.step}")
    return str(folder)


def keep(
    subject: Subject,
    what: str,
    asked: Mapping[str, Any],
    result: Mapping[str, Any],
    chart: str | None = None,
) -> dict[str, Any]:
    """Store a finding.

    Args:
        asked: the command's options.
        chart: for a page beside it.

    Returns:
        ``result``, ``what`` it is, and the ``path`` of artifact and ``page``.
    """
    work = subject.work
    of = identity(work, subject.model.to_dict())
    config = {"what": what, "of": of, "asked": dict(asked), "found_at": now()}
    # Two of one second differ in what they found.
    inputs = {"tokens": work.done["tokens"].content_hash, "result": hash_json(result)}

    def make(folder: Path) -> Mapping[str, Any]:
        write_json(folder / FILE, {"what": what, "of": of, "asked": asked, "result": result})
        if chart is not None:
            from groundup.plan.page import Section, write_page

            title = f"{work.project.project.name}: {what.replace('_', ' ')}"
            write_page(folder / PAGE, title, [Section(title, charts=[chart])])
        return {}

    artifact: Artifact
    artifact, _ = work.build(KIND, config=config, more_inputs=inputs, make=make)
    page = artifact.path / PAGE
    return {
        "what": what,
        **result,
        "path": str(artifact.path),
        **({"page": str(page)} if page.exists() else {}),
    }


def nothing_kept() -> Interrupted:
    """A stop that came before anything was seen."""
    return Interrupted("stopped before anything was found; nothing is kept")
