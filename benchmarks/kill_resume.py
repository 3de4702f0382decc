"""Kill a pre-training run at random moments, go on with the same command, compare the bits.

A small project is made and its data, tokenizer, tokens and plan are built once. One copy of it
trains undisturbed. In further copies ``groundup pretrain`` is started again and again and ended by
SIGKILL after a random time (from the import of the first module to the last save), until it
finishes. What each copy must share with the undisturbed one, bit for bit: the final hash, every
file of weights and optimizer state, and the loss of every step. Nothing may be left behind.

    python benchmarks/kill_resume.py --kills 100 [--ranks 2] [--seed 0] [--work FOLDER]

With ``--ranks`` so many processes train together (FSDP2 over gloo); one of them is killed, or all
at once, and the others have to end by themselves. Processes are forked from one that has imported
everything. The last line is JSON; the exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, as well as imported

from benchmarks.forked import Forked, preload, start_ranks

from groundup.files import TEMPORARY
from groundup.track.run import checkpoints, read_lines, read_run
from groundup.track.verify import verify

PROJECT = """\
# Everything that a clock or a probe would choose is written down.
project: {name: kills, seed: 5}
data: {input: text}
tokenizer: {vocab_size: 384}
model: {family: nanochat, n_layers: 1, d_model: 32, context_length: 32}
pretrain:
  steps: 160
  batch_size: 4
  micro_batch_size: 2
  device: cpu
  precision: fp32
  attention: bmm
  n_threads: 1
  evaluate_every: 50
  evaluation_windows: 4
  checkpoint_every: 20
  sample_every: 70
