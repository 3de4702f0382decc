"""Days, MFU and HFU of published runs from their own inputs; failures; bad input."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.architecture.config import ModelConfig
from groundup.architecture.families import build
from groundup.architecture.presets import find_model
from groundup.errors import BudgetError, GroundupError, InputError
from groundup.plan.catalogs import SHIPPED, read_rows
from groundup.plan.failures import (
    checkpoint_interval,
    expected_failures,
    failure_rates,
    goodput_of_failures,
)
from groundup.plan.hardware import find_chip, with_peak
from groundup.plan.like import as_run, work_of
from groundup.plan.predicted import choose
from groundup.plan.time import (
    days_by_8tp,
    hardware_flops_per_token,
    megatron_flops,
    mfu_from_throughput,
    model_flops_per_token,
    training_time,
)

A100, TPU_V4 = find_chip("A100-SXM-80"), find_chip("TPU-v4")
A100_PEAK = 312e12


def gpt(layers: int, width: int, heads: int, vocab: int = 51_200) -> ModelConfig:
    return build(
        "gpt2",
        vocab_size=vocab,
        n_layers=layers,
        d_model=width,
        context_length=2048,
        n_heads=heads,
    )


GPT_22B, GPT_175B = gpt(48, 6144, 48), gpt(96, 12288, 96)
SMALL = gpt(24, 2048, 16)
GPT_530B, GPT_1T = gpt(105, 20480, 128), gpt(128, 25600, 160)


def test_palm() -> None:  # S3-01: arXiv:2204.02311 app. B
    params, attention = 540.35e9, 12 * 118 * 48 * 256 * 2048
    peak = 275e12
    with_attention = mfu_from_throughput(6 * params + attention, 238.3e3, peak, 6144)
    assert with_attention == pytest.approx(0.462, abs=1e-3)
    assert mfu_from_throughput(6 * params, 238.3e3, peak, 6144) == pytest.approx(0.457, abs=1e-3)


def test_palm_as_a_run() -> None:
    ran = as_run("palm")
    assert ran.mfu == pytest.approx(0.462, abs=1e-3)
    assert ran.hfu == pytest.approx(0.578)
    assert ran.days == pytest.approx(37.9, rel=0.01)  # the note's ideal
    assert ran.goodput == pytest.approx(0.665, abs=0.005)


def test_hardware_rate_is_not_model_rate() -> None:  # S3-02: PTD-P 1T, 163 TFLOP/s, "52 % of peak"
    found = training_time(GPT_1T, 450e9, A100, 3072, tflops_per_chip=163, recompute="full")
    assert found.hfu == pytest.approx(0.522, abs=0.003)
    assert found.mfu == pytest.approx(0.392, abs=0.003)


KORTHIKANTI = [  # arXiv:2205.05198 table 5: model, sequences, chips, seconds, MFU %, HFU %
    pytest.param(48, 6144, 4, 8, 1.10, 41.5, 43.7, id="22B"),
    pytest.param(96, 12288, 64, 64, 13.75, 51.4, 52.8, id="175B"),
    pytest.param(105, 20480, 280, 280, 37.83, 56.0, 57.0, id="530B"),
    pytest.param(128, 25600, 512, 512, 71.49, 56.3, 57.0, id="1T"),
]


@pytest.mark.parametrize(("layers", "width", "batch", "n", "seconds", "mfu", "hfu"), KORTHIKANTI)
def test_korthikantis_table_5(
    layers: int, width: int, batch: int, n: int, seconds: float, mfu: float, hfu: float
) -> None:  # S3-03, S3-05
    tokens = batch * 2048
    model = megatron_flops(layers, width, 2048, 51_200, tokens)
    hardware = megatron_flops(layers, width, 2048, 51_200, tokens, "selective")
    assert model / seconds / n / A100_PEAK * 100 == pytest.approx(mfu, abs=0.2)
    assert hardware / seconds / n / A100_PEAK * 100 == pytest.approx(hfu, abs=0.2)
    config = gpt(layers, width, width // 128)
    found = training_time(
        config, tokens, A100, n, mfu=mfu / 100, recompute="selective", global_batch_tokens=tokens
    )
    assert found.step_seconds == pytest.approx(seconds, rel=0.005)
    assert found.hfu * 100 == pytest.approx(hfu, abs=0.2)


def test_eight_tp_over_nx() -> None:  # S3-06, PTD-P section 5.1
    assert days_by_8tp(175e9, 300e9, 1024, 140e12) == pytest.approx(34, rel=0.03)
    assert days_by_8tp(1008e9, 450e9, 3072, 163e12) == pytest.approx(84, rel=0.03)
    found = training_time(175e9, 300e9, A100, 1024, tflops_per_chip=140, recompute="full")
    assert found.days == pytest.approx(34, rel=0.03)


TABLE_2 = {  # arXiv:2104.04473 table 2, 300B tokens: chips, TFLOP/s, days
    "1": (GPT_175B, 384, 144, 90),
    "2": (GPT_175B, 768, 88, 74),
    "3": (GPT_175B, 1536, 44, 74),
    "4": (GPT_530B, 640, 138, 169),
    "5": (GPT_530B, 1120, 98, 137),
    "6": (GPT_530B, 2240, 48, 140),
    "7": (GPT_175B, 384, 153, 84),
    "8": (GPT_175B, 768, 149, 43),
    "9": (GPT_175B, 1536, 141, 23),
    "10": (GPT_530B, 560, 171, 156),
    "11": (GPT_530B, 1120, 167, 80),
    "12": (GPT_530B, 2240, 159, 42),
}


@pytest.mark.parametrize("row", TABLE_2)
def test_the_days_of_table_2(row: str) -> None:  # S3-08
    config, n, tflops, days = TABLE_2[row]
    found = training_time(config, 300e9, A100, n, tflops_per_chip=tflops, recompute="full")
    assert found.days == pytest.approx(days, rel=0.025)
    layers, width = config.n_layers, config.d_model
    exact = megatron_flops(layers, width, 2048, 51_200, 300e9, "full") / n / tflops / 1e12 / 86400
    assert exact == pytest.approx(days, rel=0.025)


@pytest.mark.parametrize(
    ("n", "seconds", "tflops"), [(2240, 60.1, 126), (2800, 50.2, 121), (3360, 44.4, 113)]
)
def test_mt_nlg(n: int, seconds: float, tflops: float) -> None:  # S3-09: arXiv:2201.11990
    flops = megatron_flops(105, 20480, 2048, 51_200, 1920 * 2048, "full")
    assert flops / seconds / n / 1e12 == pytest.approx(tflops, rel=0.01)
    model = megatron_flops(105, 20480, 2048, 51_200, 1920 * 2048)
    if n == 2240:
        assert model / seconds / n / A100_PEAK == pytest.approx(0.302, abs=0.002)


def test_bloom() -> None:  # S3-10: 105.2 s a step
    flops = megatron_flops(70, 14336, 2048, 250_880, 2048 * 2048, "full")
    assert flops / 105.2 / 384 / 1e12 == pytest.approx(149.5, rel=0.01)


def test_gpt3_on_one_v100() -> None:  # S3-11: 288 years
    v100 = find_chip("v100")
    found = training_time(174.6e9, 300e9, v100, 1, tflops_per_chip=34.6)
    assert found.days / 365.25 == pytest.approx(288, rel=0.01)


def test_conventions_of_attention() -> None:
    llama = build(  # LLaMA-2-7B: 39.1 / 42.2 / 45.3 % of its 184,320 hours
        "llama",
        vocab_size=32_000,
        n_layers=32,
        d_model=4096,
        context_length=4096,
        n_heads=32,
        d_ff=11_008,
    )
    rate = 2e12 / 184_320 / 3600
    for convention, mfu in (("6n", 0.391), ("causal", 0.422), ("palm", 0.453)):
        flops = model_flops_per_token(llama, 4096, convention)  # type: ignore[arg-type]
        assert mfu_from_throughput(flops, rate, A100_PEAK) == pytest.approx(mfu, abs=1e-3)
    full = hardware_flops_per_token(llama, 4096, "palm", "full")
    assert full / model_flops_per_token(llama, 4096) == pytest.approx(4 / 3)
    assert model_flops_per_token(7e9) == 42e9


def test_time_money_and_failures_hang_together() -> None:
    found = training_time(7e9, 140e9, A100, 64, mfu=0.46)
    assert found.days == pytest.approx(6 * 7e9 * 140e9 / (64 * A100_PEAK * 0.46) / 86400)
    assert found.wall_days == pytest.approx(found.days / 0.75)
    assert found.chip_hours == pytest.approx(found.days * 24 * 64)
    assert found.wall_chip_hours == pytest.approx(found.wall_days * 24 * 64)
    assert found.days_range == (found.days, found.days)
    low, high = found.wall_days_range
    assert (low, high) == (pytest.approx(found.days / 0.9), pytest.approx(found.days / 0.45))
    assert found.tokens_per_second * found.days * 86400 == pytest.approx(140e9)


def test_predicted_efficiency_has_a_band_and_says_what_it_assumed() -> None:
    found = training_time(GPT_22B, 400e9, find_chip("H100-SXM"), 512)
    assert found.days_range[0] < found.days < found.days_range[1]
    assert 0.2 < found.mfu < 0.65
    assert found.layout is not None
    assert found.layout.n_chips == 512
    assert any("predicted for" in note for note in found.notes)
    guessed = training_time(22e9, 400e9, find_chip("H100-SXM"), 512)
    assert guessed.days == pytest.approx(found.days, rel=0.25)
    assert any("no shape given" in note for note in guessed.notes)


def test_more_than_matmuls_reach_is_warned_of_and_more_than_the_peak_refused() -> None:
    assert training_time(7e9, 1e11, A100, 8, mfu=0.5).warnings == ()
    found = training_time(7e9, 1e11, A100, 8, mfu=0.9)
    assert "above what matmuls alone reach" in found.warnings[0]
    with pytest.raises(InputError, match=r"mfu is 1\.2"):
        training_time(7e9, 1e11, A100, 8, mfu=1.2)
    with pytest.raises(InputError, match="no chip does that"):
        training_time(7e9, 1e11, A100, 8, mfu=0.8, recompute="full")
    with pytest.raises(InputError, match="no chip does that"):
        training_time(7e9, 1e11, A100, 8, tflops_per_chip=400)
    sparse = with_peak(A100, 624e12, "bf16")
    assert "2:4 sparsity" in training_time(7e9, 1e11, sparse, 8, mfu=0.3).warnings[0]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"model": -7e9}, "params"),
        ({"model": math.nan}, "params"),
        ({"tokens": 0}, "tokens"),
        ({"tokens": 1e30}, "tokens"),
        ({"n_chips": 0}, "n_chips"),
        ({"n_chips": 10**9}, "n_chips is 1B"),
        ({"context_length": 10**12}, "context_length is 1T"),
        ({"mfu": 0}, "mfu"),
        ({"mfu": -0.4}, "mfu"),
        ({"goodput": 1.5}, "goodput"),
        ({"goodput": 0}, "goodput"),
        ({"hfu": 0.5}, "say the same"),
        ({"precision": "int4"}, "int4"),
        ({"convention": "8n"}, "8n"),
        ({"convention": "palm"}, "no attention to count by 'palm'"),
        ({"micro_batch_size": 2}, "changes nothing where mfu"),
        ({"mfu": None, "tflops_per_chip": 0.14}, "0.14 is read as 0.14 TFLOP/s"),
        ({"global_batch_tokens": 100}, "no sequence of 4,096"),
    ],
)
def test_bad_input_is_named(changes: dict[str, object], name: str) -> None:
    arguments = {"model": 7e9, "tokens": 1e11, "chip": A100, "n_chips": 8, "mfu": 0.4, **changes}
    with pytest.raises(GroundupError, match=name):
        training_time(**arguments)  # type: ignore[arg-type]


def test_published_runs_can_be_asked_for_by_short_names() -> None:
    tokens = {"palm": 780e9, "opt": 300e9, "gpt-neox": 471.9e9, "mt-nlg": 270e9, "bloom": 366e9}
    for name, count in tokens.items():
        assert work_of(name).tokens == pytest.approx(count, rel=0.01)
    with pytest.raises(InputError, match="begin with 'llama'"):
        work_of("llama")
    with pytest.raises(InputError, match="no published runs"):
        work_of("gpt5")
    with pytest.raises(InputError, match="no number of tokens"):
        work_of("ptdp-10")


@pytest.mark.parametrize("run", ["palm", "gpt-neox", "bloom", "gpt3", "gopher"])
def test_no_run_did_more_than_its_chip_hours_allow(run: str) -> None:
    goodput = as_run(run).goodput
    assert goodput is not None
    assert 0.3 < goodput < 1.0


def test_the_rate_that_opt_printed_was_not_its_average() -> None:
    """ "Up to 147 TFLOP/s" for all of 34 days would have been a little more than the run."""
    ran = as_run("opt")
    assert ran.goodput == pytest.approx(1.005, abs=0.005)
    assert "slower on average than the rate printed" in ran.note


def test_a_run_on_chips_that_are_not_said_has_work_but_no_rate() -> None:
    ran = as_run("chinchilla-70b")
    assert (ran.chip, ran.mfu, ran.days) == ("TPU v3/v4", None, None)


def test_bloom_and_neox_as_they_were_run() -> None:
    bloom, neox = as_run("bloom"), as_run("gpt-neox")
    assert bloom.mfu == pytest.approx(0.36, abs=0.005)
    assert bloom.n_chips == 384
    assert neox.n_chips == 96
    assert neox.published_chip_hours == pytest.approx(1830 * 96)


def test_failure_rates_are_those_of_the_papers() -> None:
    rates = failure_rates()
    assert rates["llama3-405b"] == pytest.approx(419 / 54 / 16_384)
    again = expected_failures(405e9, 16_384, 54 * 86400)
    assert again.expected == pytest.approx(419)
    assert again.mean_time_between_failures_seconds == pytest.approx(54 * 86400 / 419)  # 3 hours
    assert again.goodput > 0.9  # "over 90 % effective training time"
    assert expected_failures(1e9, 1, 86400).expected < 1e-3
    assert all(row.text("source") for row in read_rows(SHIPPED / "failures.csv"))


@given(
    write=st.floats(0.1, 1e3),
    apart=st.floats(1e4, 1e8),
    other=st.floats(0.05, 20),
)
def test_youngs_interval_is_the_best(write: float, apart: float, other: float) -> None:
    best = checkpoint_interval(write, apart)
    assert best == pytest.approx(max(math.sqrt(2 * write * apart), write))
    assert (
        goodput_of_failures(write, apart, best)
        >= goodput_of_failures(write, apart, best * other) - 1e-9
    )


def test_what_does_not_fit_is_refused_with_a_way_out() -> None:
    h100 = find_chip("H100-SXM")
    with pytest.raises(BudgetError, match="nothing fits") as few:
        training_time(GPT_175B, 300e9, h100, 7)
    assert "such chips would do" in str(few.value.fix)
    assert "--mfu" in str(few.value.fix)
    unknown = dataclasses.replace(h100, memory_bytes=None)
    with pytest.raises(InputError, match="does not say memory_bytes") as error:
        training_time(7e9, 1e12, unknown, 8)
    assert "--mfu" in str(error.value.fix)
    with pytest.raises(GroundupError):
        training_time(7e9, 1e12, h100, 8, micro_batch_size=1_000_000)
    assert training_time(7e9, 1e12, unknown, 8, mfu=0.4).days > 0


@pytest.mark.parametrize(
    ("tokens", "n", "batch"),
    [
        (2e6, 64, 992),  # 976.6: nearest of 32 · k
        (16e6, 64, 7808),  # 7812.5
        (3.5 * 2048, 64, 4),
        (1024 * 2048, 40, 1040),  # whole, but fives divide neither it nor layers nor heads
    ],
)
def test_a_batch_that_does_not_divide_is_moved_to_the_nearest_that_does(
    tokens: float, n: int, batch: int
) -> None:
    found = training_time(GPT_22B, 1e9, A100, n, global_batch_tokens=tokens)
    assert found.global_batch_tokens == pytest.approx(batch * 2048)
    assert found.step_seconds == pytest.approx(batch * 2048 / found.tokens_per_second)
    assert any(f"is taken as {batch:,}" in note for note in found.notes)


def test_a_batch_below_a_sequence_is_refused() -> None:
    for mfu in (None, 0.4):
        with pytest.raises(InputError, match="1,000 tokens a step are no sequence of 2,048"):
            training_time(GPT_22B, 1e9, A100, 64, global_batch_tokens=1000, mfu=mfu)


@pytest.mark.slow
@pytest.mark.parametrize(
    "chips",
    [[512, 513, 521, 600, 768, 769, 832, 1000, 1021, 1024, 1025], [2048, 2800, 2801, 3000]],
)
def test_more_chips_never_take_longer(chips: list[int]) -> None:
    """A few percent apart for batches that are rounded; twice as long was seen at 513 and 1,000."""
    least = math.inf
    for n in chips:
        found = training_time(GPT_175B, 300e9, A100, n)
        assert found.n_chips_used <= n
        assert found.chip_hours == pytest.approx(found.days * 24 * n)
        assert (found.n_chips_used < n) == any(
            f"use {found.n_chips_used:,} of" in w for w in found.warnings
        )
        assert found.days < 1.04 * least, n
        least = min(least, found.days)


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 96), more=st.integers(0, 32), given_batch=st.booleans())
def test_more_chips_never_take_longer_for_a_small_model(
    n: int, more: int, given_batch: bool
) -> None:
    batch = 1024 * 2048.0 if given_batch else None
    few, many = (
        training_time(SMALL, 1e11, A100, chips, global_batch_tokens=batch).days
        for chips in (n, n + more)
    )
    assert many < 1.05 * few


def test_layers_that_do_not_divide_are_said_to_cost() -> None:
    """Llama 3.1 405B: 126 layers over 16 stages on 8,192 chips (arXiv:2407.21783, table 4)."""
    llama = find_model("llama3.1-405b")
    chosen = choose(llama, 15e12, find_chip("H100-SXM"), 8192, context_length=8192,
                    global_batch_tokens=2048 * 8192, top=1, use_all=True)  # fmt: skip
    said = [note for note in chosen.notes if "layers do not divide over many stages" in note]
    assert said
    assert "times as fast" in said[0]
    fewer = training_time(llama, 15e12, find_chip("H100-SXM"), 16_384, context_length=8192,
                          global_batch_tokens=16e6)  # fmt: skip
    assert fewer.n_chips_used == 16_128  # 63 · 256, and 126 are 63 · 2
    assert fewer.mfu > 0.35


@pytest.mark.parametrize(
    ("run", "n", "seconds"), [("bloom", 384, 105.2), ("gpt-neox", 96, None), ("opt", 992, None)]
)
def test_a_run_on_its_own_chips_has_its_own_layout(run: str, n: int, seconds: float | None) -> None:
    work = work_of(run)
    layout = work.layout_on(work.chip, n)
    assert layout is not None
    found = training_time(
        work.model, work.tokens, find_chip(work.chip), n, layout=layout,
        context_length=work.context_length, global_batch_tokens=work.global_batch_tokens,
        flash_attention=work.flash_attention,
    )  # fmt: skip
    assert found.layout == layout
    assert found.mfu == pytest.approx(as_run(run).mfu, rel=0.20)
    if seconds:
        assert found.step_seconds == pytest.approx(seconds, rel=0.10)
    assert work.layout_on("H100-SXM", n) is None
    assert work.layout_on(work.chip, n + 1) is None


@pytest.mark.parametrize(
    ("row", "config", "batch", "n", "seconds", "mfu"),
    [
        ("S3-05", GPT_175B, 64, 64, 13.75, 0.514),
        ("S3-05", GPT_1T, 512, 512, 71.49, 0.563),
        ("S3-09", GPT_530B, 1920, 2240, 60.1, 0.302),
    ],
)
def test_a_measured_step_gives_the_mfu(
    row: str, config: ModelConfig, batch: int, n: int, seconds: float, mfu: float
) -> None:
    tokens = batch * 2048
    found = training_time(config, 300e9, A100, n, step_seconds=seconds, global_batch_tokens=tokens)
    assert found.mfu == pytest.approx(mfu, abs=0.002), row
    assert found.step_seconds == pytest.approx(seconds)
    rate = training_time(config, 300e9, A100, n, tokens_per_second=tokens / seconds)
    assert rate.mfu == pytest.approx(found.mfu)
    with pytest.raises(InputError, match="without its batch"):
        training_time(config, 300e9, A100, n, step_seconds=seconds)
