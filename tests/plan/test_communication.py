from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.architecture.config import ModelConfig
from groundup.architecture.counts import parameters
from groundup.architecture.families import build
from groundup.errors import ConfigError, InputError
from groundup.plan.communication import (
    KINDS,
    LINK_LATENCY,
    LINK_SHARE,
    Group,
    summed_bytes,
    traffic,
)
from groundup.plan.hardware import Chip, shipped_chips
from groundup.plan.parallelism import Layout

A100 = shipped_chips()["A100-SXM-80"]
CONTEXT = 2048


def gpt(n_layers: int = 96, d_model: int = 12288, n_heads: int = 96, **rest: Any) -> ModelConfig:
    config = build(
        "gpt2", vocab_size=51200, n_layers=n_layers, d_model=d_model, context_length=CONTEXT,
        n_heads=n_heads, n_kv_heads=n_heads,
    )  # fmt: skip
    return dataclasses.replace(config, **rest)


def moved(layout: Layout, batch: int = 1536, config: ModelConfig | None = None, **rest: Any) -> Any:
    rest = {"chip": A100, "context_length": CONTEXT, "gradient_bytes": 2} | rest
    return traffic(config or gpt(), layout, global_batch_size=batch, **rest)


@pytest.mark.parametrize("tp", [2, 4, 8])
@pytest.mark.parametrize("sequence_parallel", [False, True])
def test_tensor_parallel_is_four_all_reduces_of_2h_bytes_a_token(
    tp: int, sequence_parallel: bool
) -> None:
    """S2-19, Korthikanti et al. section 4.2.2: sequence parallelism moves the same bytes."""
    found = moved(Layout(tp=tp, sequence_parallel=sequence_parallel), batch=4)
    per_token_and_layer = found.tensor.total_bytes / (4 * CONTEXT) / 96
    assert per_token_and_layer == pytest.approx(4 * 2 * (tp - 1) / tp * 2 * 12288, rel=1e-12)


def test_full_recomputation_repeats_the_forward_collectives() -> None:
    plain, full = (moved(Layout(tp=8, recompute=mode), 8) for mode in ("none", "full"))
    assert plain.recompute.total_bytes == 0
    assert full.recompute.total_bytes == pytest.approx(full.tensor.total_bytes / 2)
    assert full.tensor == plain.tensor


def test_parallel_branches_are_summed_once() -> None:
    one = moved(Layout(tp=8), 8, gpt(parallel_residual=True))
    assert one.tensor.total_bytes * 2 == pytest.approx(moved(Layout(tp=8), 8).tensor.total_bytes)


@pytest.mark.parametrize(("tp", "virtual_stages"), [(1, 1), (8, 1), (8, 3)])
def test_pipeline_sends_bsh_each_way_over_a_boundary(tp: int, virtual_stages: int) -> None:
    layout = Layout(tp=tp, pp=8, dp=4, virtual_stages=virtual_stages, micro_batch_size=2)
    micro_batches = 1536 // 8
    boundary = 2 * CONTEXT * 12288 * 2 / tp
    found = moved(layout).pipeline
    assert found.total_bytes == pytest.approx(2 * virtual_stages * micro_batches * boundary)
    assert found.link_bytes == 0  # the stages are on different nodes


def test_without_a_pipeline_or_replicas_nothing_is_sent_for_them() -> None:
    found = moved(Layout(tp=8), 8)
    assert found.pipeline.total_bytes == found.data.total_bytes == found.context.total_bytes == 0


@pytest.mark.parametrize("zero", [0, 1, 2])
@pytest.mark.parametrize("dp", [2, 16, 64])
def test_data_parallel_moves_twice_the_gradients(zero: int, dp: int) -> None:
    """Rajbhandari et al. section 7: 2Ψ with ZeRO 1 and 2 as without."""
    found = moved(Layout(dp=dp, tp=8, zero=zero), batch=dp)
    counts = parameters(gpt())
    gradients = 2 * counts.total / 8
    assert found.data.total_bytes == pytest.approx(2 * (dp - 1) / dp * gradients, rel=1e-12)


def test_zero_3_moves_one_and_a_half_times_as_much_each_micro_batch() -> None:
    plain, sharded = (moved(Layout(dp=64, tp=8, zero=zero), 64) for zero in (0, 3))
    assert sharded.data.total_bytes == pytest.approx(1.5 * plain.data.total_bytes, rel=1e-12)
    again = moved(Layout(dp=64, tp=8, zero=3), 256)
    assert again.data.total_bytes == pytest.approx(4 * sharded.data.total_bytes, rel=1e-12)


