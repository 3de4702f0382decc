"""`recipe`: what it sets, what it leaves to the user, and that it learns faster than GPT-2's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from groundup.architecture.families import build
from groundup.errors import ConfigError
from groundup.project import Project, ProjectFile, load_project, recipe_of, values
from groundup.recipes import RECIPES, Part, lay_under
from groundup.train.batch import Batch
from groundup.train.config import settle
from groundup.train.start import new_state
from groundup.train.step import train_step
from groundup.yaml12 import dotted


def loaded(folder: Path, text: str, *overrides: str) -> Project:
    (folder / "groundup.yaml").write_text(text)
    return load_project(folder, overrides=overrides)


def set_by_recipe(project: Project) -> set[str]:
    return {key for key, origin in project.origins.items() if origin.startswith("recipe")}


def test_custom_sets_nothing(tmp_path: Path) -> None:
    project = loaded(tmp_path, "recipe: custom")
    assert list(values(project)) == list(values(ProjectFile()))
    assert recipe_of(project) == {"name": "custom", "keys": []}


@pytest.mark.parametrize("name", ["fast", "gpt2"])
def test_a_recipe_sets_every_key_it_has_and_no_other(tmp_path: Path, name: str) -> None:
    project = loaded(tmp_path, f"recipe: {name}")
    expected = {key: value for part in RECIPES[name] for key, value in part.values.items()}
    found = {dotted(path): value for path, value in values(project)}
    assert {key: found[key] for key in expected} == expected
    assert set_by_recipe(project) == set(expected)
    assert recipe_of(project)["name"] == name
    assert set(recipe_of(project)["keys"]) == set(expected)


def test_gpt2_is_what_nanogpt_trains_small_models_with(tmp_path: Path) -> None:
    """config/train_shakespeare_char.py and the defaults of train.py in karpathy/nanoGPT."""
    project = loaded(tmp_path, "recipe: gpt2")
    assert project.model.family == "gpt2"
    section = project.pretrain
    assert (section.optimizer, section.learning_rate, section.weight_decay) == ("adamw", 1e-3, 0.1)
    assert (section.beta1, section.beta2, section.grad_clip) == (0.9, 0.99, 1.0)
    assert (section.schedule, section.warmup_steps, section.min_lr_ratio) == ("cosine", 100, 0.1)


def test_keys_of_the_user_stay_as_they_are(tmp_path: Path) -> None:
    text = "recipe: fast\nmodel:\npretrain: {momentum: 0.8, learning_rate: null}"
    project = loaded(tmp_path, text, "pretrain.beta1=0.7")
    assert (project.pretrain.momentum, project.pretrain.beta1) == (0.8, 0.7)
    assert project.pretrain.learning_rate is None
    assert project.origins["pretrain.momentum"] == "groundup.yaml:3"
    assert project.origins["pretrain.beta1"] == "override"
    assert project.origins["pretrain.beta2"] == "recipe fast"
    assert project.origins["model.family"] == "recipe fast"


def test_an_override_takes_another_recipe(tmp_path: Path) -> None:
    assert loaded(tmp_path, "recipe: fast", "recipe=gpt2").model.family == "gpt2"


@pytest.mark.parametrize(
    ("given", "left_out", "kept"),
    [
        (
            "pretrain: {optimizer: adamw}",
            {"learning_rate", "adam_learning_rate", "embedding_learning_rate", "beta1"},
            {"schedule"},
        ),
        (
            "model: {family: llama}",
            {"adam_learning_rate", "embedding_learning_rate"},
            {"optimizer", "learning_rate"},
        ),
        ("pretrain: {schedule: cosine}", {"decay_fraction"}, {"optimizer"}),
        ("pretrain: {decay_steps: 50}", {"decay_fraction"}, {"schedule"}),
        ("pretrain: {decay_tokens: 1M}", {"decay_fraction"}, {"schedule"}),
    ],
)
def test_what_goes_with_a_value_is_left_out_with_it(
    tmp_path: Path, given: str, left_out: set[str], kept: set[str]
) -> None:
    found = set_by_recipe(loaded(tmp_path, f"recipe: fast\n{given}"))
    assert not {f"pretrain.{key}" for key in left_out} & found
    assert {f"pretrain.{key}" for key in kept} <= found


@pytest.mark.parametrize("name", ["fast", "gpt2"])
def test_a_network_that_is_trained_already_stays_what_it_is(tmp_path: Path, name: str) -> None:
    project = loaded(tmp_path, f"recipe: {name}\npretrain: {{init_from: ../other}}")
    assert not {key for key in set_by_recipe(project) if key.startswith("model.")}
    assert project.origins["pretrain.optimizer"] == f"recipe {name}"


@pytest.mark.parametrize("name", ["fast", "gpt2"])
def test_the_optimizer_of_a_parameter_server_is_its_own(tmp_path: Path, name: str) -> None:
    """It refuses `pretrain.optimizer` and Muon's rates, which nobody wrote here."""
    text = f"recipe: {name}\npretrain: {{asynchronous: {{kind: parameter_server}}}}"
    found = set_by_recipe(loaded(tmp_path, text))
    assert found
    assert not {key for key in found if key.endswith(("optimizer", "_rate", "beta1", "momentum"))}
    local = loaded(tmp_path, f"recipe: {name}\npretrain: {{asynchronous: {{kind: local_sgd}}}}")
    assert "pretrain.optimizer" in set_by_recipe(local)


