"""Every objective with a family it is made for: it learns a language of eight phrases of six."""

from dataclasses import replace
from itertools import pairwise
from math import log

import numpy as np
import pytest
import torch

from groundup.architecture.families import build
from groundup.architecture.trained_for import trained_for
from groundup.errors import ConfigError
from groundup.evaluate.objective import judge, of_a_share
from groundup.train.batch import counts_of
from groundup.train.noise.config import ObjectiveConfig
from groundup.train.objective import stand_in
from groundup.train.start import new_state
from groundup.train.step import train_step
from tests.train.small import SETTINGS, Tokens

VOCAB_SIZE, FIRST = 160, 40  # ids below are special tokens
CONTEXT = 48


class Phrases(Tokens):
    """Eight phrases of six tokens, drawn alike: log(8) / 6 = 0.35 nats a token."""

    token_lengths = np.ones(VOCAB_SIZE, dtype=np.int64)

    def __init__(self, seed=0):
        phrases = np.random.default_rng(0).integers(FIRST, VOCAB_SIZE, (8, 6))
        drawn = np.random.default_rng(seed).integers(0, 8, 4000)
        self.tokens = phrases[drawn].reshape(-1).astype(np.uint16)
        self.n_tokens, self.vocab_size = len(self.tokens), VOCAB_SIZE


# Objective, family, what else the objective is told, steps, and the loss that shows it has learnt
# more than how often each token comes: log(48) = 3.87 nats.
RUNS = [
    ("causal", "llama", {}, 50, 1.5),
    ("causal", "gpt-j", {}, 50, 1.5),
    ("causal", "bloom", {}, 80, 1.5),
    ("causal", "mixtral", {}, 50, 1.5),
    ("causal", "gopher", {}, 60, 1.5),
    ("prefix", "gpt2", {}, 60, 2.5),
    ("infill", "llama", {}, 60, 2.0),
    ("masked", "bert", {}, 120, 2.5),
    ("span_corruption", "t5", {"n_sentinels": 20}, 120, 2.5),
    ("denoising", "bart", {}, 80, 2.0),
    ("ul2", "ul2", {"n_sentinels": 20}, 60, 2.0),
    ("ul2", "llama", {"n_sentinels": 20, "layout": "prefix"}, 80, 2.5),
    pytest.param("permutation", "xlnet", {}, 200, 3.3, marks=pytest.mark.slow),
]


def training(kind, family, more, steps, **settings):
    """Train a tiny model; its state, objective and losses."""
    config = ObjectiveConfig(kind=kind, **more)
    variant = {"n_experts": 4, "n_experts_per_token": 2} if family == "mixtral" else {}
    sizes = {"n_layers": 2, "d_model": 32, "n_heads": 4, "context_length": CONTEXT}
    model = build(family, vocab_size=VOCAB_SIZE, **sizes, **variant)
    chosen = replace(
        SETTINGS,
        context_length=CONTEXT,
        batch_size=16,
        micro_batch_size=16,
        optimizer="adamw",
        learning_rate=5e-3,
        beta2=0.98,
        steps=10_000,
        attention="sdpa",
        objective=config.of_kind(),
        **settings,
    )
    state = new_state(trained_for(model, kind, config.sentence != "none"), chosen)
    objective = stand_in(config, VOCAB_SIZE, "cpu")
    losses = []
    for _ in range(steps):
        batch = objective.batch_at(Phrases(), 1, state.cursor, 16, CONTEXT)
        losses.append(train_step(state, chosen, batch, objective.loss)[0].item())
        state.step += 1
    return state, objective, losses


@pytest.mark.parametrize(("kind", "family", "more", "steps", "reached"), RUNS)
def test_an_objective_learns_what_text_of_its_kind_holds(kind, family, more, steps, reached):
    state, objective, losses = training(kind, family, more, steps)
    assert losses[0] == pytest.approx(log(VOCAB_SIZE), rel=0.12)  # it began by knowing nothing
    assert np.mean(losses[-5:]) < reached
    about = {"context_length": CONTEXT, "n_rows": 64, "batch_size": 16}
    found = judge(state.model, Phrases(seed=1), objective, **about)
    assert found.loss < reached
    assert found.accuracy > 0.1  # the likeliest token alone: 0.03


