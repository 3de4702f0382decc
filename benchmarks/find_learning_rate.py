"""Is the rate that `groundup find learning-rate` suggests a good one?

For each optimizer: the range test, then short trainings of the same model on the same samples at
multiples of the usual rate, and at the rates that the test names. Small byte-pair models learn the
standard library. The last line is one JSON object.

    python benchmarks/find_learning_rate.py --steps 150
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sysconfig
import tempfile
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from groundup.project import load_project
from groundup.stages_find import data_of, find_learning_rate, subject_of
from groundup.train.batch import counts_of
from groundup.train.ramps import samples_before
from groundup.train.start import new_state
from groundup.train.step import gradients, train_step

FILE = """\
project: {{name: rates, seed: 1}}
data: {{input: text}}
tokenizer: {{vocab_size: 1024}}
model: {{n_layers: 2, d_model: 64, context_length: 128}}
pretrain:
  steps: {steps}
  batch_size: 8
  optimizer: {optimizer}
  device: cpu
  precision: fp32
  attention: bmm
  n_threads: 1
"""
HELD_OUT_ROWS = 64  # samples behind those learnt from
MULTIPLES = [2.0**power for power in range(-3, 6)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--optimizers", nargs="+", default=["muon", "adamw"])
    parser.add_argument("--steps", type=int, default=150)
    arguments = parser.parse_args()
    results = {name: compare(name, arguments.steps) for name in arguments.optimizers}
    print(json.dumps(results))


def compare(optimizer: str, steps: int) -> dict[str, Any]:
    """The loss after short trainings at each rate."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "groundup.yaml").write_text(FILE.format(steps=steps, optimizer=optimizer))
        (place / "text").mkdir()
        for path in sorted(Path(sysconfig.get_path("stdlib")).glob("[a-z]*.py"))[:120]:
            shutil.copyfile(path, place / "text" / path.name)
        project = load_project(place)
        with redirect_stdout(None):
            found = find_learning_rate(project, low=1e-3, high=100, steps=200)
        usual = found["usual"]["learning_rate"]
        named = {
            "steepest": found["steepest"],
            "lowest": found["lowest"],
            "a tenth of diverged": found["diverged"] and found["diverged"] / 10,
            "suggested": found["suggested"] and found["suggested"]["learning_rate"],
        }
        losses = {}
        with subject_of(project) as subject:
            for multiple in MULTIPLES:
                losses[f"{multiple * usual:.3g}"] = loss_at(subject, multiple)
                print(
                    f"{optimizer} {multiple * usual:.3g}: {losses[f'{multiple * usual:.3g}']:.3f}"
                )
            for name, rate in named.items():
                if rate is not None:
                    losses[name] = loss_at(subject, rate / usual)
                    print(f"{optimizer} {name} {rate:.3g}: {losses[name]:.3f}")
    return {"usual": usual, **named, "losses": losses}


def loss_at(subject: Any, multiple: float) -> float:
    """Train at a multiple of all rates; loss on the samples that follow, nats per token."""
    settings = subject.settings
    state = new_state(subject.model, settings)
    for optimizer in state.optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] *= multiple
    objective, batch = data_of(subject)
    for step in range(settings.steps):
        rows = batch(step * settings.batch_size, settings.batch_size)
        loss, norm = train_step(state, settings, rows, objective.loss)
        if not math.isfinite(float(loss) + float(norm)):
            return math.inf
    held_out = batch(samples_before(settings, settings.steps), HELD_OUT_ROWS)
    plain = replace(settings, micro_batch_size=settings.batch_size)
    return gradients(state, plain, held_out, counts_of(held_out), objective.loss).numbers()[0]


if __name__ == "__main__":
    main()
