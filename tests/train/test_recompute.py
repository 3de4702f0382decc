"""Blocks that compute again what they do not keep: the same gradients, less memory."""

from dataclasses import replace

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint

from groundup.architecture.families import build
from groundup.architecture.trained_for import trained_for
from groundup.model.generate import generate
from groundup.plan.local.peak import uncalibrated
from groundup.train.batch import counts_of
from groundup.train.noise.config import ObjectiveConfig
from groundup.train.objective import stand_in
from groundup.train.parallel.recompute import recompute_blocks
from groundup.train.start import new_model, new_state
from groundup.train.step import gradients, train_step
from tests.train.small import MODEL, SETTINGS, Tokens, batch, causal_loss

CONTEXT, VOCAB_SIZE = 16, 64
KINDS = ("selective", "full")
FAMILIES = {
    "nanochat": ("causal", {"n_heads": 2}),
    "gpt2": ("causal", {}),
    "gpt-j": ("causal", {}),
    "mixtral": ("causal", {"n_experts": 4, "n_experts_per_token": 2}),
    "bert": ("masked", {}),
    "albert": ("masked", {}),
    "t5": ("span_corruption", {}),
    "bart": ("denoising", {}),
    "lamda": ("causal", {}),
    "xlnet": ("permutation", {}),
    "electra": ("replaced_token", {}),
}


def found(family, recompute, **changed):
    """Loss and gradients of one step of a tiny model, and how long its weights are afterwards."""
    kind, more = FAMILIES[family]
    config = ObjectiveConfig(
        kind=kind, **({"n_sentinels": 20} if kind == "span_corruption" else {})
    )
    settings = replace(
        SETTINGS, recompute=recompute, objective=config.of_kind(), optimizer="adamw", **changed
    )
    sizes = {"n_layers": 2, "d_model": 32, "n_heads": 4, "context_length": CONTEXT}
    model = trained_for(build(family, vocab_size=VOCAB_SIZE, **{**sizes, **more}), kind, False)
    state, objective = new_state(model, settings), stand_in(config, VOCAB_SIZE, "cpu")
    whole = objective.batch_at(Tokens(), 1, 0, settings.batch_size, CONTEXT)
    gave = gradients(state, settings, whole, counts_of(whole), objective.loss)
    return gave.loss, {name: p.grad for name, p in state.model.named_parameters()}


def require_alike(one, other):
    assert torch.equal(one[0], other[0])
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        if gradient is None:
            assert other[1][name] is None, name
        else:
            assert torch.equal(gradient, other[1][name]), name


@pytest.mark.parametrize("recompute", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_the_same_to_the_bit(family, recompute):
    require_alike(found(family, "none"), found(family, recompute))


@pytest.mark.parametrize("recompute", KINDS)
def test_what_was_left_out_at_random_is_left_out_again(recompute):
    drops = {"dropout": 0.3, "attention_dropout": 0.2, "layer_dropout": 0.3}
    require_alike(found("gpt2", "none", **drops), found("gpt2", recompute, **drops))


@pytest.mark.parametrize("recompute", KINDS)
@pytest.mark.parametrize("attention", ["bmm", "sdpa"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_each_attention_and_precision_is_computed_again_alike(recompute, attention, precision):
    how = {"attention": attention, "precision": precision, "micro_batch_size": 2}
    require_alike(found("nanochat", "none", **how), found("nanochat", recompute, **how))


def kept_bytes(recompute, attention, config=None):
    """What a forward pass leaves allocated, by torch's own count."""
    model = new_model(config or replace(MODEL, context_length=128), 7, attention)
    recompute_blocks(model, recompute)
    inputs, targets = batch(length=128)
    causal_loss(model, inputs, targets)  # tables of positions are made once
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        loss = causal_loss(model, inputs, targets)
    del loss
    return sum(event.self_cpu_memory_usage for event in profiled.events())


@pytest.mark.parametrize("attention", ["bmm", "sdpa"])
def test_the_more_is_computed_again_the_less_is_kept(attention):
    none, selective, full = (kept_bytes(kind, attention) for kind in ("none", *KINDS))
    assert full < selective < none
    # Beside the blocks embeddings, head and loss keep what they kept: what is left of a block is
    # its input, [4, 128, 32] float32.
    assert full < none / 2


@pytest.mark.parametrize("attention", ["bmm", "sdpa"])
def test_the_plan_knows_what_is_kept(attention):
    """Of a deep model, where the layers weigh most; the estimate is counted, not fitted."""
    config = build("gpt2", vocab_size=64, n_layers=16, d_model=64, n_heads=4, context_length=128)
    counted, measured = {}, {}
    for recompute in ("none", *KINDS):
        parts = uncalibrated(
            config,
            precision="fp32",
            attention=attention,
            base_memory_bytes=0,
            tokens=4 * 128,
            context_length=128,
            optimizer="adamw",
            recompute=recompute,
        )
        counted[recompute] = parts.activations
        measured[recompute] = kept_bytes(recompute, attention, config)
    for recompute in KINDS:
        share = measured[recompute] / measured["none"]
        # At the peak one block is whole, which a forward pass alone does not show.
        assert counted[recompute] / counted["none"] == pytest.approx(share, abs=1 / 16 + 0.05)


def test_with_full_a_block_keeps_no_tensor_of_its_own():
    saved = []
    model = new_model(MODEL, 7)
    recompute_blocks(model, "full")
    inputs, targets = batch()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        causal_loss(model, inputs, targets)
    assert not [t for t in saved if t.ndim == 4]  # heads
    assert not [t for t in saved if t.shape[-1:] == (4 * MODEL.d_model,)]  # the network's features


def test_names_and_texts_stay():
    plain, wrapped = new_model(MODEL, 7), new_model(MODEL, 7)
    recompute_blocks(wrapped, "full")
    assert list(plain.state_dict()) == list(wrapped.state_dict())
    texts = [
        [step.id for step in generate(model.eval(), [1, 2], max_new_tokens=6, seed=3)]
        for model in (plain, wrapped)
    ]
    assert texts[0] == texts[1]


def test_several_steps_end_at_the_same_weights():
    hashes = []
    for recompute in ("none", *KINDS):
        settings = replace(SETTINGS, recompute=recompute, dropout=0.1)
        state, objective = new_state(MODEL, settings), stand_in(ObjectiveConfig(), 64, "cpu")
        for _ in range(3):
            rows = objective.batch_at(Tokens(), 1, state.cursor, 4, CONTEXT)
            train_step(state, settings, rows)
        hashes.append(state.final_hash())
    assert len(set(hashes)) == 1


def test_the_first_block_alone_agrees_with_torchs_checkpoint():
    model = new_model(MODEL, 7)
    block = model.blocks[0]
    x = torch.randn(2, CONTEXT, MODEL.d_model, requires_grad=True)
    look = torch.nn.functional.scaled_dot_product_attention
    arguments = (None, lambda t: t, lambda q, k, v: look(q, k, v, is_causal=True), None, None)
    expected = checkpoint(block, x, *arguments, use_reentrant=False)
    (grad,) = torch.autograd.grad(expected.square().sum(), x)
    recompute_blocks(model, "full")
    (again,) = torch.autograd.grad(block(x, *arguments).square().sum(), x)
    assert torch.equal(grad, again)
