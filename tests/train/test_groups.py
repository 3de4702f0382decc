import math
from dataclasses import replace

import pytest
import torch

from groundup.architecture.families import FAMILIES as ALL_FAMILIES
from groundup.architecture.families import build
from groundup.architecture.mup import with_mup
from groundup.model.init import init_weights
from groundup.model.transformer import Transformer
from groundup.train.batch import Batch
from groundup.train.optimizers.groups import (
    BESIDE_MUON,
    OTHERS_BESIDE_MUON,
    build_optimizers,
    load_optimizer_tensors,
    optimizer_tensors,
    roles,
    set_learning_rate,
)
from groundup.train.optimizers.muon import Muon
from groundup.train.start import new_state
from groundup.train.step import train_step
from tests.train.small import MODEL, SETTINGS, batch

FAMILIES = ["nanochat", "llama", "gpt2"]


def small(family):
    return build(family, vocab_size=64, n_layers=2, d_model=32, context_length=16)


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "sgd", "adafactor"])
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
@pytest.mark.parametrize("name", ["adamw", "sgd", "adafactor"])
def test_embeddings_and_vectors_have_no_weight_decay(family, name):
    model = Transformer(small(family))
    settings = replace(SETTINGS, optimizer=name, weight_decay=0.1)
    (optimizer,) = build_optimizers(model, settings)
    groups = optimizer.param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
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


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "sgd", "adafactor"])
@pytest.mark.parametrize("family", FAMILIES)
def test_optimizer_states_survive_the_way_through_names(family, optimizer):
    settings = replace(SETTINGS, optimizer=optimizer)
    trained, fresh = new_state(small(family), settings), new_state(small(family), settings)
    for seed in range(3):
        train_step(trained, settings, Batch(*batch(seed)))
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


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "sgd"])
def test_moments_are_kept_as_the_settings_say(optimizer):
    for dtype, kept in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        settings = replace(SETTINGS, optimizer=optimizer, optimizer_dtype=dtype)
        state = new_state(small("llama"), settings)
        train_step(state, settings, Batch(*batch(1)))
        tensors = dict(optimizer_tensors(state.model, state.optimizers))
        assert {t.dtype for name, t in tensors.items() if not name.endswith("/step")} == {kept}


@pytest.mark.parametrize("family", ALL_FAMILIES)
def test_every_parameter_of_every_family_has_one_role(family):
    made = build(family, vocab_size=64, n_layers=2, d_model=32, context_length=16, n_heads=4)
    model = Transformer(made)
    matrices, embeddings, classes, rest = roles(model)
    moved = [id(p) for role in (matrices, embeddings, classes, rest) for p in role]
    assert len(moved) == len(set(moved))
    assert set(moved) == {id(p) for p in model.parameters()}
    assert all(p.ndim == 2 for p in matrices)
    assert not any(p.shape[0] == 64 for p in matrices if p.shape == model.embed.weight.shape)
    for optimizer in ("muon", "adamw", "sgd", "adafactor"):
        build_optimizers(model, replace(SETTINGS, optimizer=optimizer))


def roles_by_name(config):
    model = Transformer(config)
    names = ("matrices", "embeddings", "classes", "rest")
    role = {id(p): name for name, group in zip(names, roles(model), strict=True) for p in group}
    return {name: role[id(p)] for name, p in model.named_parameters()}


def test_roles_of_what_only_some_families_have():
    sizes = {"vocab_size": 64, "n_layers": 2, "d_model": 32, "context_length": 16, "n_heads": 4}
    mixtral = build("mixtral", **sizes)
    experts = replace(mixtral.feed_forward, n_experts=4, n_experts_per_token=2)
    found = roles_by_name(replace(mixtral, feed_forward=experts))
    assert found["blocks.0.feed_forward.router.weight"] == "classes"
    assert found["blocks.0.feed_forward.experts.3.gate.weight"] == "matrices"
    bert = replace(build("bert", **sizes), sentence_head=True)
    found = roles_by_name(bert)
    assert found["token_type.weight"] == found["position.weight"] == "embeddings"
    assert found["pooler.weight"] == "matrices"
    assert (found["sentence.weight"], found["sentence.bias"]) == ("classes", "rest")
    assert roles_by_name(build("bert", **sizes, head="tokens"))["embed.weight"] == "rest"
    found = roles_by_name(build("t5-v1.1", **sizes))
    assert found["encoder.position.weight"] == found["embed.weight"] == "embeddings"
    assert found["blocks.1.cross_attention.k.weight"] == "matrices"
    found = roles_by_name(build("xlnet", **sizes))
    assert found["blocks.0.attention.relative.weight"] == "matrices"
    assert found["blocks.0.attention.relative.content_bias"] == "rest"
    found = roles_by_name(build("umt5", **sizes))
    for stack in ("", "encoder."):
        assert found[f"{stack}blocks.1.attention.relative.position.weight"] == "embeddings"