def test_what_is_no_section_is_said_as_without_a_recipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, "recipe: fast\npretrain: 3")
    assert any("2: pretrain: must be a section" in each for each in caught.value.problems)


def test_an_unknown_recipe_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, "recipe: fats")
    (problem,) = caught.value.problems
    assert "1: recipe: 'fats' is not one of" in problem
    assert "did you mean 'fast'" in problem


def test_parts_need_what_stands_there_after_the_parts_before_them() -> None:
    raw: dict[str, Any] = {"a": {"x": 1}}
    parts = (
        Part("first", {"a.x": 2, "b.y": 3}),
        Part("second", {"b.z": 4}, needs={"a.x": 2}),
        Part("third", {"b.w": 5}, needs={"b.y": 3}),
        Part("fourth", {"b.v": 6}, unless=("b.w",)),
        Part("fifth", {"b.u": 7}, not_with={"a.x": 1}),
    )
    assert lay_under(raw, parts) == [("b", "y"), ("b", "w")]
    assert raw == {"a": {"x": 1}, "b": {"y": 3, "w": 5}}


def test_fast_learns_more_than_gpt2_of_the_same_tokens(tmp_path: Path) -> None:
    """A text with an order of its own: each letter a function of the two before it."""
    losses = {name: trained(loaded(tmp_path, f"recipe: {name}")) for name in ("fast", "gpt2")}
    assert losses["fast"] < 0.8 * losses["gpt2"]


def trained(project: Project) -> float:
    """Mean loss of the last steps of 120."""
    n_letters, n_steps, shape = 8, 120, (8, 33)
    table = np.random.default_rng(0).integers(n_letters, size=(n_letters, n_letters))
    chosen = {
        "steps": n_steps,
        "device": "cpu",
        "precision": "fp32",
        "float32_matmul_precision": "highest",
        "attention": "sdpa",
        "n_threads": 1,
        "evaluate_every": n_steps,
        "checkpoint_every": n_steps,
        "sample_every": n_steps,
    }
    settings = settle(project.pretrain, chosen, context_length=32, seed=0)
    config = build(
        project.model.family,
        vocab_size=n_letters,
        n_layers=2,
        d_model=32,
        context_length=32,
        n_heads=2,
    )
    state = new_state(config, settings)
    generator = np.random.default_rng(1)
    losses = []
    for _ in range(n_steps):
        rows = generator.integers(n_letters, size=shape)
        for place in range(2, shape[1]):
            surprise = generator.random(shape[0]) < 0.1
            ruled = table[rows[:, place - 2], rows[:, place - 1]]
            rows[:, place] = np.where(surprise, rows[:, place], ruled)
        batch = torch.from_numpy(rows)
        loss, _ = train_step(state, settings, Batch(batch[:, :-1], batch[:, 1:]))
        losses.append(float(loss))
    return sum(losses[-10:]) / 10