"""
SURVIVOR_SECONDS = 20.0
LAUNCHES_PER_RUN = 200  # more than this means that nothing goes forward


def main() -> int:
    """Run the whole experiment; 0 if every run ended with the same bits."""
    parser = argparse.ArgumentParser(description="random SIGKILLs, and what they change")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="an empty folder; default: a temporary one")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        summary = kill_and_resume(work, options.kills, options.seed, options.ranks)
    print(json.dumps(summary))
    return 0 if summary["equal"] == summary["runs"] else 1


def kill_and_resume(work: Path, n_kills: int, seed: int, n_ranks: int = 1) -> dict[str, Any]:
    """Kill until ``n_kills`` were reached and the run that was hit last has finished."""
    began, chance = time.monotonic(), random.Random(seed)
    prepared, undisturbed = work / "prepared", work / "undisturbed"
    make_project(prepared)
    command(prepared, "plan")
    preload()
    shutil.copytree(prepared, undisturbed)
    started = time.monotonic()
    processes = launch(undisturbed, n_ranks)
    codes = [process.wait() for process in processes]
    if any(codes):
        raise SystemExit(f"undisturbed: exit codes {codes}\n{words(processes)}")
    longest = time.monotonic() - started
    expected = result(undisturbed)
    print(f"undisturbed: {longest:.1f} s, final hash {expected['final_hash'][:16]}")

    kills: list[dict[str, Any]] = []
    differing: list[dict[str, Any]] = []
    runs = 0
    while len(kills) < n_kills:
        folder = work / f"run-{runs}"
        shutil.copytree(prepared, folder)
        hits = run_with_kills(folder, n_kills - len(kills), longest, chance, n_ranks)
        found = result(folder)
        differences = sorted(key for key in expected if found[key] != expected[key])
        if differences:
            differing.append({"run": runs, "differs": differences})
        print(f"run {runs}: killed {len(hits)} times, {'DIFFERS' if differences else 'equal'}")
        for hit in hits:
            print(
                f"    after {hit['seconds']:5.2f} s  {hit['kind']}, step {hit['step']}{hit['who']}"
            )
        shutil.rmtree(folder)
        kills += hits
        runs += 1

    kinds = [hit["kind"] for hit in kills]
    return {
        "ranks": n_ranks,
        "runs": runs,
        "kills": len(kills),
        "kills_by_kind": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        "killed_at_steps": sorted(hit["step"] for hit in kills),
        "equal": runs - len(differing),
        "differing": differing,
        "final_hash": expected["final_hash"],
        "seconds": round(time.monotonic() - began, 1),
    }


def run_with_kills(
    folder: Path, most: int, longest: float, chance: random.Random, n_ranks: int
) -> list[dict[str, Any]]:
    """Start the run until it ends, killing it at most ``most`` times; where each kill hit."""
    hits: list[dict[str, Any]] = []
    for _ in range(LAUNCHES_PER_RUN):
        before, processes = place(folder), launch(folder, n_ranks)
        wait = chance.uniform(0.1, 0.9 * longest) if len(hits) < most else None
        first = processes[0].wait(wait)
        victims = processes if chance.random() < 1 / n_ranks else [chance.choice(processes)]
        killed = first is None
        if killed:
            for process in victims:
                process.kill()
        codes = [end(process) if killed else process.wait() for process in processes]
        if not killed and not any(codes):
            return hits
        unexpected = [code for code in codes if code == 0 or (code > 0 and n_ranks == 1)]
        if not killed or unexpected:
            raise SystemExit(f"{folder}: exit codes {codes}\n{words(processes)}")
        after = place(folder)
        who = "" if n_ranks == 1 else f", ranks {[processes.index(each) for each in victims]}"
        hits.append({"seconds": wait, "step": after.step, "kind": after.kind(before), "who": who})
    raise SystemExit(f"{folder}: does not go forward")


def end(process: Forked) -> int | None:
    """The exit code of a survivor; one that has not met the others yet is ended, as by torchrun."""
    if process.wait(SURVIVOR_SECONDS) is None:
        process.kill()
    return process.wait()


def launch(folder: Path, n_ranks: int) -> list[Forked]:
    """The processes of one start of the run."""
    arguments = ["pretrain", "--project", str(folder)]
    if n_ranks == 1:
        return [Forked(arguments, folder / "log")]
    return start_ranks(arguments, folder, n_ranks)


def words(processes: list[Forked]) -> str:
    """The end of what they said."""
    return "\n".join(process.log.read_text()[-2000:] for process in processes)


@dataclass(frozen=True)
class Place:
    """How far a run is, by what is on the disk."""

    step: int  # of the last line of metrics
    checkpoint: int  # step of the newest one
    saving: bool  # a half-written checkpoint is there
    lines: int

    def kind(self, before: Place) -> str:
        """What a process was doing that started from ``before`` and left this."""
        if self.saving and not before.saving:
            return "while saving"
        trained = self.step > before.checkpoint and self.lines != before.lines
        return "while training" if trained else "while starting"


def place(folder: Path) -> Place:
    """Read it from the files of the only run in ``folder``."""
    lines = [line for path in folder.glob("runs/*/metrics.jsonl") for line in read_lines(path)]
    saved = [path for run in folder.glob("runs/*") for path in checkpoints(run / "checkpoints")]
    return Place(
        step=lines[-1]["step"] if lines else 0,
        checkpoint=int(saved[-1].name.removeprefix("step-")) if saved else 0,
        saving=any(folder.glob(f"runs/*/checkpoints/{TEMPORARY}*")),
        lines=len(lines),
    )


def result(folder: Path) -> dict[str, Any]:
    """Everything of a finished run that must not depend on how often it was killed."""
    (run,) = (folder / "runs").iterdir()
    record = read_run(run)
    if record is None or record["status"] != "finished":
        raise SystemExit(f"{run}: not finished")
    return {
        "final_hash": record["final_hash"],
        "losses": [
            (line["step"], line["loss"].hex()) for line in read_lines(run / "metrics.jsonl")
        ],
        "tensors": {
            str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(run.rglob("*.safetensors"))
        },
        "bad_files": verify(folder)[1],
        "left_behind": [str(path) for path in folder.rglob(f"{TEMPORARY}*")],
    }


def make_project(folder: Path) -> None:
    """A project file and a folder of made-up text, the same everywhere."""
    (folder / "text").mkdir(parents=True)
    (folder / "groundup.yaml").write_text(PROJECT)
    chance = random.Random(0)
    syllables = ["ba", "co", "di", "fu", "gel", "han", "ir", "jo", "ka", "lum", "me", "nor"]
    words = ["".join(chance.choices(syllables, k=chance.randint(1, 4))) for _ in range(400)]
    for number in range(40):
        lines = [" ".join(chance.choices(words, k=9)) for _ in range(60)]
        (folder / "text" / f"{number:02d}.txt").write_text(".\n".join(lines) + ".\n")


def start(folder: Path, name: str, **environment: str) -> subprocess.Popen[bytes]:
    """``groundup <name>`` in a process group of its own, its words in ``folder/log``."""
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "groundup", name, "--project", str(folder)],
            stdout=log,
            stderr=log,
            env={**clean_environment(), **environment},
            start_new_session=True,
        )


def command(folder: Path, name: str, **environment: str) -> int:
    """The same, to its end; killed by a signal is a result, an error is not."""
    process = start(folder, name, **environment)
    said = finish(process, folder)
    if process.returncode > 0:
        raise SystemExit(f"groundup {name}: exit code {process.returncode}\n{said}")
    return process.returncode


def finish(process: subprocess.Popen[bytes], folder: Path) -> str:
    """Wait for the end of a process and read what it said."""
    process.wait()
    return (folder / "log").read_text()


def clean_environment() -> Mapping[str, str]:
    """This process's environment with the threads fixed and no fault asked for."""
    kept = {key: value for key, value in os.environ.items() if key != "GROUNDUP_FAULT"}
    return {**kept, "OMP_NUM_THREADS": "1"}


if __name__ == "__main__":
    sys.exit(main())
