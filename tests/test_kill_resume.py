"""Real processes, killed: by a fault at a known place, and at random moments."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from benchmarks import kill_resume

QUICK = (
    kill_resume.PROJECT.replace("steps: 160", "steps: 60")
    .replace("micro_batch_size: 2", "micro_batch_size: 8")
    .replace("  batch_size: 4", "  batch_size: 16")
    .replace("checkpoint_every: 20", "checkpoint_every: 10")
)


def test_a_run_stopped_and_killed_at_known_places_ends_with_the_same_bits(tmp_path):
    undisturbed = tmp_path / "undisturbed"
    kill_resume.make_project(undisturbed)
    (undisturbed / "groundup.yaml").write_text(QUICK)
    # The measurement writes a checkpoint too; the fault is not for it.
    assert kill_resume.command(undisturbed, "plan", GROUNDUP_FAULT="kill@checkpoint=1") == 0
    folder = shutil.copytree(undisturbed, tmp_path / "disturbed")
    assert kill_resume.command(undisturbed, "pretrain") == 0
    expected = kill_resume.result(undisturbed)

    process = kill_resume.start(folder, "pretrain")
    while kill_resume.place(folder).step < 3 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    said = kill_resume.finish(process, folder)
    assert process.returncode == 130, said
    step = kill_resume.place(folder).step
    assert kill_resume.place(folder).checkpoint == step < 40
    assert f"stopped after step {step} of 60, which is saved" in said
    assert "give the same command again" in said
    assert "Traceback" not in said

    for fault, newest in (("kill@step=45", 40), ("kill@checkpoint=2", 50)):
        code = kill_resume.command(folder, "pretrain", GROUNDUP_FAULT=fault)
        assert code == -signal.SIGKILL
        assert kill_resume.place(folder).checkpoint == newest
        assert kill_resume.place(folder).saving == (fault == "kill@checkpoint=2")
    assert kill_resume.command(folder, "pretrain") == 0
    assert "going on from step 50" in (folder / "log").read_text()
    assert kill_resume.result(folder) == expected


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_no_bit(tmp_path):
    done = subprocess.run(
        [sys.executable, kill_resume.__file__, "--kills", "20", "--work", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["kills"] == 20
    assert summary["equal"] == summary["runs"] >= 1
    assert summary["differing"] == []
