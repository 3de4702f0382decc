from __future__ import annotations

import math
import timeit
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.architecture.config import ModelConfig, Positions
from groundup.architecture.counts import parameters
from groundup.architecture.families import FAMILIES, build
from groundup.errors import ConfigError, InputError
from groundup.plan.memory import (
    DeviceMemory,
    check_divides,
    device_memory,
    in_flight,
    state_bytes_per_parameter,
)
from groundup.plan.parallelism import Layout
from groundup.plan.sharding import padded_vocabulary, stages

GIB = 2**30


def gpt(n_layers: int, d_model: int, n_heads: int, **sizes: int) -> ModelConfig:
    return build("gpt2", n_layers=n_layers, d_model=d_model, n_heads=n_heads,
                 **{"vocab_size": 51200, "context_length": 2048, **sizes})  # fmt: skip


def llama(n_layers: int = 4, n_kv_heads: int = 8, vocab_size: int = 32000) -> ModelConfig:
    return build("llama", vocab_size=vocab_size, n_layers=n_layers, d_model=1024,
                 context_length=2048, n_heads=8, n_kv_heads=n_kv_heads, d_ff=2816)  # fmt: skip


# Korthikanti et al. 2022, table 3: the four models of its figures.
MODELS = {
    "22B": (gpt(48, 6144, 64), Layout(tp=8, micro_batch_size=4)),
    "175B": (gpt(96, 12288, 96), Layout(tp=8, pp=8, virtual_stages=3)),
    "530B": (gpt(105, 20480, 128), Layout(tp=8, pp=35, virtual_stages=3)),
    "1T": (gpt(128, 25600, 160), Layout(tp=8, pp=64)),
}
# Their figure 1: states (18 bytes a parameter), activations of the baseline and of their method.
FIGURE_1 = {
    "22B": (45.5625, 59.25, 9.5625),
    "175B": (45.5625, 66.84, 12.35),
    "530B": (31.64, 114.02, 23.08),
    "1T": (32.96, 131.25, 26.56),
}


def as_printed(name: str, **changes: Any) -> DeviceMemory:
    config, layout = MODELS[name]
    return device_memory(
        config, replace(layout, **changes), context_length=2048, fp32_gradients=True,
        flash_attention=False, dropout=True, blocks_only=True,
    )  # fmt: skip


@pytest.mark.parametrize("name", FIGURE_1)
def test_figure_1_of_korthikanti(name: str) -> None:
    state, baseline, present = FIGURE_1[name]
    found = as_printed(name)
    assert (found.weights + found.gradients + found.optimizer) / GIB == pytest.approx(
        state, rel=1e-3
    )
    assert found.activations / GIB == pytest.approx(baseline, rel=2e-3)
    ours = as_printed(name, sequence_parallel=True, recompute="selective")
    assert ours.activations / GIB == pytest.approx(present, rel=2e-3)


@pytest.mark.parametrize(
    ("changes", "percent"),
    [
        ({"sequence_parallel": True}, 62.04),
        ({"recompute": "selective"}, 56.53),
        ({"sequence_parallel": True, "recompute": "selective"}, 18.49),
        ({"recompute": "full"}, 8.71),
    ],
    ids=["sequence", "selective", "both", "full"],
)
def test_figure_7_of_korthikanti_for_175b(changes: dict[str, Any], percent: float) -> None:
    share = as_printed("175B", **changes).activations / as_printed("175B").activations
    assert 100 * share == pytest.approx(percent, abs=0.2)


