"""8-bit products over several processes: each has factors of its own part of a batch."""

from dataclasses import replace

import pytest

from tests.train.distributed.cases import CASES, walk
from tests.train.distributed.world import worlds

LAYOUTS = (
    {"dp_shard": 2, "zero": 3},
    {"dp_shard": 1, "cp": 2},
    {"dp_shard": 1, "pp": 2, "schedule": "1f1b"},
)


@pytest.mark.slow
def test_layouts_learn_as_one_process_does(tmp_path):
    """The first losses differ by roundings to 3 bits that are averaged over many products."""
    alone = walk(CASES["fp8"], {"dp_shard": 1})
    plain = replace(CASES["fp8"], settings={**CASES["fp8"].settings, "precision": "bf16"})
    of_bf16 = walk(plain, {"dp_shard": 1})
    calls = [(2, "tests.train.distributed.cases:walk_all", [["fp8"], each]) for each in LAYOUTS]
    for ranks in worlds(calls, tmp_path):
        one, other = (found["fp8"] for found in ranks)
        assert one["losses"] == other["losses"]
        assert one["hash"] == other["hash"]
        assert one["losses"] == pytest.approx(alone["losses"], rel=3e-3)
        assert one["norms"] == pytest.approx(alone["norms"], rel=0.05)
    assert alone["losses"] != of_bf16["losses"]
    assert alone["losses"] == pytest.approx(of_bf16["losses"], rel=0.01)
