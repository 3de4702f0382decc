from dataclasses import replace

import pytest
import torch

from groundup.architecture.families import build
from groundup.model.transformer import Transformer
from groundup.train.loop import train_step
from groundup.train.optimizers.groups import (
    BESIDE_MUON,
    OTHERS_BESIDE_MUON,
    build_optimizers,
    load_optimizer_tensors,
    optimizer_tensors,
    set_learning_rate,
)
from groundup.train.optimizers.muon import Muon
from groundup.train.start import new_state
from tests.train.small import MODEL, SETTINGS, batch

FAMILIES = ["nanochat", "llama", "gpt2"]


def small(family):
    return build(family, vocab_size=64, n_layers=2, d_model=32, context_length=16)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_is_moved_by_exactly_one_optimizer(family, optimizer):
    model = Transformer(small(family))
    optimizers = build_optimizers(model, replace(SETTINGS, optimizer=optimizer))
    moved = [id(p) for o in optimizers for group in o.param_groups for p in group["params"]]
    assert len(moved) == len(set(moved))
    assert set(moved) == {id(p) for p in model.parameters()}


@pytest.mark.parametrize("family", FAMILIES)
def test_muon_moves_the_matrices_of_the_blocks_and_nothing_else(family):
    model = Transformer(small(family))
    muon, adamw = build_optimizers(model, SETTINGS)
    assert isinstance(muon, Muon)
    assert isinstance(adamw, torch.optim.AdamW)
    by_muon = {id(p) for group in muon.param_groups for p in group["params"]}
    names = {name for name, p in model.named_parameters() if id(p) in by_muon}
    kinds = {name.split(".", 2)[2] for name in names}
    expected = {f"attention.{kind}.weight" for kind in "qkvo"}
    expected |= {"feed_forward.up.weight", "feed_forward.down.weight"}
    assert kinds == expected | ({"feed_forward.gate.weight"} if family == "llama" else set())


@pytest.mark.parametrize("family", FAMILIES)
def test_embeddings_and_vectors_have_no_weight_decay(family):
    model = Transformer(small(family))
    settings = replace(SETTINGS, optimizer="adamw", weight_decay=0.1)
    (adamw,) = build_optimizers(model, settings)
    decay = {id(p): group["weight_decay"] for group in adamw.param_groups for p in group["params"]}
    for name, p in model.named_parameters():
        assert decay[id(p)] == (0.1 if p.ndim == 2 and name.startswith("blocks.") else 0.0), name


def peaks(family, **fields):
    """Parameter → peak learning rate."""
    model = Transformer(small(family))
    optimizers = build_optimizers(model, replace(SETTINGS, **fields))
    rates = {
        id(p): group["peak_lr"]
        for optimizer in optimizers
        for group in optimizer.param_groups
        for p in group["params"]
    }
    return {name: rates[id(p)] for name, p in model.named_parameters()}


def test_learning_rates_are_shares_of_each_groups_peak():
    settings = replace(SETTINGS, embedding_learning_rate=0.1)
    optimizers = build_optimizers(Transformer(MODEL), settings)
    set_learning_rate(optimizers, 0.5)
    set_learning_rate(optimizers, 0.25)
    rates = [{group["lr"] for group in optimizer.param_groups} for optimizer in optimizers]
    assert rates == [{0.005}, {0.025, 0.001}]


@pytest.mark.parametrize("family", FAMILIES)
def test_each_role_has_the_rate_that_was_written_down(family):
    found = peaks(family, learning_rate=1.0, embedding_learning_rate=2.0, adam_learning_rate=3.0)
    tied = small(family).tie_embeddings
    for name, rate in found.items():
        if name.startswith("blocks.") and name.endswith("weight") and "norm" not in name:
            assert rate == 1.0, name
        elif name == "position.weight" or (name == "embed.weight" and not tied):
            assert rate == 2.0, name
        else:  # a tied embedding is a head
            assert rate == 3.0, name


def test_rates_left_open_are_those_found_for_the_initialisation():
    fields = {"embedding_learning_rate": None, "adam_learning_rate": None}
    nanochat, llama = peaks("nanochat", **fields), peaks("llama", **fields)
    assert (nanochat["embed.weight"], nanochat["head.weight"]) == BESIDE_MUON["nanochat"]
    assert (llama["embed.weight"], llama["head.weight"]) == OTHERS_BESIDE_MUON


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize("family", FAMILIES)
def test_optimizer_states_survive_the_way_through_names(family, optimizer):
    settings = replace(SETTINGS, optimizer=optimizer)
    trained, fresh = new_state(small(family), settings), new_state(small(family), settings)
    for seed in range(3):
        train_step(trained, settings, *batch(seed))
    tensors = dict(optimizer_tensors(trained.model, trained.optimizers))
    load_optimizer_tensors(fresh.model, fresh.optimizers, tensors)
    for ours, theirs in zip(fresh.optimizers, trained.optimizers, strict=True):
        found, expected = ours.state_dict()["state"], theirs.state_dict()["state"]
        assert found.keys() == expected.keys()
        for number, state in expected.items():
            assert found[number].keys() == state.keys()
            assert all(torch.equal(found[number][key], state[key]) for key in state)


def test_muon_in_a_run_computes_in_the_runs_precision():
    for precision, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        muon, _ = build_optimizers(Transformer(MODEL), replace(SETTINGS, precision=precision))
        assert muon.dtype == dtype
