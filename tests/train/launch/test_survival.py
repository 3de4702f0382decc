"""`groundup launch torchrun` whole: two ranks of a real run, killed, and brought to their end."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.projects import ENVIRONMENT, STEPS, command, small_project


@pytest.mark.slow
def test_two_ranks_that_are_killed_in_a_save_are_started_again_and_finish(tmp_path: Path) -> None:
    """Saves at steps 6 and 12; the second one of a start is a SIGKILL, so the last start ends well.

    Which rank dies first, and so what the other one still saves, is a matter of time.
    """
    project = small_project(tmp_path / "a project")
    done = subprocess.run(
        command(
            "launch", "torchrun", "--nproc-per-node", 2, project, "pretrain.checkpoint_every=6"
        ),
        env={**os.environ, **ENVIRONMENT, "GROUNDUP_FAULT": "kill@checkpoint=2"},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "ended with SIGKILL" in done.stderr
    assert "restart 1 of 3" in done.stderr
    [run] = (project / "runs").iterdir()
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "finished"
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, STEPS + 1))
    assert (project / "doctor" / "nodes.json").is_file()
