"""What benchmarks/recipe.py compares is what it says: nanoGPT's recipe, and equal tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import nanogpt_recipe as nanogpt
from benchmarks import recipe
from benchmarks.recipe_arms import SHORT
from benchmarks.recipe_texts import Text, characters

from groundup.files import write_json
from groundup.model.transformer import Transformer

# Three documents of 70, 200 and 30 tokens; 0 stands before each.
LENGTHS = (70, 200, 30)
STREAM = np.concatenate([[0, *range(1, length)] for length in LENGTHS]) % 250
TEXT = Text(STREAM.astype(np.int64), STREAM.astype(np.int64), 250, 0)


def test_nanogpts_network_has_the_weights_of_its_settings() -> None:
    """Tables V·D and T·D, blocks of 12·D² and two norms of D, a last norm; the head is tied."""
    config = recipe.config_of(recipe.nanogpt_at(1e-3), TEXT)
    model = Transformer(config)
    v, d, t, n = 250, 128, 64, 4
    assert (
        sum(w.numel() for w in model.parameters()) == v * d + t * d + n * (12 * d * d + 2 * d) + d
    )
    assert not [name for name, _ in model.named_parameters() if name.endswith("bias")]
    assert config.feed_forward.activation == "gelu"


def test_nanogpts_optimizer_lets_tables_decay_and_norms_not() -> None:
    arm = recipe.nanogpt_at(1e-3)
    model = Transformer(recipe.config_of(arm, TEXT))
    decaying, others = nanogpt.optimizer(model, recipe.settings_of(arm, 0)).param_groups
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert {id(w) for w in decaying["params"]} == {id(w) for w in model.parameters() if w.ndim > 1}
    assert len(others["params"]) == 2 * 4 + 1
    assert decaying["betas"] == (0.9, 0.99)


@pytest.mark.parametrize("step", [0, 99, 100, 1050, 1999])
def test_nanogpts_learning_rate_is_its_formula(step: int) -> None:
    """get_lr of its train.py, with learning_rate 1e-3, min_lr 1e-4, lr_decay_iters 2000."""
    from groundup.train.schedules import learning_rate_ratio

    if step < 100:
        expected = 1e-3 * (step + 1) / 101
    else:
        share = 0.5 * (1 + np.cos(np.pi * (step - 100) / 1900))
        expected = 1e-4 + share * 9e-4
    settings = recipe.settings_of(recipe.nanogpt_at(1e-3), 0)
    assert settings.learning_rate * learning_rate_ratio(settings, step) == pytest.approx(expected)


def test_all_arms_but_the_long_ones_see_the_same_tokens(tmp_path: Path) -> None:
    groups = recipe.arms(tmp_path, "char")
    for arm in [*groups["without"].values(), *groups["with"].values()]:
        settings = recipe.settings_of(arm, 0)
        ramp = settings.batch_size_ramp
        rows = sum(recipe.of_step(settings, step).batch_size for step in range(settings.steps))
        assert 0 <= rows - SHORT * 12 < 24
        assert ramp is None or settings.steps > SHORT


def test_aligned_rows_begin_with_a_document_and_aim_at_what_follows() -> None:
    inputs, targets = recipe.aligned(TEXT)
    assert inputs.shape[1] == recipe.T
    assert (inputs[:, 0] == 0).all()
    follows = {(a, b) for a, b in zip(STREAM[:-1].tolist(), STREAM[1:].tolist(), strict=True)}
    pairs = zip(inputs.flatten().tolist(), targets.flatten().tolist(), strict=True)
    assert set(pairs) <= follows


def test_windows_in_turn_show_every_token_once_an_epoch() -> None:
    n_windows = (len(STREAM) - 1) // recipe.T
    batch = recipe.batches(TEXT, recipe.FAST, seed=3)(0, n_windows)
    assert sorted(batch.inputs.flatten().tolist()) == sorted(STREAM[: n_windows * recipe.T])


def test_the_loss_is_the_mean_over_the_whole_validation_part() -> None:
    """A head of zeros guesses: log of the vocabulary, whatever the tokens."""
    settings = recipe.settings_of(recipe.FAST, 0)
    state = recipe.new_state(recipe.config_of(recipe.FAST, TEXT), settings)
    torch.nn.init.zeros_(state.model.head.weight)
    found = recipe.validation_loss(state, settings, TEXT)
    assert found == pytest.approx(np.log(250), rel=1e-5)


def test_a_run_is_short_of_evaluations_in_tokens_and_time() -> None:
    arm = replace(recipe.FAST, steps=24, n_evaluations=4)
    run = recipe.trained(TEXT, arm, seed=0)
    tokens = [tokens for tokens, _, _ in run["curve"]]
    assert tokens[-1] == 24 * 12 * 64
    assert tokens == [6 * 768, 12 * 768, 18 * 768, 24 * 768]
    assert recipe.final(run) < np.log(250)
    assert recipe.reached(run, recipe.final(run)) is not None
    assert recipe.reached(run, 0.0) is None


def test_ratios_are_of_the_same_seed_and_of_what_was_finished(tmp_path: Path) -> None:
    def made(name: str, seed: int, curve: list[tuple[int, float, float]]) -> None:
        run = {"parameters": 1, "steps": 2, "curve": curve}
        write_json(recipe.file_of(tmp_path, "char", name, seed), run)

    made("nanoGPT", 0, [(500, 5.0, 3.0), (1000, 10.0, 2.0)])
    made("nanoGPT", 1, [(500, 5.0, 3.0), (1000, 20.0, 1.0)])
    made("fast, 1/7", 0, [(100, 1.0, 2.5), (200, 4.0, 1.9)])
    made("fast, 1/7", 1, [(100, 1.0, 2.5), (200, 4.0, 1.9)])
    found = recipe.figures(tmp_path, "char", "fast, 1/7")
    assert found is not None
    assert found["fewer_tokens_to nanoGPT"] == {0: 5.0}
    assert found["less_time_to nanoGPT"] == {0: 2.5}
    assert recipe.figures(tmp_path, "char", "fast, 1/5") is None
    assert recipe.tables(tmp_path, ["char"])


def test_characters_of_a_file_are_cut_at_nine_tenths(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("abcab" * 20)
    text = characters(tmp_path / "text")
    assert (len(text.train), len(text.validation), text.vocab_size) == (90, 10, 4)
    assert text.train[:5].tolist() == [1, 2, 3, 1, 2]
