"""What staying safe costs: the share of a run that checkpoints take, and a restart.

A project of the default cadence (a checkpoint about every 30 seconds) is trained by the command
line's own functions, every save timed: the guard's probe and the copy, for which training waits,
and by how much steps are slower while the writer works beside them. Then the run is begun again
from its last checkpoint but one, as after a kill, and the time from the start of the process to its
first new step is taken.

    python benchmarks/time_lost.py [--minutes 3] [--restarts 3]

The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, as well as imported

from benchmarks.kill_resume import make_project

from groundup.project import load_project
from groundup.stages import run_project
from groundup.track.run import checkpoints, read_lines
from groundup.train import loop
from groundup.train.recovery import Recovery

PROJECT = """\
project: {{name: lost, seed: 5}}
data: {{input: text}}
tokenizer: {{vocab_size: 512}}
plan: {{budget: {minutes}min}}
model: {{family: nanochat, n_layers: 4, d_model: 256, context_length: 256}}
pretrain: {{device: cpu}}
"""


def main() -> None:
    """Train, begin again, print."""
    parser = argparse.ArgumentParser(description="what checkpoints and restarts cost")
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--restarts", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "project"
        make_project(folder)
        (folder / "groundup.yaml").write_text(PROJECT.format(minutes=options.minutes))
        found = timed_run(folder)
        found["restart_seconds"] = [restart(folder) for _ in range(options.restarts)]
    print(json.dumps(found))


def timed_run(folder: Path) -> dict[str, object]:
    """Train it, with every save and every step on the clock."""
    saves: list[float] = []
    steps: list[tuple[float, bool]] = []
    save, apply, began = Recovery.save, loop.apply_gradients, [time.perf_counter()]
    saver: list[Recovery] = []

    def timed_save(self, state, *, wait=False):  # type: ignore[no-untyped-def]
        start = time.perf_counter()
        verdict = save(self, state, wait=wait)
        if not wait:  # the last one is waited for
            saves.append(time.perf_counter() - start)
        saver[:] = [self]
        began[0] = time.perf_counter()
        return verdict

    def timed_step(*arguments):  # type: ignore[no-untyped-def]
        apply(*arguments)
        now = time.perf_counter()
        steps.append((now - began[0], bool(saver) and saver[0].saver.is_writing()))
        began[0] = now

    Recovery.save, loop.apply_gradients = timed_save, timed_step  # type: ignore[method-assign]
    run_project(load_project(str(folder), None, ()), "pretrain")
    beside = [seconds for seconds, writing in steps if writing]
    alone = statistics.median(seconds for seconds, writing in steps if not writing)
    slower = sum(seconds - alone for seconds in beside)
    total = sum(seconds for seconds, _ in steps)
    return {
        "steps": len(steps),
        "median_step_seconds": alone,
        "saves": len(saves),
        "median_save_seconds": statistics.median(saves) if saves else None,
        "waiting_share": sum(saves) / total,
        "slower_beside_the_writer_share": max(0.0, slower) / total,
    }


def restart(folder: Path) -> float:
    """Seconds from the start of a process to the first step after the last regular checkpoint."""
    (run,) = (folder / "runs").iterdir()
    shutil.rmtree(checkpoints(run / "checkpoints")[-1])  # the run goes on from the one before
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "groundup", "pretrain", "--project", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    saved, is_cut = last_saved(run), False
    while not (is_cut and last_step(run) > saved):
        is_cut |= last_step(run) <= saved  # the log is cut back before the first new step
        if process.poll() is not None:
            raise SystemExit(f"groundup pretrain: exit code {process.returncode}")
        time.sleep(0.02)
    seconds = time.monotonic() - begun
    process.wait()
    return round(seconds, 2)


def last_step(run: Path) -> int:
    """Of the log."""
    return max((line["step"] for line in read_lines(run / "metrics.jsonl")), default=0)


def last_saved(run: Path) -> int:
    """Of the checkpoints."""
    return int(checkpoints(run / "checkpoints")[-1].name.removeprefix("step-"))


if __name__ == "__main__":
    main()
