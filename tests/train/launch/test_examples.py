"""The examples for 1, 8 and 64 GPUs say what the plan says, and are what they say they are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from groundup.architecture.counts import parameters
from groundup.architecture.presets import find_model
from groundup.plan.layout import RankedLayout
from groundup.plan.layout_words import describe
from groundup.project import load_project
from groundup.stages_emit import emit_job
from groundup.stages_layout import as_ours, require_runnable
from groundup.train.launch.emit.job import EmitJob
from groundup.train.parallel.layout import LayoutConfig
from groundup.units import format_count
from tests.projects import here

EXAMPLES = Path(__file__).parents[3] / "examples"
GPUS = {"gpt-1-gpu": 1, "gpt-8-gpus": 8, "gpt-64-gpus": 64}


def money(usd: float) -> str:
    return "$" + (f"{usd / 1000:.3g}k" if usd >= 1000 else f"{usd:.3g}")


def number(value: float) -> str:
    return f"{value / 1000:.3g}k" if value >= 1000 else f"{value:.3g}"


def said(best: RankedLayout, job: EmitJob, n: int) -> list[str]:
    """The lines of the comment, from the plan."""
    hours = best.step_seconds * job.settings.steps / 3600
    cost = here(
        "plan", "cost", "--gpu", "H100-SXM", "--chip-hours", hours * n, "--scheme", "on-demand",
        "--json",
    ).json["schemes"][0]  # fmt: skip
    tokens = job.settings.steps * job.settings.batch_size * job.settings.context_length
    return [
        f"# layout:    {describe(best)}",
        f"# a step:    {best.step_seconds:.3g} s, {format_count(best.tokens_per_second)} tokens/s, "
        f"MFU {best.mfu:.1%} ({best.mfu_low:.1%} to {best.mfu_high:.1%})",
        f"# memory:    {best.memory_fraction:.0%} of the device",
        f"# the run:   {format_count(tokens)} tokens, {hours:.3g} hours, {number(hours * n)} GPU "
        f"hours, {money(cost['usd_low'])} to {money(cost['total_usd'])}",
    ]


@pytest.mark.parametrize("name", GPUS)
def test_an_example_says_what_the_plan_says(name: str) -> None:
    text, n = (EXAMPLES / name / "groundup.yaml").read_text(), GPUS[name]
    command = re.search(r"^#     groundup (plan layout .*)$", text, re.MULTILINE)
    assert command is not None
    words = command[1].split()
    found: dict[str, Any] = here(*words, "--top", "1", "--json").json
    best = RankedLayout(**found["layouts"][0])
    job = emit_job(load_project(EXAMPLES / name), n)
    lines = said(best, job, n)
    assert [line for line in lines if line not in text.splitlines()] == []

    preset = find_model(words[words.index("--model") + 1])
    assert parameters(job.model) == parameters(preset)
    assert (job.model.context_length, job.n_ranks) == (preset.context_length, n)
    assert found["global_batch_size"] == job.settings.batch_size
    # The file's layout is the plan's, and the trainer takes it.
    wanted = as_ours(best, LayoutConfig())
    sizes = {axis: getattr(wanted, axis) for axis in ("dp_replicate", "dp_shard", "tp", "cp", "pp")}
    assert dict(job.sizes) == sizes
    assert job.settings.micro_batch_size == best.micro_batch_size
    if job.zero:
        assert job.zero == best.zero
    require_runnable(job.model, job.settings, job.layout, n)


def test_every_engine_has_the_largest_example(tmp_path: Path) -> None:
    for engine in ("deepspeed", "megatron", "torchtitan"):
        done = here(
            "launch", "--emit", engine, "--ranks", "64", EXAMPLES / "gpt-64-gpus",
            "--output", tmp_path / engine, "--json",
        )  # fmt: skip
        assert done.code == 0, done.err
        assert [Path(file).exists() for file in done.json["files"]] == [True]
    config = json.loads((tmp_path / "deepspeed" / "ds_config.json").read_text())
    assert config["train_batch_size"] == 512 == 32 * 1 * config["gradient_accumulation_steps"]