def test_a_discriminator_learns_to_find_replaced_tokens(monkeypatch):
    """Its generator stays as it began: of two that both learn, which is in front is chance."""
    first, update = {}, train_step

    def step(state, *rest):
        shared = {id(p) for p in state.model.discriminator.parameters()}
        own = [p for p in state.model.generator.parameters() if id(p) not in shared]
        for p in own:
            first.setdefault(id(p), p.detach().clone())
        found = update(state, *rest)
        for p in own:
            p.data.copy_(first[id(p)])
        return found

    monkeypatch.setattr(f"{__name__}.train_step", step)
    state, objective, losses = training("replaced_token", "electra", {}, 60)
    assert losses[0] == pytest.approx(log(VOCAB_SIZE) + 50 * log(2), rel=0.05)
    about = {"context_length": CONTEXT, "n_rows": 64, "batch_size": 16}
    found = judge(state.model, Phrases(seed=1), objective, **about)
    nats, accuracy = of_a_share(found.replaced)  # what "original" of every token comes to
    assert found.loss < 0.8 * nats
    assert found.accuracy > accuracy + 0.03


@pytest.mark.parametrize("sentence", ["next", "order"])
def test_a_second_task_on_pairs_adds_its_loss(sentence):
    _, _, losses = training("masked", "albert", {"sentence": sentence}, 3)
    assert losses[0] == pytest.approx(log(VOCAB_SIZE) + log(2), rel=0.1)


@pytest.mark.parametrize(
    ("kind", "family", "more"),
    [
        ("masked", "albert", {"sentence": "next"}),
        ("span_corruption", "t5", {"n_sentinels": 20}),
        ("permutation", "xlnet", {}),
        ("prefix", "gpt2", {}),
    ],
)
def test_cutting_a_batch_changes_no_objective(kind, family, more):
    states = [training(kind, family, more, 1)[0], training(kind, family, more, 1)[0]]
    objective = stand_in(ObjectiveConfig(kind=kind, **more), VOCAB_SIZE, "cpu")
    batch = objective.batch_at(Phrases(), 1, 7 * 16, 16, CONTEXT)
    counts = counts_of(batch)
    whole = objective.loss(states[0].model, batch, counts)
    whole.backward()
    parts = [objective.loss(states[1].model, part, counts) for part in batch.split(3)]
    sum(parts).backward()
    assert sum(parts).item() == pytest.approx(whole.item(), rel=1e-5)
    for (name, p), q in zip(
        states[0].model.named_parameters(), states[1].model.parameters(), strict=True
    ):
        if p.grad is not None:
            torch.testing.assert_close(q.grad, p.grad, rtol=1e-3, atol=1e-6, msg=name)


def test_the_batch_of_a_step_is_a_function_of_seed_and_step():
    objective = stand_in(ObjectiveConfig(kind="span_corruption", n_sentinels=20), VOCAB_SIZE, "cpu")
    first, again, other = (
        objective.batch_at(Phrases(), 3, 4 * step, 4, CONTEXT) for step in (5, 5, 6)
    )
    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(first.targets, again.targets)
    assert first.inputs.shape != other.inputs.shape or not torch.equal(first.inputs, other.inputs)


def test_an_objective_is_refused_for_a_stack_that_cannot_learn_it():
    sizes = {"vocab_size": 8, "n_layers": 1, "d_model": 8, "context_length": 8}
    for kind, family in (("masked", "llama"), ("causal", "bert"), ("causal", "t5")):
        with pytest.raises(ConfigError, match=f"the objective {kind} is not for"):
            trained_for(build(family, **sizes), kind)
    for kind, family in (("masked", "xlnet"), ("permutation", "bert")):
        with pytest.raises(ConfigError, match=f"the objective {kind} is not for {family}"):
            trained_for(build(family, **sizes), kind)


def test_dropout_and_depth_are_drawn_from_the_state_that_a_checkpoint_holds():
    dropped = {"dropout": 0.1, "attention_dropout": 0.1, "layer_dropout": 0.2}
    runs = [training("causal", "llama", {}, 4, **dropped)[2] for _ in range(2)]
    assert runs[0] == runs[1]
    assert all(a != b for a, b in pairwise(runs[0]))
    assert runs[0] != training("causal", "llama", {}, 4)[2]