@pytest.mark.parametrize(
    ("zero", "dp", "fp32_gradients", "precision", "expected"),
    [
        # ZeRO (arXiv:1910.02054, figure 1) and Megatron Core's "Distributed Optimizer" page.
        (0, 64, False, "bf16", 16),
        (0, 64, True, "bf16", 18),
        (1, 64, False, "bf16", 4 + 12 / 64),
        (1, 64, True, "bf16", 6 + 12 / 64),
        (2, 64, False, "bf16", 2 + 14 / 64),
        (3, 64, False, "bf16", 16 / 64),
        (3, 64, True, "fp16", 18 / 64),
        (0, 8, True, "fp32", 16),
        (1, 8, True, "fp32", 8 + 8 / 8),
    ],
)
def test_bytes_per_parameter(
    zero: int, dp: int, fp32_gradients: bool, precision: str, expected: float
) -> None:
    found = state_bytes_per_parameter(zero, dp, "adamw", precision, fp32_gradients)
    assert found == expected
    memory = device_memory(
        llama(), Layout(dp=dp, zero=zero), context_length=128, precision=precision,
        fp32_gradients=fp32_gradients,
    )  # fmt: skip
    assert memory.bytes_per_parameter == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("optimizer", "moments"),
    [("adamw", 8), ("lion", 4), ("momentum", 4), ("sgd", 0), ("muon", 4), ("adam-8bit", 2.03125)],
)
def test_moments_of_each_optimizer(optimizer: str, moments: float) -> None:
    assert state_bytes_per_parameter(0, 1, optimizer, "fp32") == 8 + moments
    assert state_bytes_per_parameter(0, 1, optimizer, "bf16") == 8 + moments


def test_muon_keeps_one_momentum_for_matrices_and_two_moments_for_the_rest() -> None:
    config = llama()
    counts = parameters(config)
    found = device_memory(config, Layout(), context_length=128, optimizer="muon")
    matrices = counts.attention + counts.feed_forward
    assert found.optimizer == 4 * counts.total + 4 * matrices + 8 * (counts.total - matrices)


def test_adafactor_keeps_rows_and_columns() -> None:
    found = device_memory(
        llama(n_layers=1), Layout(), context_length=128, optimizer="adafactor", precision="fp32"
    )
    d, ff, vocab = 1024, 2816, 32000
    vectors = 3 * d
    assert found.optimizer == 4 * (4 * 2 * d + 3 * (d + ff) + 2 * (vocab + d) + vectors)


def test_offloaded_state_is_counted_on_the_host_only() -> None:
    here = device_memory(llama(), Layout(), context_length=128)
    away = device_memory(llama(), Layout(), context_length=128, cpu_offload=True)
    assert (away.host, away.optimizer, here.host) == (here.optimizer, 0, 0)
    assert here.used - away.used == here.optimizer
    assert away.bytes_per_parameter == here.bytes_per_parameter == 16


# Megatron-LM's megatron/training/theoretical_memory_usage.py, written out: the most loaded shard,
# without vocabulary padding (its multiple divides 51,200).
@pytest.mark.parametrize("name", MODELS)
def test_the_most_loaded_shard_of_megatrons_report(name: str) -> None:
    config, layout = MODELS[name]
    h, vocab = config.d_model, 51200
    blocks = 2 * h * (4 * h + 2) * config.n_layers + 4 * h * h * config.n_layers + 2 * h
    shard = (blocks / layout.pp + vocab * h) / layout.tp
    rotary = replace(config, positions=Positions("rotary"))  # it leaves out learned positions
    found = device_memory(rotary, layout, context_length=2048)
    # It leaves out biases and splits the norms: a thousandth of a rank.
    assert found.parameters == pytest.approx(shard, rel=2e-3)