@pytest.mark.parametrize(("zero", "as_bytes"), [(0, 4), (1, 4), (2, 2), (3, 2)])
def test_gradients_are_summed_in_fp32_where_weights_and_gradients_are_whole(
    zero: int, as_bytes: float
) -> None:
    """Megatron-LM and Llama 3 sum in fp32, FSDP in the weights' precision."""
    layout = Layout(dp=64, tp=8, zero=zero)
    assert moved(layout, 64, gradient_bytes=None) == moved(layout, 64, gradient_bytes=as_bytes)
    assert summed_bytes(zero, "bf16") == as_bytes


def test_fp32_gradients_double_what_is_summed() -> None:
    half, full = (moved(Layout(dp=64, tp=8), 64, gradient_bytes=size) for size in (2, 4))
    assert full.data.total_bytes == pytest.approx(2 * half.data.total_bytes)


@pytest.mark.parametrize("cp", [2, 8])
def test_context_parallel_gathers_keys_and_values_twice_and_reduces_them_once(cp: int) -> None:
    found = moved(Layout(cp=cp), batch=1)
    keys_and_values = 2 * CONTEXT * 12288 * 2
    assert found.context.total_bytes == pytest.approx(3 * 96 * (cp - 1) / cp * keys_and_values)


def test_shared_key_value_heads_send_less() -> None:
    llama = build(
        "llama", vocab_size=32000, n_layers=80, d_model=8192, context_length=CONTEXT, n_heads=64,
        n_kv_heads=8,
    )  # fmt: skip
    found = moved(Layout(cp=2, tp=8), batch=1, config=llama)
    assert found.context.total_bytes == pytest.approx(3 * 80 / 2 * 2 * CONTEXT * 128 * 2)


def test_seconds_are_bytes_over_the_attained_rate_and_a_latency_a_hop() -> None:
    found = moved(Layout(tp=8), batch=1)
    collectives = 4 * 96 * 2  # all-reduce: a reduce-scatter and an all-gather
    expected = found.tensor.link_bytes / (300e9 * LINK_SHARE) + collectives * 7 * LINK_LATENCY
    assert found.tensor.seconds == pytest.approx(expected, rel=1e-9)


@given(
    size=st.integers(0, 11).map(lambda k: 2**k),
    stride=st.integers(0, 6).map(lambda k: 2**k),
    buffer=st.floats(1, 1e12),
)
def test_two_tiers_move_the_bytes_of_one_ring(size: int, stride: int, buffer: float) -> None:
    flow = Group.of(A100, size, stride).gather(buffer)
    assert flow.total_bytes == pytest.approx((size - 1) / size * buffer, rel=1e-12)
    if size * stride <= 8:
        assert flow.network_bytes == 0
    if stride >= 8:
        assert flow.link_bytes == 0


@given(
    sizes=st.tuples(*[st.integers(0, 3).map(lambda k: 2**k)] * 4),
    zero=st.integers(0, 3),
    field=st.sampled_from(["link_bytes_per_second", "network_bytes_per_second"]),
)
def test_faster_links_never_take_longer(
    sizes: tuple[int, int, int, int], zero: int, field: str
) -> None:
    dp, tp, pp, cp = sizes
    layout = Layout(dp=dp, tp=tp, pp=pp, cp=cp, zero=zero)
    faster: Chip = dataclasses.replace(A100, **{field: 2 * getattr(A100, field)})
    slow, fast = (moved(layout, 64, chip=chip) for chip in (A100, faster))
    for kind in KINDS:
        assert getattr(fast, kind).seconds <= getattr(slow, kind).seconds
        assert getattr(fast, kind).total_bytes == getattr(slow, kind).total_bytes


@pytest.mark.parametrize(
    ("batch", "rest", "names"),
    [
        (0, {}, "global_batch_size is 0"),
        (7, {}, "7 sequences does not divide"),
        (8, {"context_length": -1}, "context_length is -1"),
        (8, {"gradient_bytes": 0}, "gradient_bytes is 0"),
        (8, {"bytes_per_element": float("nan")}, "bytes_per_element is nan"),
    ],
)
def test_wrong_sizes_are_named(batch: int, rest: dict[str, float], names: str) -> None:
    with pytest.raises((ConfigError, InputError), match=names):
        moved(Layout(dp=2), batch, **rest)
