"""A plan for one process, read for several: what is divided is counted by hand here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from groundup.architecture.counts import parameters
from groundup.architecture.families import build
from groundup.plan.local.ranks import comparable, said_of
from groundup.stages_ranks import division_of, predicted_for
from groundup.train.config import Settings
from tests.train.small import SETTINGS

ROWS, CONTEXT = 16, 64
MODEL = build(
    "llama", vocab_size=512, n_layers=4, d_model=64, n_heads=4, n_kv_heads=4,
    context_length=CONTEXT, tie_embeddings=False,
)  # fmt: skip
N = parameters(MODEL).total
BASE, ACTIVATIONS, LOGITS = 300_000_000.0, 80_000_000.0, 16_000_000.0
MEMORY = {
    "base": BASE, "weights": 4.0 * N, "gradients": 4.0 * N, "optimizer": 8.0 * N,
    "activations": ACTIVATIONS, "logits": LOGITS,
}  # fmt: skip
PREDICTED = {
    "duration_seconds": 600.0, "tokens_per_second": 5000.0,
    "peak_memory_bytes": sum(MEMORY.values()), "loss": 3.0, "bits_per_byte": 1.2, "cost_usd": 0.5,
    "energy_kwh": 0.01,
}  # fmt: skip
PLAN: dict[str, Any] = {
    "predicted": PREDICTED, "band": {"loss": [2.9, 3.1], "cost_usd": [0.2, 0.5]},
    "memory": MEMORY, "model": MODEL.to_dict(),
}  # fmt: skip


def settings(micro_batch_size: int = ROWS, **layout: Any) -> Settings:
    return replace(
        SETTINGS, optimizer="adamw", batch_size=ROWS, micro_batch_size=micro_batch_size,
        context_length=CONTEXT, layout=layout, attention="sdpa",
    )  # fmt: skip


def peak(n_ranks: int, micro_batch_size: int = ROWS, **layout: Any) -> float:
    found = predicted_for(PLAN, settings(micro_batch_size, **layout), n_ranks)
    return float(found["peak_memory_bytes"])


def test_one_process_is_what_was_planned() -> None:
    assert predicted_for(PLAN, settings(), 1) == {**PREDICTED, "band": PLAN["band"]}


def test_for_several_only_the_loss_stays_and_it_is_said_whom_it_is_for() -> None:
    found = predicted_for(PLAN, settings(), 2)
    assert found["loss"] == 3.0
    assert found["bits_per_byte"] == 1.2
    assert found["band"] == {"loss": [2.9, 3.1]}
    for name in ("duration_seconds", "tokens_per_second", "cost_usd", "energy_kwh"):
        assert found[name] is None
    assert found["of"] == {"processes": 2, "layout": "dp_shard 2, zero 3", "machines": 1}


@pytest.mark.parametrize(
    ("n_ranks", "layout", "state_bytes", "share_of_rows"),
    [
        (2, {}, 16 * N / 2, 1 / 2),  # ZeRO-3: all of it in two
        (4, {}, 16 * N / 4, 1 / 4),
        (2, {"dp_replicate": 2}, 16 * N, 1 / 2),  # copies
        (4, {"dp_replicate": 2}, 16 * N / 2, 1 / 4),
        (2, {"zero": 1}, (4 + 4 / 2) * N + 4 * N + 8 * N / 2, 1 / 2),  # beside its own piece
        (2, {"zero": 2}, (4 + 4 / 2) * N + 4 * N / 2 + 8 * N / 2, 1 / 2),
        (2, {"cp": 2}, 16 * N / 2, 1 / 2),
    ],
)
def test_memory_of_a_process_in_closed_form(
    n_ranks: int, layout: dict[str, Any], state_bytes: float, share_of_rows: float
) -> None:
    kept = (ACTIVATIONS + LOGITS) * share_of_rows
    assert peak(n_ranks, **layout) == pytest.approx(BASE + state_bytes + kept, abs=2)


def test_a_micro_batch_that_is_smaller_than_the_share_is_as_large_as_alone() -> None:
    assert peak(2, micro_batch_size=2) == pytest.approx(BASE + 8 * N + ACTIVATIONS + LOGITS, abs=2)


def test_a_copy_to_look_at_may_be_the_most_of_all() -> None:
    tiny = {**PLAN, "memory": {**MEMORY, "activations": 8.0, "logits": 8.0}}
    found = predicted_for(tiny, settings(), 8)["peak_memory_bytes"]
    # Its eighth of weights and states, and the whole weights; training needs 2 N.
    assert found == pytest.approx(BASE + (4 + 8) * N / 8 + 4 * N, abs=2)


def test_gpipe_keeps_every_micro_batch_and_1f1b_one_a_stage() -> None:
    def kept(**layout: Any) -> float:
        # The first stage: half of the layers, and an embedding where the last has the head.
        state = 16 * (parameters(MODEL).non_embedding / 2 + 512 * 64)
        return (peak(2, 2, pp=2, **layout) - BASE - state) / ACTIVATIONS

    # Half of the layers; 8 micro-batches of 2 rows, all kept or two of them.
    assert kept() == pytest.approx(2 / 2, rel=0.05)
    assert kept(schedule="gpipe") == pytest.approx(8 / 2, rel=0.05)


def test_what_the_memory_model_cannot_divide_is_not_predicted() -> None:
    assert predicted_for(PLAN, settings(2, pp=3), 3)["peak_memory_bytes"] is None
    assert division_of(settings(2, pp=3), 3).words == "pp 3"


def test_a_run_whose_processes_changed_is_compared_in_its_loss_only() -> None:
    resumed = {"event": "resumed", "changed": ["ranks.dp_shard", "ranks.size"]}
    found = comparable(PREDICTED, [{"event": "sample"}, resumed])
    assert {name for name, value in found.items() if value is not None} == {
        "loss", "bits_per_byte", "of",
    }  # fmt: skip
    assert "another number of processes" in str(said_of(found))
    assert comparable(PREDICTED, [{"event": "resumed", "changed": ["gpu"]}]) is PREDICTED
    assert said_of(PREDICTED) is None
