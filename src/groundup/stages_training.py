"""The halves of the stages `pretrain`, `evaluate` and `export` that need torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from groundup.architecture.trained_for import CAUSAL
from groundup.artifacts import Artifact
from groundup.errors import CorruptError
from groundup.evaluate.likelihood import bits_per_byte, validation_loss
from groundup.evaluate.objective import MOST_ROWS, evaluate_objective, examples, judge
from groundup.evaluate.run import evaluate
from groundup.evaluate.subset import within_bytes
from groundup.model.generate import generate
from groundup.model.sampling import Sampling
from groundup.model.transformer import Transformer
from groundup.plan.local.machine import read_machine
from groundup.plan.local.rate import machine_rate
from groundup.progress import progress, say
from groundup.project import Project, recipe_of
from groundup.tokenizer.load import Tokenizer, load_tokenizer
from groundup.tokens.dataset import TokenDataset
from groundup.track.run import newest_good_checkpoint
from groundup.train.augment.config import AugmentConfig
from groundup.train.augment.rows import augmentation_of
from groundup.train.checkpoint import load_model_weights, load_trained
from groundup.train.config import SAMPLE_TOKENS, WHO_IS_TOLD, Settings
from groundup.train.job import Job
from groundup.train.noise.config import ObjectiveConfig
from groundup.train.objective import Objective, objective_for
from groundup.train.objectives import Terms
from groundup.train.precision import autocast, beside_training
from groundup.train.resources import use
from groundup.train.start import new_model, untrained

if TYPE_CHECKING:
    from groundup.evaluate.config import EvaluateConfig
    from groundup.stages_identity import RunToTrain


@dataclass(frozen=True)
class Forecast:
    """What is known of a run before it begins.

    Attributes:
        predicted: by the plan, its ``band`` among it.
        matmul_flops_per_second: of the machine, measured.
        spent: seconds → ``cost_usd`` and ``energy_kwh``.
    """

    predicted: Mapping[str, Any]
    matmul_flops_per_second: float
    spent: Callable[[float], Mapping[str, float | None]]


def forecast_of(project: Project, done: Mapping[str, Artifact]) -> Forecast:
    """What plan and machine say of the run."""
    chosen = done["plan"].json("plan.json")
    measured = read_machine(done["machine"].json("machine.json"))
    rate = machine_rate(measured, project.plan)

    def spent(seconds: float) -> Mapping[str, float | None]:
        return {
            "cost_usd": rate.cost_usd(seconds),
            "energy_kwh": rate.energy_kwh(seconds, project.plan.power_usage_effectiveness),
        }

    predicted = {**chosen["predicted"], "band": chosen["band"]}
    return Forecast(predicted, measured.matmul_flops_per_second, spent)


def run_job(
    project: Project, done: Mapping[str, Artifact], run: RunToTrain, forecast: Forecast
) -> Job:
    """What the training loop asks of the other packages.

    Raises:
        InputError: the tokenizer is not the one the tokens were made with.
    """
    settings = run.settings
    tokenizer = load_tokenizer(done["tokenizer"].path)
    validation = TokenDataset(done["tokens"].path, "validation")
    validation.require_tokenizer(tokenizer.hash)
    objective = objective_of(settings, tokenizer)
    noise = augmentation_of(AugmentConfig(**settings.augment), tokenizer)
    judged = partial(
        judge,
        dataset=validation,
        objective=objective,
        context_length=settings.context_length,
        batch_size=max(2, settings.micro_batch_size),
        device=settings.device,
    )

    def quick_objective(model: Any, casting: Callable[[], Any]) -> Mapping[str, float]:
        return judged(model, n_rows=settings.evaluation_windows, autocast=casting).figures

    def whole_objective(model: Any, casting: Callable[[], Any]) -> Mapping[str, float]:
        return judged(model, n_rows=MOST_ROWS, autocast=casting).figures

    def sample_objective(model: Any, casting: Callable[[], Any]) -> str:
        with casting():
            shown = examples(
                model,
                validation,
                objective,
                tokenizer,
                context_length=settings.context_length,
                n_examples=1,
                device=settings.device,
            )[0]
        return f"{shown['input']}  →  {shown['predicted']}"

    def quick(model: Transformer, casting: Callable[[], Any]) -> Mapping[str, float]:
        return validation_loss(
            model,
            validation,
            context_length=settings.context_length,
            n_windows=settings.evaluation_windows,
            batch_size=settings.micro_batch_size,
            device=settings.device,
            autocast=casting,
        )

    def whole(model: Transformer, casting: Callable[[], Any]) -> Mapping[str, float]:
        measured_on = within_bytes(validation, project.evaluate.max_bytes)
        scored = measured_on.n_tokens - measured_on.n_documents
        if measured_on.n_bytes < validation.n_bytes:
            say(
                f"validation on {measured_on.n_bytes:,} of {validation.n_bytes:,} bytes "
                "(evaluate.max_bytes)"
            )
        with progress("validation", scored, "tokens") as job:
            found = bits_per_byte(
                model, measured_on, device=settings.device, autocast=casting, job=job
            )
        return {"loss": found.nats_per_token, "bits_per_byte": found.bits_per_byte}

    def sample(model: Transformer, casting: Callable[[], Any]) -> str:
        prompt = [tokenizer.bos_id, *tokenizer.encode(settings.sample_prompt)]
        drawing = Sampling(**project.generate.model_dump(exclude={"max_new_tokens"}))
        with casting():
            steps = generate(
                model,
                prompt,
                drawing,
                max_new_tokens=SAMPLE_TOKENS,
                stop_ids=[tokenizer.bos_id],
                seed=settings.seed,
            )
            ids = [step.id for step in steps if step.finish != "stop"]
            return settings.sample_prompt + tokenizer.decode(ids)

    causal = objective.config.kind in CAUSAL
    return Job(
        name=project.project.name,
        key=run.key,
        settings=settings,
        predicted=forecast.predicted,
        matmul_flops_per_second=forecast.matmul_flops_per_second,
        evaluate=quick if causal else quick_objective,
        evaluate_whole=whole if causal else whole_objective,
        sample=sample if causal else sample_objective,
        spent=forecast.spent,
        objective=replace(objective, augmentation=noise),
        held_out=validation,
        record=record_of(project, done, run, forecast),
        allow=run.allow,
    )


def record_of(
    project: Project, done: Mapping[str, Artifact], run: RunToTrain, forecast: Forecast
) -> dict[str, Any]:
    """What ``run.json`` holds beside the loop's own: enough to train the same again.

    Addresses that may hold a secret are left out.
    """
    settings = run.settings.to_dict()
    told = dict.fromkeys(WHO_IS_TOLD)
    values = project.model_dump(mode="json")
    values["pretrain"]["guard"] |= told
    return {
        "project_config": values,
        "config": {
            "model": run.key["model"],
            "settings": {**settings, "guard": {**settings["guard"], **told}},
        },
        "artifacts": {
            name: {"name": done[name].path.name, "content": done[name].content_hash}
            for name in ("data", "tokenizer", "tokens")
            if name in done
        },
        "matmul_flops_per_second": forecast.matmul_flops_per_second,
        "answers_to": list(run.answers_to),
        "recipe": recipe_of(project),
        "changes": [dict(change) for change in run.changes],
        **({"reproduces": run.reproduces} if run.reproduces else {}),
    }


def evaluate_run(
    done: Mapping[str, Artifact], config: EvaluateConfig, settings: Settings
) -> dict[str, Any]:
    """The finished run beside its yardsticks (see `evaluate.run.evaluate`).

    Where the GPU it was trained on is not there, on the CPU in fp32.
    """
    device, precision = settings.device, beside_training(settings.precision)
    if device == "cuda" and not torch.cuda.is_available():
        device, precision = "cpu", "fp32"
        say("evaluate: torch finds no CUDA device here, so it is measured on the CPU in fp32")
    use(settings.n_threads, settings.float32_matmul_precision)
    tokenizer = load_tokenizer(done["tokenizer"].path)
    if ObjectiveConfig(**settings.objective).kind not in CAUSAL:
        return evaluate_as_trained(done, config, settings, tokenizer, device, precision)
    model = trained_model(done["pretrain"]).to(device)
    beginning = new_model(model.config, settings.seed).to(device)
    return evaluate(
        model,
        beginning.eval(),
        tokenizer,
        done["tokens"].path,
        config,
        seed=settings.seed,
        device=device,
        precision=precision,
    )


def evaluate_as_trained(
    done: Mapping[str, Artifact],
    config: EvaluateConfig,
    settings: Settings,
    tokenizer: Tokenizer,
    device: str,
    precision: str,
) -> dict[str, Any]:
    """A model that is not causal by its own objective (see `evaluate.objective`)."""
    trained = load_trained(last_checkpoint(done["pretrain"])).to(device)
    beginning = untrained(trained.config, settings).to(device)
    held_out = TokenDataset(done["tokens"].path, config.split)
    held_out.require_tokenizer(tokenizer.hash)
    found = evaluate_objective(
        trained,
        beginning.eval(),
        tokenizer,
        held_out,
        TokenDataset(done["tokens"].path, "train"),
        objective_of(settings, tokenizer),
        context_length=settings.context_length,
        batch_size=max(2, settings.micro_batch_size),
        device=device,
        autocast=partial(autocast, device, precision),
    )
    return {
        "split": config.split,
        "device": device,
        "precision": precision,
        "as_trained": found,
    }


def objective_of(settings: Settings, tokenizer: Tokenizer) -> Objective:
    """What a run was, or is, trained for."""
    return objective_for(
        ObjectiveConfig(**settings.objective),
        tokenizer,
        attend_across_documents=settings.attend_across_documents,
        device=settings.device,
        terms=Terms(settings.z_loss, settings.label_smoothing),
    )


def trained_model(run: Artifact) -> Transformer:
    """The model at the end of a finished run, on the CPU.

    Raises:
        CorruptError: no checkpoint of it is whole.
    """
    return load_model_weights(last_checkpoint(run))


def last_checkpoint(run: Artifact) -> Path:
    """The folder of a finished run's last whole checkpoint.

    Raises:
        CorruptError: none is whole.
    """
    last = newest_good_checkpoint(run.path / "checkpoints")
    if last is None:
        raise CorruptError(
            "no checkpoint of this run is whole",
            where=str(run.path),
            fix="give `groundup run` again: it trains what is missing",
        )
    return last
