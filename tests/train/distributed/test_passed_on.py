"""Any layout loads what any other wrote, bit for bit, optimizer states too."""

from itertools import pairwise

import pytest

from tests.train.distributed.passed_on import take_over
from tests.train.distributed.world import worlds

HOW = "tests.train.distributed.passed_on:take_over"


def passed_on(layouts, folder):
    calls = [
        (size, HOW, [str(folder), number, layout]) for number, (size, layout) in enumerate(layouts)
    ]
    return worlds(calls, folder), len(calls)


def require_equal(found):
    for before, after in pairwise(found):
        for rank in after:
            assert rank["loaded"] == before[0]["saved"]
    for ranks in found:
        assert all(rank == ranks[0] for rank in ranks)


def test_a_run_goes_from_layout_to_layout(tmp_path):
    layouts = [
        (2, {"tp": 2, "sp": True}),
        (2, {"pp": 2, "schedule": "gpipe"}),
        (2, {"cp": 2}),
        (1, {}),
        (4, {"tp": 2, "dp_shard": 2}),
    ]
    found, n = passed_on(layouts, tmp_path)
    require_equal(found)
    alone = take_over(str(tmp_path), n, {})
    assert alone["loaded"] == found[-1][0]["saved"]


@pytest.mark.slow
def test_it_goes_through_layouts_of_four(tmp_path):
    layouts = [
        (4, {"pp": 2, "tp": 2}),
        (4, {"tp": 2, "cp": 2}),
        (4, {"pp": 2, "dp_shard": 2}),
        (4, {"dp_replicate": 2, "tp": 2, "sp": True}),
        (4, {"pp": 4, "schedule": "gpipe"}),
        (2, {"dp_shard": 2, "zero": 1}),
        (4, {"cp": 4}),
        (4, {"pp": 2, "vpp": 2, "schedule": "interleaved", "dp_replicate": 2}),
        (1, {}),
    ]
    require_equal(passed_on(layouts, tmp_path)[0])
