"""The halves of the stages `pretrain`, `evaluate` and `export` that need torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from groundup.artifacts import Artifact
from groundup.errors import CorruptError
from groundup.evaluate.likelihood import bits_per_byte, validation_loss
from groundup.evaluate.run import evaluate
from groundup.evaluate.subset import within_bytes
from groundup.model.generate import generate
from groundup.model.transformer import Transformer
from groundup.plan.local.machine import read_machine
from groundup.plan.local.rate import machine_rate
from groundup.progress import progress, say
from groundup.tokenizer.load import load_tokenizer
from groundup.tokens.dataset import TokenDataset
from groundup.track.run import newest_good_checkpoint
from groundup.train.checkpoint import load_model_weights
from groundup.train.config import SAMPLE_TOKENS, Settings
from groundup.train.pretrain import Job
from groundup.train.resources import use
from groundup.train.start import new_model

if TYPE_CHECKING:
    from groundup.evaluate.config import EvaluateConfig
    from groundup.project import Project


def run_job(
    project: Project, done: Mapping[str, Artifact], key: Mapping[str, Any], settings: Settings
) -> Job:
    """What the training loop asks of the other packages.

    Raises:
        InputError: the tokenizer is not the one the tokens were made with.
    """
    chosen = done["plan"].json("plan.json")
    tokenizer = load_tokenizer(done["tokenizer"].path)
    validation = TokenDataset(done["tokens"].path, "validation")
    validation.require_tokenizer(tokenizer.hash)
    measured = read_machine(done["machine"].json("machine.json"))
    rate = machine_rate(measured, project.plan)

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
        drawing = project.generate.model_dump(exclude={"max_new_tokens"})
        with casting():
            ids = generate(
                model,
                prompt,
                max_new_tokens=SAMPLE_TOKENS,
                stop_ids=[tokenizer.bos_id],
                seed=settings.seed,
                **drawing,
            )
            return settings.sample_prompt + tokenizer.decode(list(ids))

    def spent(seconds: float) -> Mapping[str, float | None]:
        return {
            "cost_usd": rate.cost_usd(seconds),
            "energy_kwh": rate.energy_kwh(seconds, project.plan.power_usage_effectiveness),
        }

    return Job(
        name=project.project.name,
        key=key,
        settings=settings,
        predicted={**chosen["predicted"], "band": chosen["band"]},
        matmul_flops_per_second=measured.matmul_flops_per_second,
        evaluate=quick,
        evaluate_whole=whole,
        sample=sample,
        spent=spent,
    )


def evaluate_run(
    done: Mapping[str, Artifact], config: EvaluateConfig, settings: Settings
) -> dict[str, Any]:
    """The finished run beside its yardsticks (see `evaluate.run.evaluate`).

    Where the GPU it was trained on is not there, on the CPU in fp32.
    """
    device, precision = settings.device, settings.precision
    if device == "cuda" and not torch.cuda.is_available():
        device, precision = "cpu", "fp32"
        say("evaluate: torch finds no CUDA device here, so it is measured on the CPU in fp32")
    use(settings.n_threads, settings.float32_matmul_precision)
    model = trained_model(done["pretrain"]).to(device)
    untrained = new_model(model.config, settings.seed).to(device)
    return evaluate(
        model,
        untrained.eval(),
        load_tokenizer(done["tokenizer"].path),
        done["tokens"].path,
        config,
        seed=settings.seed,
        device=device,
        precision=precision,
    )


def trained_model(run: Artifact) -> Transformer:
    """The model at the end of a finished run, on the CPU.

    Raises:
        CorruptError: no checkpoint of it is whole.
    """
    last = newest_good_checkpoint(run.path / "checkpoints")
    if last is None:
        raise CorruptError(
            "no checkpoint of this run is whole",
            where=str(run.path),
            fix="give `groundup run` again: it trains what is missing",
        )
    return load_model_weights(last)
