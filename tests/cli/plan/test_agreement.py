"""`plan layout`, `plan time` and `plan estimate` are one model: of one job they say one MFU."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.command import groundup

JOBS = [
    ("gpt3-175b", "A100-SXM-80", 1024, 1536, 2048),  # pipeline
    ("llama2-13b", "H100-SXM", 64, 1024, 4096),
    ("llama2-7b", "A100-SXM-40", 24, 96, 2048),  # shards
    ("gpt2-124m", "RTX-4090", 1, 512, 1024),  # fp16 or bf16, one chip
    ("t5-11b", "V100-SXM2-32", 32, 64, 512),  # no bf16
]


@pytest.mark.parametrize(("model", "gpu", "n", "batch", "context"), JOBS, ids=lambda x: str(x))
def test_layout_time_and_estimate_agree(
    model: str, gpu: str, n: int, batch: int, context: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(command: str, *more: object) -> dict[str, Any]:
        job = ("--model", model, "--gpu", gpu, "--n", n, "--seq", context)
        done = groundup(capsys, "plan", command, *job, *more, "--json")
        assert done.code == 0, done.err
        found: dict[str, Any] = json.loads(done.out)
        return found

    tokens = ("--tokens", "1e10", "--global-batch", batch * context)
    best = said("layout", "--global-batch-sequences", batch, "--top", 1)["layouts"][0]
    time = said("time", *tokens)
    whole = said("estimate", *tokens)
    assert best["mfu"] == pytest.approx(time["mfu"], rel=1e-12)
    assert best["mfu"] == pytest.approx(whole["time"]["mfu"], rel=1e-12)
    assert best["mfu"] == pytest.approx(whole["layout"]["mfu"], rel=1e-12)
    for name in ("dp", "tp", "pp", "cp", "zero", "micro_batch_size", "recompute"):
        assert best[name] == time["layout"][name] == whole["layout"][name]
    assert best["tokens_per_second"] == pytest.approx(time["tokens_per_second"], rel=1e-12)
    assert best == whole["layouts"][0] == whole["layout"]
    for found in (time, whole):
        assert {"notes", "warnings", "n_chips"} <= set(found)
    assert best["step_seconds"] == pytest.approx(time["step_seconds"], rel=1e-12)
    slow = time["days"] / time["days_range"][1]
    assert best["mfu_low"] / best["mfu"] == pytest.approx(slow)
