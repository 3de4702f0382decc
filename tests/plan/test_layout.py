from __future__ import annotations

import dataclasses
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.architecture.config import ModelConfig
from groundup.architecture.counts import palm_flops_per_token
from groundup.architecture.families import build
from groundup.errors import BudgetError, ConfigError, InputError
from groundup.plan.efficiency import Efficiency, predict_efficiency
from groundup.plan.hardware import Chip, shipped_chips
from groundup.plan.layout import FIELDS, LayoutSearch, search
from groundup.plan.memory import device_memory
from groundup.plan.parallelism import Layout

CHIPS = shipped_chips()
A100 = CHIPS["A100-SXM-80"]


def gpt3() -> ModelConfig:
    return build(
        "gpt2", vocab_size=50257, n_layers=96, d_model=12288, context_length=2048, n_heads=96
    )


def small(**sizes: int) -> ModelConfig:
    sizes = {"vocab_size": 32000, "n_layers": 24, "d_model": 2048, "context_length": 2048} | sizes
    return build("llama", **sizes)  # type: ignore[arg-type]


def keys(found: LayoutSearch) -> dict[tuple[Any, ...], float]:
    return {
        tuple(getattr(each, name) for name in FIELDS): each.step_seconds for each in found.ranked
    }


@pytest.fixture(scope="module")
def of_gpt3() -> LayoutSearch:
    return search(gpt3(), A100, 1024, global_batch_size=1536)


def test_gpt3_on_1024_chips_is_laid_out_as_megatron_would(of_gpt3: LayoutSearch) -> None:
    best = of_gpt3.ranked[0]
    assert best.dp * best.tp * best.pp * best.cp == 1024
    assert best.tp <= 8
    assert best.pp > 1 or best.zero > 0
    assert best.memory_fraction <= 0.9
    # 51.4 % is Korthikanti's, without FlashAttention; with it llm-foundry's 7B computes at 77 % HFU
    # on eight A100s, which a search over 50,000 layouts may come near but not pass. 62.7 % is the
    # best published MFU on the chip (llm-foundry), and no row is of this kind.
    assert best.mfu == pytest.approx(0.627, abs=1e-3)
    assert best.mfu < best.model_mfu < 0.72
    assert best.mfu_low < 0.55 < best.mfu < best.model_mfu < best.mfu_high


def test_megatrons_own_layout_of_gpt3_takes_what_it_published() -> None:
    """175B on 1,024 chips at 140 TFLOP/s (arXiv:2104.04473 section 5.1), full recomputation."""
    found = search(
        gpt3(), A100, 1024, global_batch_size=1536, flash_attention=False,
        fixed={"tp": 8, "pp": 8, "dp": 16, "recompute": "full", "zero": 0},
    )  # fmt: skip
    best = found.ranked[0]
    tflops = best.hfu * 312
    assert tflops == pytest.approx(140, rel=0.25)


def test_every_layout_of_1024_chips_is_considered(of_gpt3: LayoutSearch) -> None:
    assert of_gpt3.considered > 100_000  # benchmarks/planner.py prints how long it takes


def test_ranking_is_by_the_models_own_mfu_and_adds_up(of_gpt3: LayoutSearch) -> None:
    shares = [each.model_mfu for each in of_gpt3.ranked]
    assert shares == sorted(shares, reverse=True)
    assert all(each.mfu <= each.model_mfu for each in of_gpt3.ranked)
    assert [each.rank for each in of_gpt3.ranked] == list(range(1, 11))
    refused = sum(entry.count for entry in of_gpt3.rejected.values())
    assert of_gpt3.considered == refused + of_gpt3.fitting


def predicted(config: ModelConfig, layout: Layout, batch: int) -> Efficiency:
    return predict_efficiency(config, A100, layout, context_length=2048, global_batch_size=batch)


