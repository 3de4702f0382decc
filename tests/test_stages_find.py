"""`groundup find` on a small project: what is kept, and what the plan makes of it."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from groundup.architecture.config import ModelConfig
from groundup.artifacts import Artifact
from groundup.errors import ConfigError
from groundup.model.transformer import Transformer
from groundup.plan.local import fit
from groundup.plan.local.candidates import Job
from groundup.project import load_project
from groundup.stages import run_project
from groundup.stages_by_hand import require_possible
from groundup.stages_find import go_to
from groundup.stages_identity import runs_of
from groundup.train import measure
from groundup.train.changes import Change
from groundup.train.checkpoint import load_model_weights
from groundup.train.config import Settings
from groundup.train.find import batch_size as batch_size_finder
from groundup.train.find import lr_range, noise_scale
from groundup.train.find.batch_size import Trial
from groundup.train.start import new_state
from tests.plan.local.machines import machine, measured
from tests.projects import PROJECT_FILE, Finished, artifact, here, small_project

OPEN = PROJECT_FILE.replace("  learning_rate: 0.02\n", "")
NOISE = ("find", "noise-scale", "--batches", "10", "--rows", "8")
SWEEP = ("find", "learning-rate", "--steps", "60", "--to", "1000")


LAWS: list[Any] = []
FIT = fit.fit_law


def fitted_once(runs: Any) -> Any:
    """The law of the shipped runs, which every plan here fits to the same ones."""
    if not LAWS:
        LAWS.append(FIT(runs))
    return LAWS[0]


@pytest.fixture(autouse=True)
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """What the machine is measured with; nothing is timed."""
    seen: list[Job] = []

    def stand_in(settings: Mapping[str, Any], job: Job, *_: object) -> dict[str, Any]:
        seen.append(job)
        step = replace(measured(*job.sizes()[0]), tokens_per_step=job.tokens_per_step)
        found = {"precision": "fp32", "attention": "bmm", "n_threads": settings["n_threads"]}
        return asdict(machine(steps=(step,), **found))

    monkeypatch.setattr(measure, "measure_machine", stand_in)
    monkeypatch.setattr(fit, "fit_law", fitted_once)
    torch.set_num_threads(1)
    return seen


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project up to its tokens, to be copied."""
    folder = small_project(tmp_path_factory.mktemp("find") / "p", n_files=12, text=OPEN)
    run_project(load_project(folder), "tokens")
    return folder


@pytest.fixture
def project(planned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(planned, tmp_path / "p"))


def plan_of(project: Path, *words: str) -> dict[str, Any]:
    ended = here("plan", "--project", project, *words, "--json")
    assert ended.code == 0, ended.err
    result: dict[str, Any] = ended.json["result"]
    return result


def test_a_found_rate_is_the_plans_where_the_file_leaves_it_open(project: Path) -> None:
    before = plan_of(project)
    assert "found" not in before
    ended = here(*SWEEP, "--project", project, "--json")
    assert ended.code == 0, ended.err
    found = ended.json
    assert found["status"] == "finished"
    assert found["usual"] == {
        "learning_rate": 0.05, "adam_learning_rate": 0.02, "embedding_learning_rate": 0.4,
    }  # fmt: skip
    factor = found["suggested"]["learning_rate"] / 0.05
    for name, usual in found["usual"].items():  # all together
        assert found["suggested"][name] == pytest.approx(factor * usual, rel=0.01)
    assert found["diverged"] is not None
    page = Path(found["page"]).read_text()
    assert "learning rate of muon" in page

    after = plan_of(project)
    assert after["found"]["used"] == found["suggested"]
    for name, rate in found["suggested"].items():
        assert after["settings"][name] == rate
    same = {name for name in after["settings"] if name not in found["suggested"]}
    assert {name: after["settings"][name] for name in same} == {
        name: before["settings"][name] for name in same
    }
    assert after["machine"] == before["machine"]  # nothing was measured again

    # What the file says stays; another batch, optimizer, tokenizer or model is another question.
    own = plan_of(project, "pretrain.learning_rate=0.03")
    assert own["settings"]["learning_rate"] == 0.03
    assert own["settings"]["adam_learning_rate"] is None
    assert own["found"]["unused"] == {"learning_rate": "the project file has its own"}
    for words, named in (
        (["pretrain.momentum=0.8"], "pretrain.momentum"),
        (["model.d_model=64"], "model"),
        (["tokenizer.vocab_size=420"], "model, tokenizer"),
    ):
        ended = here("plan", "--project", project, *words, "--json")
        other = ended.json["result"]
        assert other["settings"]["learning_rate"] == 0.05
        assert "learning_rate" not in other.get("found", {}).get("used", {})
        assert f"was found with another {named}" in other["found"]["ignored"]["learning_rate"]
        assert "learning rate: not used: the newest (" in ended.err
    # A schedule or a longer run is not.
    assert plan_of(project, "pretrain.steps=24")["found"]["used"] == found["suggested"]