def test_megatrons_report_of_activations_with_one_stage() -> None:
    """compute_activation_memory of the same file: 18 + 4 ff/h, embedding's mask, output layer."""
    config, layout = MODELS["22B"]
    s, b, h, t, vocab = 2048, 4, config.d_model, 8, 51200
    report = (s * b * h * 34 * config.n_layers + s * b * h + s * b * h * 4 * (1 + vocab / h)) / t
    found = device_memory(
        config, replace(layout, sequence_parallel=True, recompute="selective"),
        context_length=s, flash_attention=False, dropout=True,
    )  # fmt: skip
    assert found.activations + found.logits == pytest.approx(report, rel=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_rank_holds_every_parameter_of_every_family(family: str) -> None:
    config = build(family, vocab_size=1000, n_layers=4, d_model=256, context_length=128, n_heads=4)
    (stage,) = stages(config, 1, 1)
    assert (stage.blocks + stage.ends).total == parameters(config).total


def test_stages_and_ranks_hold_the_matrices_once_and_the_norms_everywhere() -> None:
    config = llama(vocab_size=32768)  # no padding
    whole = parameters(config)
    of_stages = stages(config, 4, 2)
    held = 4 * sum((stage.blocks + stage.ends).total for stage in of_stages)
    assert held == whole.total + 3 * whole.norm
    first, last = of_stages
    assert first.ends.total == 32768 * 1024 // 4
    assert last.ends.total == 32768 * 1024 // 4 + 1024


def test_a_tied_embedding_is_on_both_ends() -> None:
    config = gpt(4, 1024, 16)
    first, last = stages(config, 1, 2)
    assert first.ends.total == (51200 + 2048) * 1024
    assert last.ends.total == 51200 * 1024 + 2 * 1024
    (only,) = stages(config, 1, 1)
    assert only.ends.total == (51200 + 2048 + 2) * 1024


def test_key_value_heads_are_copied_where_there_are_fewer_than_ranks() -> None:
    shared = llama(n_kv_heads=2)
    two, eight = (stages(shared, tp, 1)[0].blocks.hidden for tp in (2, 8))
    kv = 4 * 2 * 1024 * 128  # layers · (k, v) · width · one head
    assert 8 * eight - 2 * two == 6 * kv


def test_albert_holds_its_one_layer_on_every_stage() -> None:
    config = build("albert", vocab_size=30000, n_layers=12, d_model=768, context_length=512)
    first, last = stages(config, 1, 2)
    assert first.blocks == last.blocks == stages(config, 1, 1)[0].blocks


def test_an_encoder_stands_before_its_decoder_in_the_pipeline() -> None:
    config = build("t5", vocab_size=32128, n_layers=12, d_model=768, context_length=512)
    found = stages(config, 1, 4)
    assert [(stage.n_encoder_layers, stage.n_decoder_layers) for stage in found] == [
        (6, 0), (6, 0), (0, 6), (0, 6),
    ]  # fmt: skip
    assert found[2].ends.total > 32128 * 768  # the decoder reads tokens too
    assert found[1].ends.total == 0


@pytest.mark.parametrize(("size", "tp", "padded"), [(50257, 1, 50257), (50257, 8, 51200)])
def test_vocabulary_is_padded_as_megatron_does(size: int, tp: int, padded: int) -> None:
    assert padded_vocabulary(size, tp) == padded


@given(st.integers(1, 64), st.integers(1, 8))
def test_the_first_stage_holds_what_korthikanti_says(pp: int, v: int) -> None:
    layers_held = in_flight(0, pp, v) / pp  # of all L
    assert math.isclose(layers_held, 1 if v == 1 else 1 + (pp - 1) / (pp * v))
    assert in_flight(0, pp, v, n_micro_batches=1) == 1


def test_context_ranks_divide_activations_and_share_states() -> None:
    one = device_memory(llama(), Layout(zero=3), context_length=2048)
    four = device_memory(llama(), Layout(zero=3, cp=4), context_length=2048)
    assert four.activations == one.activations / 4
    assert four.weights == one.weights / 4


def test_logits_are_fp32_and_on_every_rank_unless_split() -> None:
    config, length = llama(vocab_size=32768), 2048
    split = device_memory(config, Layout(tp=8), context_length=length)
    whole = device_memory(config, Layout(tp=8), context_length=length, vocab_parallel=False)
    assert whole.logits - split.logits == 4 * length * 32768 * 7 // 8
    assert split.logits == 4 * length * 32768 // 8 + 2 * 2 * length * 1024


def test_zero_3_gathers_two_layers_and_their_gradient() -> None:
    config = llama(n_layers=4, vocab_size=1000)
    layer = 4 * 1024**2 + 3 * 1024 * 2816 + 2 * 1024
    shared = device_memory(config, Layout(dp=8, zero=3), context_length=128)
    plain = device_memory(config, Layout(dp=8), context_length=128)
    assert shared.buffers - plain.buffers == layer * (2 + 2 + 2)


def test_full_recomputation_holds_one_whole_block_meanwhile() -> None:
    again = device_memory(llama(), Layout(recompute="full"), context_length=2048)
    plain = device_memory(llama(), Layout(), context_length=2048)
    assert again.activations == 4 * 2048 * 1024 * 2
    assert again.buffers - plain.buffers == (plain.activations - again.activations) / 4


def test_the_margin_is_a_tenth_and_counted_once() -> None:
    found = device_memory(llama(), Layout(), context_length=2048)
    assert found.fragmentation == pytest.approx(found.total / 10, abs=1)
    assert found.fits(found.total + 1)
    assert not found.fits(found.total - 10)


def test_every_kind_is_in_the_total() -> None:
    found = device_memory(llama(), Layout(dp=2, zero=2), context_length=2048)
    kinds = ("weights", "gradients", "optimizer", "activations", "logits", "buffers")
    assert found.used == sum(getattr(found, kind) for kind in kinds)
    assert found.total == found.used + found.fragmentation


def test_a_wide_vocabulary_makes_the_last_stage_the_fullest() -> None:
    config = llama(vocab_size=1_000_000)
    assert device_memory(config, Layout(pp=2), context_length=2048).stage == 1
    assert device_memory(llama(vocab_size=64), Layout(pp=2), context_length=2048).stage == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_priced_in_every_mode(family: str) -> None:
    config = build(family, vocab_size=1000, n_layers=4, d_model=256, context_length=128, n_heads=4)
    totals = []
    for zero in range(4):
        layout = Layout(dp=2, tp=2, pp=2, zero=zero, recompute="full", sequence_parallel=True)
        found = device_memory(config, layout, context_length=128, optimizer="adafactor")
        totals.append(found.weights + found.gradients + found.optimizer)
    assert totals == sorted(totals, reverse=True)


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        (Layout(tp=7), "96 heads do not divide over 7 tensor-parallel ranks"),
        (Layout(pp=5), "96 layers do not divide over 5 pipeline stages"),
        (Layout(pp=8, virtual_stages=5), "do not divide over 8 pipeline stages of 5 chunks"),
        (Layout(cp=3), "2048 tokens do not divide over 3 context-parallel ranks"),
        (Layout(sequence_parallel=True), "tp is 1"),
        (Layout(dp=2, ep=2), "ep must be 1"),
    ],
)
def test_what_does_not_divide_is_refused_with_its_reason(layout: Layout, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        device_memory(gpt(96, 12288, 96), layout, context_length=2048)
    assert reason in str(caught.value)


def test_all_reasons_are_given_at_once() -> None:
    reasons = check_divides(gpt(96, 12288, 96), Layout(tp=7, pp=5))
    assert len(reasons) == 3
    assert check_divides(gpt(96, 12288, 96), Layout(tp=8, pp=8)) == []


def test_two_key_value_heads_cannot_lie_on_three_ranks() -> None:
    config = build("llama", vocab_size=64, n_layers=1, d_model=768, context_length=64, n_heads=12,
                   n_kv_heads=4, d_ff=768)  # fmt: skip
    assert "4 key/value heads do not divide over 6" in check_divides(config, Layout(tp=6))[0]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"optimizer": "adamax"}, "unknown optimizer 'adamax'"),
        ({"precision": "int4"}, "unknown precision 'int4'"),
        ({"context_length": 0}, "context_length is 0"),
        ({"context_length": 1.5}, "context_length is 1.5"),
    ],
)
def test_wrong_values_are_named(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        device_memory(llama(), Layout(), **{"context_length": 128, **asked})


@pytest.mark.parametrize("zero", [-1, 4])
def test_there_are_four_stages_of_zero(zero: int) -> None:
    with pytest.raises(InputError, match=f"zero is {zero}"):
        state_bytes_per_parameter(zero, 8)


def test_a_search_can_ask_it_tens_of_thousands_of_times() -> None:
    config, layout = MODELS["175B"]
    device_memory(config, layout, context_length=2048)
    asked = 200
    seconds = min(
        timeit.repeat(
            lambda: device_memory(config, layout, context_length=2048), number=asked, repeat=5
        )
    )
    assert seconds / asked < 100e-6  # 12 us on an idle core


@pytest.mark.parametrize("zero", [1, 2, 3])
def test_zero_at_one_replica_costs_nothing(zero: int) -> None:
    alone = device_memory(llama(), Layout(zero=zero), context_length=2048)
    assert alone == device_memory(llama(), Layout(), context_length=2048)


def test_adam_keeps_what_adamw_keeps() -> None:
    adam, adamw = (
        device_memory(llama(), Layout(), context_length=128, optimizer=name)
        for name in ("adam", "adamw")
    )
    assert adam == adamw
