"""What several processes write of their speed: the rate they have in common, and its parts."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from groundup.architecture.counts import training_flops_per_token
from groundup.architecture.families import build
from groundup.train import flops
from groundup.train.breakdown import OF_STEPS
from groundup.train.distributed import Ranks, join, leave
from groundup.train.pretrain import pretrain
from tests.train.distributed.world import worlds
from tests.train.small import SETTINGS, Tokens, job

N_CORES, CONTEXT = 2, 16
SIZES = {"vocab_size": 64, "n_layers": 2, "d_model": 32, "n_heads": 4, "context_length": CONTEXT}
# Layout, and threads that the rate was measured with and each process has.
RUNS = {"copies": ({"dp_replicate": 2}, 1), "stages": ({"pp": 2}, 1), "crowded": ({}, 2)}


def of_runs(folder):
    """A few steps of each, and their lines."""
    flops.available_cores = lambda: N_CORES
    found = {}
    for name, (layout, n_threads) in RUNS.items():
        settings = replace(
            SETTINGS, layout=layout, n_threads=n_threads, context_length=CONTEXT, steps=3,
            batch_size=8, micro_batch_size=2, evaluate_every=9, sample_every=9, checkpoint_every=9,
        )  # fmt: skip
        ranks = join(settings)
        here = Path(folder) / name
        here.mkdir(exist_ok=True)
        pretrain(here, Tokens(), job(settings, build("llama", **SIZES)), ranks)
        leave(ranks)
        found[name] = [json.loads(line) for line in (here / "metrics.jsonl").open()]
    return found


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speed")
    call = "tests.train.distributed.test_speed:of_runs"
    ((first, _),) = worlds([(2, call, [str(folder)])], folder)
    return first


@pytest.mark.parametrize(("name", "n_processors"), [("copies", 2), ("stages", 2), ("crowded", 1)])
def test_the_rate_of_all_processes_is_compared_with_that_of_all_cores(lines, name, n_processors):
    per_token = training_flops_per_token(build("llama", **SIZES), CONTEXT, causal=True)
    for line in lines[name]:
        expected = line["tokens_per_second"] * per_token / (n_processors * 1e9)  # 1e9: in `job`
        assert line["mfu"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", RUNS)
def test_only_in_a_pipeline_forward_and_backward_passes_are_one_part(lines, name):
    apart = {"forward", "backward"}
    expected = set(OF_STEPS) - (apart if name == "stages" else {"forward_backward"})
    for line in lines[name]:
        assert {key.removesuffix("_seconds") for key in line} & set(OF_STEPS) == expected


@pytest.mark.parametrize(
    ("device", "n_cores", "n_threads", "n_here", "n_ranks", "expected"),
    [
        ("cuda", 8, 4, 4, 8, 8),  # a GPU each
        ("cpu", 8, 8, 1, 1, 1),
        ("cpu", 8, 1, 1, 1, 1),  # the seven other cores are not asked
        ("cpu", 8, 1, 4, 4, 4),
        ("cpu", 8, 8, 4, 4, 1),  # the measured rate is all cores' already
        ("cpu", 8, 4, 4, 4, 2),
        ("cpu", 8, 1, 16, 16, 8),  # more than there are cores
        ("cpu", 2, 4, 2, 2, 1),
        ("cpu", 8, 4, 2, 6, 6),  # three machines
        ("cpu", 8, 8, 2, 6, 3),
    ],
)
def test_processes_share_the_cores_of_their_machine(
    monkeypatch, device, n_cores, n_threads, n_here, n_ranks, expected
):
    told = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": n_ranks, "LOCAL_WORLD_SIZE": n_here,
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}  # fmt: skip
    for key, value in told.items():
        monkeypatch.setenv(key, str(value))
    monkeypatch.setattr(flops, "available_cores", lambda: n_cores)
    settings = replace(SETTINGS, device=device, n_threads=n_threads)
    assert flops.shares_of_machine(settings, Ranks(size=n_ranks)) == expected