def test_the_noise_scale_stands_beside_the_batch(project: Path) -> None:
    ended = here(*NOISE, "--project", project, "--json")
    assert ended.code == 0, ended.err
    found = ended.json
    assert (found["n_batches"], found["rows_per_batch"], found["rows_per_part"]) == (10, 8, 1)
    assert found["rows"] == pytest.approx(found["trace"] / found["gradient_square"])
    assert found["tokens"] == pytest.approx(64 * found["rows"])
    again = here(*NOISE, "--project", project, "--json").json
    assert {**again, "path": ""} == {**found, "path": ""}  # the same batches, the same weights
    out = here("plan", "--project", project).out
    assert "Found by measurement" in out
    assert "critical batch size" in out
    assert "batch_size 4: " in out
    larger = plan_of(project, "pretrain.batch_size=8")["found"]  # as the advice may have it
    assert "noise_scale" in larger["findings"]
    people = here(*NOISE, "--project", project).out
    assert "Gradient noise at the first state, of 10 batches of 8 rows in parts of 1" in people
    assert "it grows while the loss falls" in people  # McCandlish et al. 2018, section 4.2


def trials_of(rates: Mapping[int, float], asked: list[Mapping[str, Any]]) -> Any:
    def stand_in(job: Mapping[str, Any], most: int, *, seen: Any, stop: Any) -> list[Trial]:
        asked.append({**job, "most": most})
        trials = [Trial(rows, True, rate, rows, 2**28) for rows, rate in rates.items()]
        for trial in trials:
            seen(trial)
        return [*trials, Trial(2 * max(rates), False)]

    return stand_in


def test_a_found_micro_batch_is_what_the_machine_is_measured_with(
    project: Path, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Mapping[str, Any]] = []
    stand_in = trials_of({1: 10.0, 2: 90.0, 3: 99.0, 4: 80.0}, asked)
    monkeypatch.setattr(batch_size_finder, "find_batch_size", stand_in)
    found = here("find", "batch-size", "--project", project, "--json").json
    assert found["suggested"] == {"micro_batch_size": 2}  # 3 is faster, and does not divide 4
    assert (found["largest"], found["is_largest"], found["fastest"]) == (4, True, 3)
    (job,) = asked
    assert job["most"] == 16
    assert job["settings"]["micro_batch_size"] == 4
    assert [job.micro_batch_size for job in jobs] == [None]
    plan = plan_of(project)
    assert [job.micro_batch_size for job in jobs] == [None, 2]
    assert plan["settings"]["micro_batch_size"] == 2
    assert plan["found"]["used"] == {"micro_batch_size": 2}
    assert plan_of(project, "pretrain.micro_batch_size=1")["settings"]["micro_batch_size"] == 1
    other = plan_of(project, "pretrain.attention=sdpa")
    assert "another pretrain.attention" in other["found"]["ignored"]["batch_size"]
    # a change to a batch that it does not divide
    changed = plan_of(project, "pretrain.changes=[{at: 4, batch_size: 9}]")
    assert changed["settings"]["micro_batch_size"] == 4
    assert "does not fit" in changed["found"]["unused"]["batch_size"]
    out = here("find", "batch-size", "--project", project).out
    assert "Micro-batches: 4 rows fit in " in out


def test_a_stop_keeps_what_was_found_and_says_so(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = noise_scale.norms_of
    done = []

    def interrupting(*arguments: Any) -> Any:
        done.append(1)
        if len(done) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(noise_scale, "norms_of", interrupting)
    ended = here(*NOISE, "--project", project, "--json")
    assert (ended.code, ended.json["status"], ended.json["n_batches"]) == (130, "interrupted", 3)
    assert plan_of(project)["found"]["findings"]["noise_scale"]["n_batches"] == 3

    apply = lr_range.apply_gradients

    def stopping(*arguments: Any, **named: Any) -> None:
        apply(*arguments, **named)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(lr_range, "apply_gradients", stopping)
    ended = here(*SWEEP, "--project", project, "--json")
    assert (ended.code, ended.json["suggested"], len(ended.json["rates"])) == (130, None, 1)
    assert plan_of(project)["settings"]["learning_rate"] == 0.05


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("learning-rate", "--from", "2", "--to", "1"), "does not grow"),
        (("learning-rate", "--steps", "10"), "says nothing"),
        (("noise-scale", "--rows", "1"), "a single row"),
        (("noise-scale", "--rows", "0"), "no row"),
        (("noise-scale", "--batches", "0"), "not at least one"),
        (("noise-scale", "--checkpoint", "nowhere"), "there is no such folder"),
        (("batch-size", "--most", "0"), "not at least one row"),
    ],
)
def test_what_cannot_be_asked_is_refused(project: Path, words: tuple[str, ...], says: str) -> None:
    ended = here("find", *words, "--project", project)
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err


