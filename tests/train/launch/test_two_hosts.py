"""Two network namespaces as two hosts: the cable is cut and mended, and the end has equal bits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.projects import environment

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "two_hosts.py"


@pytest.mark.slow
def test_a_node_that_was_cut_off_comes_back(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--steps", "40", "--cut-seconds", "75",
         "--folder", str(tmp_path)],
        env=environment(), capture_output=True, timeout=1500, check=False, text=True,
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip("network namespaces cannot be made here")
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["equal"]
    assert found["disturbed"]["cut_at"] < 40
    assert found["disturbed"]["starts"] > found["undisturbed"]["starts"] == 1