def mup(width, base=64, family="llama", **sizes):
    config = build(
        family, vocab_size=64, n_layers=2, d_model=width, context_length=16, head_dim=16, **sizes
    )
    return with_mup(config, base) if base else config


def test_with_mup_adams_rate_falls_for_hidden_matrices_only():
    wide = mup(256, family="mixtral")
    experts = replace(wide.feed_forward, n_experts=4, n_experts_per_token=2)
    model = Transformer(replace(wide, feed_forward=experts))
    settings = replace(SETTINGS, optimizer="adamw", learning_rate=0.01, weight_decay=0.1)
    (adamw,) = build_optimizers(model, settings)
    found = {id(p): group for group in adamw.param_groups for p in group["params"]}
    for name, p in model.named_parameters():
        group, is_hidden = found[id(p)], p.ndim == 2 and name.startswith("blocks.")
        assert group["lr"] == group["peak_lr"] == (0.01 / 4 if is_hidden else 0.01), name
        decays = is_hidden and "router" not in name
        assert group["weight_decay"] == (0.4 if decays else 0.0), name
    muon, beside = build_optimizers(model, replace(settings, optimizer="muon"))
    assert [group["lr"] for group in muon.param_groups] == [0.01]
    assert [group["lr"] for group in beside.param_groups] == [0.004, 0.004, 0.001]


def growth(made, optimizer, widths):
    """How the sizes of what layers put out grow with the width after a few steps: exponents."""
    settings = replace(
        SETTINGS,
        optimizer=optimizer,
        learning_rate={"adamw": 0.003, "muon": 0.02, "sgd": 0.3, "adafactor": 0.03}[optimizer],
        momentum=0.9 if optimizer == "sgd" else SETTINGS.momentum,
        adam_learning_rate=None,
        embedding_learning_rate=None,
    )
    sizes = {}
    for width in widths:
        model = Transformer(made(width))
        init_weights(model, torch.Generator().manual_seed(0))
        optimizers = build_optimizers(model, settings)
        seen = sizes[width] = {}
        for name in ("attention.q", "attention.o", "feed_forward.down"):
            model.blocks[1].get_submodule(name).register_forward_hook(
                lambda _, __, out, name=name, seen=seen: seen.update(
                    {name: out.abs().mean().item()}
                )
            )
        inputs, targets = batch(0)
        for _ in range(5):
            logits = model(inputs)
            seen["logits"] = logits.abs().mean().item()
            for each in optimizers:
                each.zero_grad()
            torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
            for each in optimizers:
                each.step()
    first, last = widths[0], widths[-1]
    return {
        name: math.log(sizes[last][name] / sizes[first][name]) / math.log(last / first)
        for name in sizes[first]
    }


@pytest.mark.parametrize(
    ("optimizer", "widths"),
    [
        ("adamw", (64, 128, 256, 512)),
        ("muon", (64, 128)),
        ("sgd", (64, 128, 256)),
        ("adafactor", (64, 128, 256)),
    ],
)
def test_coordinate_check(optimizer, widths):
    """Yang et al., appendix D.1: with muP no activation grows or shrinks with the width."""
    flat = growth(mup, optimizer, widths)
    assert all(abs(exponent) < 0.2 for exponent in flat.values()), flat
    grows = growth(lambda width: mup(width, base=None), optimizer, widths)
    assert all(exponent > 0.4 for exponent in grows.values()), grows