def test_a_project_without_text_and_several_processes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_project(tmp_path / "empty", n_files=0, text=OPEN)
    ended = here(*NOISE, "--project", folder, "--json")
    assert ended.code == 2
    assert ended.json["status"] == "failed"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "measures one process" in here(*NOISE, "--project", folder).err


def test_a_checkpoint_is_measured_where_it_is(copy_of: Path) -> None:
    ended = here(*NOISE, "--project", copy_of, "--checkpoint", copy_of, "--json")
    assert ended.code == 0, ended.err
    found = ended.json
    assert found["step"] == 12
    run = json.loads(next((copy_of / "runs").glob("*/run.json")).read_text())
    assert Path(found["checkpoint"]).name == "step-00000012"
    assert found["loss"] < 6.1  # ln 400 = 5.99 at random; it has learnt since
    assert run["steps"] == 12
    plan = artifact(copy_of, "finding")
    assert (plan / "manifest.json").is_file()


def test_a_checkpoint_of_another_model_is_refused(copy_of: Path) -> None:
    words = ("--checkpoint", copy_of, "model.variant={logit_softcap: 5.0}")  # the same shapes
    ended = here(*NOISE, "--project", copy_of, *words)
    assert ended.code == 2
    assert "the checkpoint is of another model: logit_softcap" in ended.err


def test_an_activation_that_changed_on_the_way_is_measured(copy_of: Path) -> None:
    changed = "pretrain.changes=[{at: 2, activation: gelu}]"
    assert here("pretrain", "--project", copy_of, changed).code == 0
    run = runs_of(load_project(copy_of, overrides=[changed]))[0]
    checkpoint = run.path / "checkpoints" / "step-00000012"
    begun = run.manifest["config"]
    state = new_state(ModelConfig.from_dict(begun["model"]), Settings(**begun["settings"]))
    go_to(checkpoint, state, begun["model"])
    trained = load_model_weights(checkpoint)
    tokens = torch.arange(16)[None]
    torch.testing.assert_close(state.model(tokens), trained(tokens), rtol=0, atol=1e-4)
    other = Transformer(ModelConfig.from_dict(begun["model"]))
    other.load_state_dict(trained.state_dict())
    assert (other(tokens) - trained(tokens)).abs().max() > 1e-2


def test_what_was_found_takes_the_place_of_a_recipes_rates(project: Path) -> None:
    assert here(*SWEEP, "--project", project, "recipe=fast").code == 0
    plan = plan_of(project, "recipe=fast")
    (suggested,) = (each["suggested"] for each in plan["found"]["findings"].values())
    assert len(suggested) == 3
    assert plan["found"]["used"] == suggested
    assert {name: plan["settings"][name] for name in suggested} == suggested
    own = plan_of(project, "recipe=fast", "pretrain.learning_rate=0.01")
    assert own["settings"]["learning_rate"] == 0.01
    assert own["settings"]["adam_learning_rate"] == 0.02  # the recipe's


def test_a_change_by_hand_is_checked_like_the_project_files(finished: Finished) -> None:
    (run,) = runs_of(load_project(finished.folder))
    require_possible(Change(at=5, learning_rate=0.1), run)
    require_possible(Change(at=5, batch_size=8, micro_batch_size=4), run)
    for change, says in (
        (Change(at=5, batch_size=6), "micro_batch_size 4 does not divide batch_size 6"),
        (Change(at=5, optimizer="adamw", learning_rate=1e-3, adam_learning_rate=1e-3),
         "goes with optimizer: muon"),
        (Change(at=5, decay_fraction=0.5, schedule="cosine"), "decay_fraction"),
    ):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            require_possible(change, run)
        assert says in "; ".join(caught.value.problems)
        assert "the change at" not in "; ".join(caught.value.problems)


def test_a_change_by_hand_must_suit_the_processes_of_the_run(finished: Finished) -> None:
    (run,) = runs_of(load_project(finished.folder))
    for layout, rows, says in (
        ({"pp": 2}, 4, "cannot order 1 micro-batch"),
        ({"dp_shard": 8}, 4, "8 processes share a batch of 4 rows"),
    ):
        manifest = copy.deepcopy(dict(run.manifest))
        manifest["config"]["settings"]["layout"].update(layout)
        manifest["fingerprint"]["ranks"].update(layout)
        change = Change(at=5, batch_size=rows, micro_batch_size=4)
        with pytest.raises(ConfigError) as caught:
            require_possible(change, Artifact(run.path, manifest))
        assert says in "; ".join(caught.value.problems)
