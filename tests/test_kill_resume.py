"""Real processes, killed: by a fault at a known place, and at random moments."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from benchmarks import kill_resume

from groundup.files import TEMPORARY
from groundup.track.verify import verify
from tests.projects import STEPS, command, environment, groundup, run_record, small_project

MORE_KILLS = 3
RESULTS = {  # stage → what is there when it is done, in order
    "data": "artifacts/corpus/*/manifest.json",
    "tokenizer": "artifacts/tokenizer/*/manifest.json",
    "tokens": "artifacts/tokens/*/manifest.json",
    "machine": "artifacts/machine/*/manifest.json",
    "plan": "artifacts/plan/*/manifest.json",
    "pretrain": f"runs/*/checkpoints/step-{STEPS:08d}",
    "evaluate": "artifacts/evaluation/*/manifest.json",
    "export": "artifacts/export/*/manifest.json",
    "report": "artifacts/report/*/manifest.json",
}

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

    assert kill_resume.command(folder, "pretrain", GROUNDUP_FAULT="kill@step=45") == -9
    first = kill_resume.place(folder).checkpoint
    assert first in (30, 40)  # that of step 40 was under way, or done
    assert kill_resume.command(folder, "pretrain", GROUNDUP_FAULT="kill@checkpoint=2") == -9
    assert kill_resume.place(folder).checkpoint == first + 10
    assert kill_resume.place(folder).saving
    assert kill_resume.command(folder, "pretrain") == 0
    assert f"going on from step {first + 10}" in (folder / "log").read_text()
    assert kill_resume.result(folder) == expected


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_no_bit(tmp_path):
    kills_change_no_bit(tmp_path, 20)


@pytest.mark.prove
def test_a_hundred_kills_at_random_moments_change_no_bit(tmp_path):
    kills_change_no_bit(tmp_path, 100)


def kills_change_no_bit(work, n_kills):
    done = subprocess.run(
        [sys.executable, kill_resume.__file__, "--kills", str(n_kills), "--work", str(work)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["kills"] == n_kills
    assert summary["equal"] == summary["runs"] >= 1
    assert summary["differing"] == []


@pytest.mark.slow
def test_a_kill_in_every_stage_of_a_whole_run_changes_no_bit(tmp_path):
    """At a random moment of each stage, and the process alone: what it started must not harm."""
    undisturbed, folder = (small_project(tmp_path / name) for name in ("undisturbed", "killed"))
    first = groundup("run", undisturbed)
    assert first.code == 0, first.err
    seconds = {
        stage: float(said) for stage, said in re.findall(r"(\w+): done in (\S+) s", first.err)
    }
    chance, log = random.Random(1), tmp_path / "log"
    before = None
    for stage, place in RESULTS.items():
        while not killed(folder, before, chance.uniform(0, 1.2 * seconds.get(stage, 60)), log):
            whole(folder, undisturbed)  # it was quicker: once more
            for result in folder.glob(place):
                shutil.rmtree(result.parent)
        before = place
    for _ in range(MORE_KILLS):  # from the start of the process on, with several things to make
        for place in chance.sample(sorted(RESULTS.values()), 4):
            for result in folder.glob(place):
                shutil.rmtree(result.parent)
        killed(folder, None, chance.uniform(0, sum(seconds.values())), log)

    ended = groundup("run", folder, "--json")
    assert ended.code == 0, ended.err
    assert ended.json["status"] == "finished"
    whole(folder, undisturbed)


def killed(folder, before, delay, log):
    """Run the project and kill it ``delay`` seconds after ``before`` is there; False: it ended."""
    with log.open("ab") as said:
        process = subprocess.Popen(
            command("run", folder), stdout=said, stderr=said, env=environment()
        )
    while before and not list(folder.glob(before)) and process.poll() is None:
        time.sleep(0.005)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.kill()
    code = process.wait()
    assert code in (0, -signal.SIGKILL), log.read_text()
    return code != 0


def whole(folder, undisturbed):
    """Nothing is damaged or left behind, and the bits are those of an undisturbed run."""
    assert run_record(folder)["status"] == "finished"
    assert run_record(folder)["final_hash"] == run_record(undisturbed)["final_hash"]
    assert verify(folder)[1] == []
    assert not list(folder.rglob(f"{TEMPORARY}*"))
