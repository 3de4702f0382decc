"""The efficiency model: errors on rows that it was not fitted to, trends, extrapolation."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from groundup.architecture.counts import palm_flops_per_token, parameters
from groundup.architecture.families import build
from groundup.architecture.presets import find_model
from groundup.errors import GroundupError
from groundup.plan.catalogs import SHIPPED, read_rows
from groundup.plan.efficiency import (
    Array,
    best_published,
    efficiency_of,
    fitted,
    k_fold_errors,
    leave_out_errors,
    predict_efficiency,
    shares_of,
)
from groundup.plan.efficiency_terms import CAUSES, TERMS, Job, terms
from groundup.plan.hardware import find_chip
from groundup.plan.parallelism import Layout
from groundup.plan.published import Published, megatron_hardware_flops, published_runs
from groundup.plan.time import model_flops_per_token

RUNS = published_runs()
SHARDED = [run for run in RUNS if run.table == "throughput"]


def quantiles(errors: Array) -> tuple[float, float]:
    return float(np.median(np.abs(errors))), float(np.quantile(np.abs(errors), 0.9))


def test_every_mfu_of_llm_foundry_follows_from_its_tokens_per_second() -> None:  # S3-13
    rows = read_rows(SHIPPED / "throughput.csv")
    assert len(rows) == len(SHARDED) == 144
    for row, run in zip(rows, SHARDED, strict=True):
        assert parameters(run.job.config).total == row.needed("params"), row.where
        assert run.mfu * 100 == pytest.approx(row.needed("mfu_pct"), abs=0.15), row.where
        assert run.hfu * 100 == pytest.approx(row.needed("hfu_pct"), abs=0.15), row.where


@pytest.mark.parametrize("seed", range(3))
def test_rows_not_used_in_the_fit_are_met_within_5_and_12_percent(seed: int) -> None:
    median, ninth = quantiles(k_fold_errors(SHARDED, seed))
    assert median <= 0.05
    assert ninth <= 0.12


def test_published_runs_do_not_spoil_the_fit_and_are_met_within_a_third() -> None:
    errors = k_fold_errors(RUNS)
    of_table = np.array([run.table == "throughput" for run in RUNS])
    assert quantiles(errors[of_table]) < (0.05, 0.12)
    assert quantiles(errors[of_table])[1] <= 0.12
    median, ninth = quantiles(errors[~of_table])
    assert median <= 0.15
    assert ninth <= 0.35


def test_chips_left_out_wholly_are_still_predicted() -> None:
    names = [run.job.chip.id + run.job.precision for run in SHARDED]
    errors = leave_out_errors(SHARDED, names)
    median, ninth = quantiles(errors)
    assert median <= 0.10
    assert ninth <= 0.20
    for name in set(names):
        median, _ = quantiles(errors[np.array([mine == name for mine in names])])
        assert median <= 0.15, name


def test_zero_3_without_tensor_parallelism_collapses_at_a_fixed_batch() -> None:  # S3-15
    published = {"table2-1": 144.0, "table2-3": 44.0}
    found = {}
    for run in RUNS:
        if run.id in published:
            mfu = efficiency_of(run.job, run.layout).mfu
            again = megatron_hardware_flops(run.job) / run.job.model_flops
            found[run.id] = mfu * again * run.job.chip.peak("bf16") / 1e12
    for name, tflops in published.items():
        assert found[name] == pytest.approx(tflops, rel=0.30)
    assert found["table2-1"] / found["table2-3"] > 2.5


def middle_of_table_2() -> float:
    """The row that the catalog lacks: 768 chips with micro-batches of 2; published 88 TFLOP/s."""
    run = next(run for run in RUNS if run.id == "table2-1")
    layout = dataclasses.replace(run.layout, dp=768, micro_batch_size=2)
    again = megatron_hardware_flops(run.job) / run.job.model_flops
    return efficiency_of(run.job, layout).mfu * again * run.job.chip.peak("bf16") / 1e12


def test_a_row_of_the_paper_that_is_not_in_the_catalog() -> None:
    assert middle_of_table_2() == pytest.approx(88, rel=0.30)


def test_the_fit_is_physical() -> None:
    fit = fitted()
    assert dict(zip(TERMS, fit.coefficients, strict=True))["matmul"] == pytest.approx(1, abs=0.2)
    assert (fit.coefficients >= 0).all()
    for kind, (low, high) in fit.bands.items():
        assert low < 1 < high, kind
    for sharded in (True, False):
        known, new = fit.bands[sharded, "known chip"], fit.bands[sharded, "new chip"]
        assert new[0] <= known[0]
        assert new[1] >= known[1]


def test_no_term_is_negative_and_one_chip_talks_to_nobody() -> None:
    for run in RUNS:
        found = terms(run.job, run.layout)
        assert tuple(found) == CAUSES
        assert all(value >= 0 for part in found.values() for value in part.values())
    alone = terms(RUNS[0].job, Layout())
    for cause in CAUSES[1:]:
        assert sum(alone[cause].values()) == 0, cause


def test_columns_of_layouts_give_what_each_layout_gives() -> None:
    layouts = [run.layout for run in RUNS] + [
        Layout(dp=8, tp=2, pp=4, cp=2, virtual_stages=2, zero=2, recompute="full"),
        Layout(dp=4, tp=16, pp=2, zero=3, recompute="selective", sequence_parallel=True),
    ]
    names = [field.name for field in dataclasses.fields(Layout)]
    columns = SimpleNamespace(
        **{name: np.array([getattr(layout, name) for layout in layouts]) for name in names}
    )
    for job in (RUNS[0].job, RUNS[-1].job):
        together = shares_of(job, columns)
        for index, layout in enumerate(layouts):
            alone = shares_of(job, layout)
            assert together.mfu[index] == pytest.approx(alone.mfu, rel=1e-12)
            assert together.hfu[index] == pytest.approx(alone.hfu, rel=1e-12)
            assert sum(alone.of(cause) for cause in CAUSES) == pytest.approx(1)


def test_slower_links_smaller_micro_batches_and_bubbles_cost() -> None:
    job, layout = SHARDED[0].job, SHARDED[0].layout
    base = efficiency_of(job, layout).mfu
    slow = dataclasses.replace(job.chip, network_bytes_per_second=5e9)
    assert efficiency_of(dataclasses.replace(job, chip=slow), layout).mfu < base
    assert efficiency_of(job, dataclasses.replace(layout, micro_batch_size=1)).mfu < base
    pipeline = Layout(dp=8, tp=8, pp=8, zero=1)
    few, many = (
        efficiency_of(dataclasses.replace(job, global_batch_size=8 * n), pipeline).mfu
        for n in (8, 64)
    )
    assert few < many


@pytest.mark.parametrize(
    ("virtual_stages", "share"), [(1, 7 / 24), (3, 7 / 72)]
)  # arXiv:2104.04473, section 2.2: (p - 1) / (v·m)
def test_the_bubble_is_p_minus_1_over_v_m_of_the_passes(virtual_stages: int, share: float) -> None:
    run = next(run for run in RUNS if run.id == "table2-7")
    job = dataclasses.replace(run.job, global_batch_size=24)
    found = shares_of(job, Layout(tp=8, pp=8, virtual_stages=virtual_stages, recompute="full"))
    logits = found.parts["kernels"]["logits"]  # of the last stage alone, not of every pass
    passes = sum(found.of(cause) for cause in ("kernels", "recomputation", "tensor")) - logits
    assert found.of("bubble") / passes == pytest.approx(share)


def test_full_recomputation_adds_a_third_to_what_the_layers_compute() -> None:
    run = SHARDED[0]
    headless = dataclasses.replace(run.job.config, head="none", vocab_size=1)
    job = dataclasses.replace(run.job, config=headless)
    found = shares_of(job, dataclasses.replace(run.layout, recompute="full"))
    kernels = {name: found.parts["kernels"][name] for name in ("matmul", "memory", "attention")}
    assert found.of("recomputation") == pytest.approx(sum(kernels.values()) / 3)


def test_the_145_billion_run_of_megatron() -> None:
    """24.82 s on 1,536 chips: arXiv:2104.04473 table 1 (a row of the fit) and section 5.1."""
    run = next(run for run in RUNS if run.id == "ptdp-7")
    tokens = run.job.global_batch_size * run.job.context_length
    rate = efficiency_of(run.job, run.layout).mfu * run.layout.n_chips * 312e12
    assert tokens * run.job.model_flops / rate == pytest.approx(24.82, rel=0.25)


@pytest.mark.parametrize("chip", ["H200", "B200", "MI300X", "TPU-v5p", "L40S", "v100", "RTX-3090"])
def test_a_chip_without_published_runs_is_predicted_below_its_ceiling(chip: str) -> None:
    config = build("llama", vocab_size=32_000, n_layers=32, d_model=4096, context_length=4096)
    layout = Layout(dp=8, zero=3, micro_batch_size=2)
    found = predict_efficiency(
        config, find_chip(chip), layout, context_length=4096, global_batch_size=1024
    )
    assert 0.05 < found.low <= found.mfu <= found.high <= find_chip(chip).attainable_share
    assert any("no published run of this kind" in note for note in found.notes)
    assert "new chip" in found.source


def test_long_contexts_are_predicted_where_they_were_measured() -> None:
    long = [run for run in SHARDED if run.job.context_length >= 32_768]
    assert len(long) >= 10
    errors = np.array([efficiency_of(run.job, run.layout).mfu / run.mfu - 1 for run in long])
    assert quantiles(errors)[0] <= 0.08


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"layout": Layout(dp=10**9)}, "n_chips is 1B"),
        ({"context_length": 0}, "context_length is 0"),
        ({"context_length": 10**12}, "context_length is 1T"),
        ({"global_batch_size": 0}, "global_batch_size is 0"),
        ({"global_batch_size": float("nan")}, "global_batch_size is nan"),
        ({"precision": "int4"}, "int4"),
    ],
)
def test_bad_sizes_are_refused(changes: dict[str, object], named: str) -> None:
    good: dict[str, object] = {
        "config": build("gpt2", vocab_size=512, n_layers=2, d_model=64, context_length=64),
        "chip": find_chip("h100"), "layout": Layout(), "context_length": 64,
        "global_batch_size": 8,
    }  # fmt: skip
    with pytest.raises(GroundupError, match=named):
        predict_efficiency(**(good | changes))  # type: ignore[arg-type]


def test_what_is_unlike_the_published_runs_is_said() -> None:
    llama = next(run for run in RUNS if run.id == "llama3-405b-t4-1")
    assert (
        "only 2 (on H100-SXM) are of this kind" in efficiency_of(llama.job, llama.layout).notes[0]
    )
    wide = efficiency_of(llama.job, Layout(dp=512, cp=2, zero=1))
    assert any("none are of this kind (data parallel" in note for note in wide.notes)
    assert any("context parallelism" in note for note in wide.notes)
    assert wide.low / wide.mfu <= fitted().bands[False, "new chip"][0] + 1e-9
    assert efficiency_of(SHARDED[0].job, SHARDED[0].layout).notes == ()


def test_published_runs_are_in_one_convention() -> None:
    by_id: dict[str, Published] = {run.id: run for run in RUNS}
    assert by_id["palm-540b"].mfu == pytest.approx(0.462)
    assert by_id["ptdp-10"].mfu == pytest.approx(0.392, abs=0.003)  # S3-02
    assert by_id["bloom-176b"].mfu == pytest.approx(0.36, abs=0.005)
    assert by_id["mtnlg-2240"].mfu == pytest.approx(0.302)


def test_where_the_fit_extrapolates_no_more_is_expected_than_was_published() -> None:
    """GPT-NeoX on its own 96 A100s (37.5 % as run), spread as the search would, with flash."""
    neox = next(run for run in RUNS if run.id == "gpt-neox-20b")
    job = dataclasses.replace(neox.job, flash_attention=True)
    layout = Layout(dp=24, pp=4, virtual_stages=11, zero=1)
    model = float(shares_of(job, layout).mfu)
    best, _ = best_published(job.chip)
    assert best == max(run.mfu for run in RUNS if run.job.chip.id == "A100-SXM-40")
    assert model > best
    found = efficiency_of(job, layout)
    assert found.mfu == best
    assert found.hfu == pytest.approx(best)
    assert found.low < best < model < found.high
    assert any("best published MFU" in note for note in found.notes)
    for run in RUNS:  # what is like the rows is left as it is
        if run.table == "throughput":
            assert efficiency_of(run.job, run.layout).mfu == float(
                shares_of(run.job, run.layout).mfu
            )
    unseen = find_chip("MI300X")
    assert best_published(unseen)[0] < unseen.attainable_share


@pytest.mark.parametrize(("preset", "context"), [("t5-11b", 512), ("bert-large", 512)])
def test_attention_is_counted_once_for_all(preset: str, context: int) -> None:
    """One formula, that of `architecture.counts`: T5's tokens pass half of its layers."""
    config = find_model(preset)
    job = Job(config, find_chip("A100-SXM-80"), context, 8)
    assert job.model_flops == palm_flops_per_token(config, context)
    assert job.model_flops == model_flops_per_token(config, context, "palm")
    causal = model_flops_per_token(config, context, "causal")
    assert causal == palm_flops_per_token(config, context, causal=True)
