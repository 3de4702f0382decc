"""``layout: auto``: which layout so many processes get, and that the trainer can run it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from groundup import stages_layout
from groundup.architecture.families import build
from groundup.architecture.presets import find_model
from groundup.errors import BudgetError, ConfigError, InputError
from groundup.plan.hardware import find_chip
from groundup.plan.layout import search
from groundup.plan.local.machine import Machine, MeasuredStep
from groundup.stages_layout import DECIDES, Decided, chip_of, decide, require_runnable
from groundup.train.config import Settings
from groundup.train.parallel.layout import LayoutConfig
from tests.train.small import MODEL, SETTINGS

STEP = MeasuredStep(1, 32, 1000, 1e4, 64, 0.1, 0.03, 10**8, 0.1, 0.1)
CPU = Machine(
    "cpu", "a processor", 8, "fp32", "highest", "bmm", 1e11, 16 * 2**30, 300 * 2**20, (STEP,), 2e10
)
H100 = replace(
    CPU, device="cuda", device_name="NVIDIA H100 80GB HBM3", precision="bf16", attention="sdpa",
    matmul_flops_per_second=7e14, memory_bytes=80 * 2**30,
)  # fmt: skip
LLAMA = find_model("llama3-8b")
LARGE = replace(
    SETTINGS, batch_size=512, micro_batch_size=512, context_length=8192, optimizer="adamw",
    precision="bf16", device="cuda", attention="sdpa",
)  # fmt: skip


def auto(**given: Any) -> LayoutConfig:
    return LayoutConfig(planned=True, **given)


def on_cpu(
    n: int, given: LayoutConfig | None = None, machine: Machine = CPU, **changes: Any
) -> Decided:
    settings = replace(SETTINGS, **changes)
    return decide(MODEL, settings, given or auto(), machine, n, n, None, None)


def test_the_word_stands_for_the_section() -> None:
    from groundup.train.config import PretrainConfig

    section = PretrainConfig.model_validate({"layout": "auto"})
    assert section.layout == auto()
    assert section.layout.model_fields_set == {"planned"}
    assert not PretrainConfig().layout.planned


def test_processes_on_a_cpu_shard_the_model() -> None:
    for n in (2, 3, 4):  # a batch of 4 rows: three processes have rows made up
        decided = on_cpu(n)
        assert decided.layout == {**LayoutConfig(dp_shard=n).model_dump(), "dp_shard": n}
        assert decided.micro_batch_size == 4


def test_what_the_file_sets_is_kept() -> None:
    assert on_cpu(4, auto(dp_replicate=2)).layout["dp_shard"] == 2
    assert on_cpu(4, auto(zero=1)).layout["zero"] == 1
    model = build("gpt2", vocab_size=64, n_layers=2, d_model=64, context_length=16, n_heads=2)
    settings = replace(SETTINGS, batch_size=8)
    tensor = decide(model, settings, auto(tp=2), CPU, 4, 4, None, None)
    assert (tensor.layout["tp"], tensor.layout["dp_shard"] * tensor.layout["dp_replicate"]) == (
        2,
        2,
    )


def test_memory_makes_the_micro_batch_smaller() -> None:
    large = build("gpt2", vocab_size=50_257, n_layers=12, d_model=768, context_length=1024)
    settings = replace(SETTINGS, batch_size=64, context_length=1024, optimizer="adamw")
    roomy = decide(
        large, settings, auto(), replace(CPU, memory_bytes=512 * 2**30), 2, 2, None, None
    )
    tight = decide(large, settings, auto(), CPU, 2, 2, None, None)
    assert roomy.micro_batch_size == 64
    assert tight.micro_batch_size < 32
    assert 64 % tight.micro_batch_size == 0
    with pytest.raises((BudgetError, ConfigError)):
        decide(large, settings, auto(), replace(CPU, memory_bytes=2**30), 2, 2, None, None)


@pytest.mark.parametrize("n", [8, 64])
def test_gpus_get_the_plans_winner(n: int) -> None:
    decided = decide(LLAMA, LARGE, auto(), H100, n, 8, None, None)
    best = search(
        LLAMA, find_chip("h100"), n, global_batch_size=512, context_length=8192, top=1,
        precision="bf16", fixed={},
    ).ranked[0]  # fmt: skip
    layout = LayoutConfig(**decided.layout)
    assert (layout.tp, layout.pp, layout.cp, layout.vpp) == (
        best.tp, best.pp, best.cp, best.virtual_stages,
    )  # fmt: skip
    assert layout.size() == n
    assert decided.tokens_per_second == pytest.approx(best.tokens_per_second)
    assert not layout.planned
    require_runnable(LLAMA, replace(LARGE, micro_batch_size=decided.micro_batch_size), layout, n)


def test_fixed_sizes_and_micro_batches_are_kept_on_gpus() -> None:
    decided = decide(LLAMA, LARGE, auto(tp=4, sp=True, dp_replicate=2), H100, 16, 8, 2, None)
    layout = LayoutConfig(**decided.layout)
    assert (layout.tp, layout.sp, layout.dp_replicate) == (4, True, 2)
    assert (decided.micro_batch_size, layout.size()) == (2, 16)


def test_layouts_that_the_trainer_cannot_run_are_passed_over() -> None:
    # An encoder-decoder has no stages and shares no rows here; the plan would not mind cp.
    t5 = build("t5", vocab_size=32_128, n_layers=24, d_model=2048, context_length=512, n_heads=32)
    settings = replace(LARGE, context_length=512, batch_size=64,
                       objective={"kind": "span_corruption"})  # fmt: skip
    layout = LayoutConfig(**decide(t5, settings, auto(), H100, 16, 8, None, None).layout)
    assert (layout.pp, layout.cp) == (1, 1)


def test_a_gpu_that_is_not_in_the_catalog_is_named() -> None:
    with pytest.raises(InputError, match="no chip 'A Card'"):
        decide(LLAMA, LARGE, auto(), replace(H100, device_name="A Card"), 8, 8, None, None)


def test_processes_of_a_cpu_have_their_share_of_it() -> None:
    chip = chip_of(CPU, "fp32", 4)
    assert chip.peak_flops == {"fp32": 1e11 / 4}
    assert chip.memory_bytes == 16 * 2**30 / 4 - 300 * 2**20
    assert chip.memory_bandwidth == 2e10 / 4


def test_a_layout_is_decided_anew_when_what_it_was_decided_by_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: set[str] = set()

    class Watched(Settings):
        def __getattribute__(self, name: str) -> Any:
            if name in Settings.__dataclass_fields__:
                read.add(name)
            return super().__getattribute__(name)

    def values(settings: Settings) -> dict[str, Any]:
        return {
            each.name: object.__getattribute__(settings, each.name) for each in fields(Settings)
        }

    def unread(settings: Any, **changes: Any) -> Any:  # `replace` reads everything
        if not isinstance(settings, Watched):
            return replace(settings, **changes)
        return Watched(**{**values(settings), **changes})

    monkeypatch.setattr(stages_layout, "replace", unread)
    for options in ({}, {"cp": 2}, {"pp": 2}, {"tp": 2, "sp": True}):
        decide(LLAMA, Watched(**values(LARGE)), auto(**options), H100, 8, 8, None, None)
    settings = {**values(SETTINGS), "optimizer": "sgd"}
    decide(MODEL, Watched(**settings), auto(), CPU, 2, 2, None, None)
    chosen = {"layout", "micro_batch_size", "recompute"}  # by what is decided
    off = {"compile"}  # of the project file's, and only looked at to refuse what it cannot go with
    assert read - chosen - off <= set(DECIDES)
    assert {"optimizer_dtype", "momentum", "asynchronous", "layer_dropout"} <= read


def test_memory_is_counted_for_what_is_cut() -> None:
    large = build("gpt2", vocab_size=50_257, n_layers=12, d_model=768, context_length=1024)
    settings = replace(SETTINGS, batch_size=4, context_length=1024, optimizer="adamw")
    whole, cut = (
        decide(large, settings, given, CPU, 4, 4, 1, "full")
        for given in (auto(dp_replicate=4), auto())
    )
    assert whole.layout["dp_shard"] == 1

    def needs(decided: Decided) -> float:
        return float(decided.why.split("needs ")[1].split(" MiB")[0].replace(",", ""))

    states = 16 * 124e6 / 2**20  # weights, gradients and two moments, in MiB
    assert needs(whole) - needs(cut) > 0.5 * states


def test_replicas_with_steps_of_their_own_are_copies() -> None:
    local = {"asynchronous": {"kind": "local_sgd"}}
    for machine, device in ((CPU, "cpu"), (H100, "cuda")):
        layout = on_cpu(4, machine=machine, device=device, **local).layout
        assert (layout["dp_replicate"], layout["dp_shard"]) == (4, 1)
    with pytest.raises(ConfigError, match="or not the memory"):
        on_cpu(4, machine=replace(CPU, memory_bytes=2**30), **local)
