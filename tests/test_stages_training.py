"""What the stages and `stages_training` decide themselves, without a run."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from groundup import stages_training
from groundup.errors import InputError
from groundup.evaluate.config import EvaluateConfig
from groundup.project import Project
from groundup.stages_identity import RunToTrain
from groundup.stages_plan import training_split
from groundup.tokenizer.load import load_tokenizer
from groundup.tokens.dataset import TokenDataset
from groundup.tokens.pack import pack
from groundup.train.start import new_state
from tests.tokens.corpora import corpus_of
from tests.train.small import SETTINGS
from tests.trained import CONFIG, add_tokenizer


def work(validation_bytes: int, test_bytes: int, split: str = "test") -> Any:
    def size(n_bytes: int) -> dict[str, int]:
        return {"n_tokens": n_bytes + 1, "n_documents": 1, "n_bytes": n_bytes}

    splits = {
        "train": size(500), "validation": size(validation_bytes), "test": size(test_bytes),
    }  # fmt: skip
    return SimpleNamespace(
        done={"tokens": SimpleNamespace(json=lambda _: {"splits": splits})},
        project=SimpleNamespace(
            model=SimpleNamespace(context_length=100), evaluate=EvaluateConfig(split=split)
        ),
    )


def test_a_validation_split_shorter_than_a_window_can_be_trained_with() -> None:
    assert training_split(work(3, 3)).validation_bytes_per_token == 1


@pytest.mark.parametrize(("sizes", "name"), [((0, 9), "validation"), ((9, 0), "test")])
def test_a_split_without_text_is_refused_before_the_plan(sizes: tuple[int, int], name: str) -> None:
    with pytest.raises(InputError, match=f"the {name} split has no text") as caught:
        training_split(work(*sizes))
    assert "add documents" in str(caught.value.fix)


def test_a_split_that_nothing_is_measured_on_may_be_empty() -> None:
    training_split(work(9, 0, split="validation"))


@pytest.mark.parametrize(
    ("there_is_one", "expected"), [(False, ("cpu", "fp32")), (True, ("cuda", "bf16"))]
)
def test_a_run_from_a_gpu_is_evaluated_on_the_cpu_where_there_is_none(
    there_is_one: bool,
    expected: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    moved: list[str] = []

    def keep(model: torch.nn.Module, device: str) -> torch.nn.Module:
        moved.append(device)
        return model

    model = new_state(CONFIG, SETTINGS).model
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there_is_one)
    monkeypatch.setattr(torch.nn.Module, "to", keep)
    monkeypatch.setattr(stages_training, "trained_model", lambda _: model)
    monkeypatch.setattr(stages_training, "load_tokenizer", lambda _: None)
    monkeypatch.setattr(stages_training, "evaluate", lambda *_, **given: given)
    anything: Any = SimpleNamespace(path=Path())
    found = stages_training.evaluate_run(
        dict.fromkeys(("pretrain", "tokenizer", "tokens"), anything),
        EvaluateConfig(),
        dataclasses.replace(SETTINGS, device="cuda", precision="bf16"),
    )
    assert (found["device"], found["precision"]) == expected
    assert set(moved) == {expected[0]}
    assert ("on the CPU in fp32" in capsys.readouterr().err) is not there_is_one


@pytest.mark.parametrize("most", [30, None])
def test_the_validation_at_the_end_of_training_keeps_to_the_bound_of_evaluation(
    most: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = add_tokenizer(tmp_path)
    validation = [f"text {n} of ten.\n" for n in range(10)]
    splits = {"train": ["a"], "validation": validation, "test": ["a"]}
    corpus = corpus_of(tmp_path / "corpus", splits)
    pack(corpus, load_tokenizer(folder), tmp_path / "tokens")
    scored: list[int] = []

    def score(model: Any, dataset: TokenDataset, **_: Any) -> Any:
        scored.append(dataset.n_bytes)
        return SimpleNamespace(nats_per_token=1.0, bits_per_byte=1.0)

    monkeypatch.setattr(stages_training, "bits_per_byte", score)
    done: Any = {
        name: SimpleNamespace(path=path, content_hash="0")
        for name, path in (("tokenizer", folder), ("tokens", tmp_path / "tokens"))
    }
    project = Project(evaluate=EvaluateConfig(max_bytes=most))
    run = RunToTrain(tmp_path / "run", {"model": {}}, SETTINGS, ("0",))
    job = stages_training.run_job(
        project, done, run, stages_training.Forecast({}, 1.0, lambda _: {})
    )
    job.evaluate_whole(None, nullcontext)
    (n_bytes,) = scored
    assert n_bytes == sum(map(len, validation)) if most is None else 0 < n_bytes <= most