def test_ranked_figures_are_those_of_the_efficiency_and_the_memory(of_gpt3: LayoutSearch) -> None:
    for each in of_gpt3.ranked:
        found = predicted(gpt3(), each.layout, 1536)
        assert each.mfu == pytest.approx(found.mfu, rel=1e-12)
        assert each.hfu == pytest.approx(found.hfu, rel=1e-12)
        assert (each.mfu_low, each.mfu_high) == pytest.approx((found.low, found.high))
        flops = palm_flops_per_token(gpt3(), 2048)
        assert each.tokens_per_second == pytest.approx(each.mfu * 1024 * 312e12 / flops)
        assert each.step_seconds == pytest.approx(1536 * 2048 / each.tokens_per_second)
        memory = device_memory(
            gpt3(), each.layout, context_length=2048, fp32_gradients=each.zero < 2
        )
        assert sum(each.memory_bytes.values()) == pytest.approx(memory.total, abs=10)
        assert memory.fits(A100.memory_bytes or 0)


def test_search_finds_what_trying_every_layout_finds() -> None:
    config, n_chips, batch = small(n_layers=4), 8, 12
    found = search(config, A100, n_chips, global_batch_size=batch, top=100_000)
    expected = {}
    sizes = [1, 2, 4, 8]
    for dp, tp, pp, cp in product(sizes, repeat=4):
        if dp * tp * pp * cp != n_chips or config.n_layers % pp or batch % dp:
            continue
        for v, zero, b in product((1, 2, 4), (0, 1, 2, 3), range(1, batch + 1)):
            if config.n_layers % (pp * v) or (pp == 1 and v > 1) or batch // dp % b:
                continue
            if (v > 1 and batch // dp // b % pp) or (zero and dp * cp == 1):
                continue
            for recompute in ("none", "selective", "full"):
                layout = Layout(dp, tp, pp, cp, 1, v, zero, b, recompute, tp > 1)  # type: ignore[arg-type]
                memory = device_memory(config, layout, context_length=2048, fp32_gradients=zero < 2)
                if memory.fits(A100.memory_bytes or 0):
                    rate = predicted(config, layout, batch).mfu * n_chips * 312e12
                    flops = batch * 2048 * palm_flops_per_token(config, 2048)
                    expected[(dp, tp, pp, cp, v, zero, b, recompute)] = flops / rate
    assert keys(found) == pytest.approx(expected)


def test_reasons_say_what_does_not_divide() -> None:
    found = search(small(n_layers=7, d_model=8192), CHIPS["A100-SXM-40"], 32, global_batch_size=24)
    assert {
        "tensor parallel wider than a node",
        "layers do not divide",
        "batch does not divide",
        "memory over 90% of the device",
    } <= set(found.rejected)
    assert (
        "7 layers do not divide over 2 pipeline stages"
        in found.rejected["layers do not divide"].example
    )
    wide = found.rejected["tensor parallel wider than a node"]
    assert wide.example == "tp 16 on nodes of 8 chips"


def test_heads_that_do_not_divide_are_refused() -> None:
    config = small(d_model=1536, n_heads=12)
    found = search(config, A100, 8, global_batch_size=8)
    assert "12 heads" in found.rejected["heads do not divide"].example
    assert all(12 % each.tp == 0 for each in found.ranked)


@settings(max_examples=6, deadline=None)
@given(
    n_chips=st.sampled_from([8, 16]),
    field=st.sampled_from(["link_bytes_per_second", "network_bytes_per_second"]),
)
def test_faster_links_never_make_a_layout_slower(n_chips: int, field: str) -> None:
    faster = dataclasses.replace(A100, **{field: 2 * getattr(A100, field)})
    slow, fast = (
        keys(search(small(n_layers=4), chip, n_chips, global_batch_size=16, top=100_000))
        for chip in (A100, faster)
    )
    assert slow.keys() == fast.keys()
    assert all(fast[key] <= slow[key] * (1 + 1e-12) for key in slow)


@settings(max_examples=5, deadline=None)
@given(more=st.floats(1, 4))
def test_more_memory_never_removes_a_layout(more: float) -> None:
    def with_memory(size: float) -> Chip:
        return dataclasses.replace(A100, memory_bytes=size)

    little, much = (
        keys(search(small(n_layers=8), with_memory(size), 16, global_batch_size=16, top=100_000))
        for size in (12e9, 12e9 * more)
    )
    assert little.keys() <= much.keys()


def test_fixed_sizes_are_kept() -> None:
    found = search(
        gpt3(), A100, 1024, global_batch_size=1536, fixed={"tp": 8, "pp": 8, "recompute": "full"}
    )
    assert {(each.tp, each.pp, each.recompute) for each in found.ranked} == {(8, 8, "full")}


def test_nothing_fits_says_what_is_nearest_and_how_many_chips_would_do() -> None:
    with pytest.raises(BudgetError) as error:
        search(gpt3(), A100, 8, global_batch_size=1536)
    assert "nothing fits: the nearest, dp 1, tp " in error.value.message
    assert "of the 72.0 GiB that may be filled" in error.value.message  # 90 % of 80
    assert error.value.fix is not None
    enough = int(error.value.fix.split()[0])
    assert enough > 8
    assert search(gpt3(), A100, enough, global_batch_size=1536).ranked
    with pytest.raises(BudgetError):
        search(gpt3(), A100, enough // 2, global_batch_size=1536)


def test_a_batch_smaller_than_the_replicas_is_no_layout() -> None:
    with pytest.raises(BudgetError, match="no layout is possible: 3 sequences over dp 8"):
        search(small(), A100, 8, global_batch_size=3, fixed={"tp": 1, "pp": 1, "cp": 1})


@pytest.mark.parametrize(
    ("layers", "pp", "fullest"), [(126, 16, 8), (70, 12, 6)], ids=["llama-3.1", "bloom"]
)
def test_stages_that_are_given_may_be_unequal(layers: int, pp: int, fullest: int) -> None:
    config = small(n_layers=layers, d_model=4096)
    found = search(config, A100, pp * 8, global_batch_size=256, fixed={"pp": pp})
    assert all(each.pp == pp for each in found.ranked)
    assert f"{layers} layers do not divide over {pp} stages: the fullest has {fullest}" in (
        found.explanation
    )
    # As slow, and as full, as if every stage were like the fullest.
    even = small(n_layers=fullest * pp, d_model=4096)
    best = found.ranked[0]
    full = device_memory(even, best.layout, context_length=2048, fp32_gradients=best.zero < 2)
    assert sum(best.memory_bytes.values()) == pytest.approx(full.total, abs=10)
    with pytest.raises(BudgetError, match="layers do not divide"):
        search(config, A100, pp * 8, global_batch_size=256, fixed={"pp": pp}, uneven=False)


def test_explanation_names_bubble_communication_recomputation_memory_and_runner_up(
    of_gpt3: LayoutSearch,
) -> None:
    for words in ("bubble", "Communication that nothing hides", "computed again", "under the limit",
                  "The next, ", "slower", "the prediction extrapolates"):  # fmt: skip
        assert words in of_gpt3.explanation


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"n_chips": 0}, "n_chips is 0"),
        ({"n_chips": 10**9}, "n_chips is 1B"),
        ({"context_length": 10**12}, "context_length is 1T"),
        ({"global_batch_size": -4}, "global_batch_size is -4"),
        ({"context_length": 0}, "context_length is 0"),
        ({"top": 0}, "top is 0"),
        ({"fixed": {"tp": 3}}, "no layout of 8 chips has tp 3"),
        ({"fixed": {"depth": 3}}, "no field 'depth'"),
        ({"fixed": {"zero": 7}}, "no such layout"),
        ({"optimizer": "adamm"}, "adamm"),
        ({"precision": "int3"}, "no peak is known"),
        ({"chip": dataclasses.replace(A100, memory_bytes=None)}, "does not say memory_bytes"),
    ],
)
def test_wrong_input_is_named(wrong: dict[str, Any], names: str) -> None:
    good: dict[str, Any] = {
        "config": small(), "chip": A100, "n_chips": 8, "global_batch_size": 8,
    }  # fmt: skip
    with pytest.raises((InputError, ConfigError), match=names):
        search(**(good | wrong))
