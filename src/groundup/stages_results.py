"""The stages after training: ``evaluate``, ``export``, ``report``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from groundup.artifacts import Artifact
from groundup.files import write_json
from groundup.stages_work import Work, numbers
from groundup.train.config import Settings


def evaluate(work: Work) -> tuple[Artifact, bool]:
    """Measure the trained model on text used for nothing else."""
    config = work.project.evaluate
    settings = Settings(**work.done["pretrain"].manifest["config"]["settings"])  # the run's own

    def make(folder: Path) -> Mapping[str, Any]:
        from groundup.stages_training import evaluate_run

        found = evaluate_run(work.done, config, settings)
        write_json(folder / "evaluation.json", found)
        return numbers(found["bits_per_byte"] if "bits_per_byte" in found else found["as_trained"])

    return work.build(
        "evaluation",
        config={
            **config.model_dump(mode="json"),
            **{name: getattr(settings, name) for name in ("seed", "device", "precision")},
        },
        inputs=["pretrain", "tokens", "tokenizer"],
        make=make,
    )


def export(work: Work) -> tuple[Artifact, bool]:
    """Write the model in the form that transformers and others open."""

    def make(folder: Path) -> Mapping[str, Any]:
        from groundup.model.convert import export_model
        from groundup.stages_training import last_checkpoint, trained_model
        from groundup.tokenizer.load import load_tokenizer
        from groundup.train.special_ids import special_ids_of_checkpoint

        run, tokenizer = work.done["pretrain"], work.done["tokenizer"].path
        special = special_ids_of_checkpoint(last_checkpoint(run), load_tokenizer(tokenizer))
        metadata = {"groundup_final_hash": str(run.manifest["final_hash"]), **special}
        export_model(trained_model(run), folder, tokenizer, metadata, sampling)
        return {}

    sampling = work.project.generate.model_dump(mode="json", exclude={"max_new_tokens"})
    return work.build("export", config=sampling, inputs=["pretrain", "tokenizer"], make=make)


def report(work: Work) -> tuple[Artifact, bool]:
    """Put prediction and measurement side by side in one HTML file."""
    run = work.done["pretrain"]

    def make(folder: Path) -> Mapping[str, Any]:
        from groundup.report.page import write_report

        others = {name: artifact for name, artifact in work.done.items() if name != "pretrain"}
        write_report(folder, title=work.project.project.name, run=run.path, artifacts=others)
        return {}

    return work.build(
        "report",
        config={"run": run.manifest["sha256"]},  # its times and predictions too
        inputs=[name for name in work.done if name != "pretrain"],
        make=make,
    )
