"""`recipe: fast` against nanoGPT's recipe, and without each of its parts.

    python -m benchmarks.recipe --work DIR [--texts char library] [--seeds 3] [--json] [--summary]
        [--groups against tune without with] [--arms NAME …] [--input FILE]

One model of 4 layers × 128 at a context of 64, in fp32 on one thread, through the ordinary step of
the loop; process CPU time without the evaluations. Two texts: 1.1 million characters of the
standard library's docstrings (or a file given with --input), and the standard library's source with
a tokenizer of 1,024. The loss is over the whole validation part, at the end of a run and, in the
group `against`, after every twentieth of it.

Groups of arms, each with every seed:

    against   nanoGPT as shipped; with the best learning rate of the group `tune`; that over the
              tokens of fast; fast over 1/7, 1/5 and 1/3 of nanoGPT's tokens
    tune      nanoGPT with other learning rates, first seed only
    without   fast with one part taken out or exchanged, over 1/7 of nanoGPT's tokens
    with      fast with something more, over the same

Each finished run is a file DIR/runs/TEXT/ARM/SEED.json; runs that are there are not run again
unless their settings have changed since.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks import nanogpt_recipe as nanogpt
from benchmarks.recipe_arms import FAST, LONG, LONGEST, WITH, WITHOUT, Arm, nanogpt_at
from benchmarks.recipe_texts import Text, characters, library
from torch import Tensor
from torch.nn import functional

from groundup.architecture.config import ModelConfig
from groundup.architecture.families import build
from groundup.files import write_json
from groundup.progress import say
from groundup.tables import Table, print_json, print_tables
from groundup.tokens.order import samples_at
from groundup.tokens.rows import bos_aligned
from groundup.train.average import averaged
from groundup.train.batch import Batch, within_documents
from groundup.train.config import PretrainConfig, Settings, settle
from groundup.train.loop import of_step
from groundup.train.ramps import cut_rows, sequence_length_at, steps_for
from groundup.train.start import new_state
from groundup.train.state import RunState
from groundup.train.step import train_step

T = nanogpt.CONTEXT_LENGTH
RATES = (2e-3, 4e-3, 8e-3, 1.6e-2)  # of the group `tune`; as shipped it is 1e-3
TEXTS = ("char", "library")


def arms(work: Path, text: str) -> dict[str, dict[str, Arm]]:
    """All arms by group; those tuned only once there is something to choose from."""
    tune = {f"nanoGPT, {rate:g}": nanogpt_at(rate) for rate in RATES}
    against = {
        "nanoGPT": nanogpt_at(nanogpt.SETTINGS["learning_rate"]),
        "fast, 1/7": replace(FAST, n_evaluations=20),
        "fast, 1/5": replace(FAST, n_evaluations=20, steps=LONG),
        "fast, 1/3": replace(FAST, n_evaluations=20, steps=LONGEST),
    }
    if all(file_of(work, text, name, 0).exists() for name in tune):
        losses = {name: final(read(work, text, name, 0)) for name in tune}
        best = min(losses, key=lambda name: losses[name])
        against |= {
            best: tune[best],
            f"{best}, 1/5": replace(tune[best], steps=LONG),
        }
    return {"tune": tune, "against": against, "without": WITHOUT, "with": WITH}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for texts and results")
    parser.add_argument("--texts", nargs="*", choices=TEXTS, default=list(TEXTS))
    parser.add_argument("--groups", nargs="*", default=["against", "tune", "without", "with"])
    parser.add_argument("--arms", nargs="*", help="only these")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--input", type=Path, help="a text to take instead of the docstrings")
    parser.add_argument("--summary", action="store_true", help="run nothing")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    while not given.summary:
        left = [one for one in wanted(given) if not is_done(given.work, *one)]
        if not left:
            break
        text, name, seed, arm = left[0]
        begun = time.monotonic()
        run = trained(text_of(text, given.work, given.input), arm, seed)
        write_json(file_of(given.work, text, name, seed), run)
        say(f"{text}, {name}, seed {seed}: {final(run):.4f} in {time.monotonic() - begun:.0f} s")
    if given.json:
        print_json(summary(given.work, given.texts))
    else:
        print_tables(tables(given.work, given.texts))


def wanted(given: argparse.Namespace) -> Iterator[tuple[str, str, int, Arm]]:
    """Runs in the order in which they are made: text, arm, seed."""
    for text in given.texts:
        groups = arms(given.work, text)
        for group in given.groups:
            for seed in range(1 if group == "tune" else given.seeds):
                for name, arm in groups[group].items():
                    if given.arms is None or name in given.arms:
                        yield text, name, seed, arm
        if "tune" in given.groups and "against" in given.groups:
            for seed in range(given.seeds):  # now with the best rate among them
                for name, arm in arms(given.work, text)["against"].items():
                    if given.arms is None or name in given.arms:
                        yield text, name, seed, arm


def file_of(work: Path, text: str, name: str, seed: int) -> Path:
    place = "".join(c if c.isalnum() or c in ".-" else "_" for c in name)
    return work / "runs" / text / place / f"{seed}.json"


def is_done(work: Path, text: str, name: str, seed: int, arm: Arm) -> bool:
    """Whether this run is there, with the settings that the arm has now."""
    there = file_of(work, text, name, seed).exists()
    return there and read(work, text, name, seed)["arm"] == told(arm)


def told(arm: Arm) -> dict[str, Any]:
    """What a run's file says of its arm; functions aside, which its name stands for."""
    return {
        "settings": dict(arm.settings),
        "family": arm.family,
        "variant": dict(arm.variant),
        "steps": arm.steps,
        "rows": arm.rows,
    }


def read(work: Path, text: str, name: str, seed: int) -> dict[str, Any]:
    run: dict[str, Any] = json.loads(file_of(work, text, name, seed).read_text())
    return run


@cache
def text_of(name: str, work: Path, file: Path | None) -> Text:
    return characters(file) if name == "char" else library(work / "library")


def trained(text: Text, arm: Arm, seed: int) -> dict[str, Any]:
    """One run: its size, and its curve of (tokens, CPU seconds, validation loss in nats)."""
    settings = settings_of(arm, seed)
    state = new_state(config_of(arm, text), settings)
    arm.first(state)
    if arm.is_nanogpt:
        state.optimizers = [nanogpt.optimizer(state.model, settings)]
    batch_at = batches(text, arm, seed)
    every = max(1, settings.steps // arm.n_evaluations)
    curve: list[tuple[int, float, float]] = []
    seconds = 0.0
    while state.step < settings.steps:
        began = time.process_time()
        now = of_step(settings, state.step)
        batch = batch_at(state.cursor, now.batch_size)
        if not settings.attend_across_documents:
            batch = within_documents(batch, text.separator_id)
        train_step(state, now, cut_rows(batch, sequence_length_at(settings, state.step)))
        seconds += time.process_time() - began
        if state.step % every == 0 or state.step == settings.steps:
            with averaged(state):
                loss = validation_loss(state, settings, text)
            curve.append((state.tokens, seconds, loss))
    n_parameters = sum(weight.numel() for weight in state.model.parameters())
    return {
        "arm": told(arm),
        "parameters": n_parameters,
        "steps": settings.steps,
        "curve": curve,
    }


def config_of(arm: Arm, text: Text) -> ModelConfig:
    family = build(
        arm.family,
        vocab_size=text.vocab_size,
        n_layers=nanogpt.N_LAYERS,
        d_model=nanogpt.D_MODEL,
        n_heads=nanogpt.N_HEADS,
        context_length=T,
        **arm.variant,
    )
    return arm.network(family)


def settings_of(arm: Arm, seed: int) -> Settings:
    section = PretrainConfig(**{"batch_size": nanogpt.BATCH_SIZE, **arm.settings})
    ramp = section.batch_size_ramp
    steps = steps_for(
        arm.steps * nanogpt.BATCH_SIZE,
        section.batch_size,
        None if ramp is None else ramp.model_dump(),
    )
    chosen = {
        "steps": steps,
        "device": "cpu",
        "precision": "fp32",
        "float32_matmul_precision": "highest",
        "attention": "bmm",
        "n_threads": 1,
        "evaluate_every": steps,
        "checkpoint_every": steps,
        "sample_every": steps,
    }
    return settle(section, chosen, context_length=T, seed=seed)


def batches(text: Text, arm: Arm, seed: int) -> Callable[[int, int], Batch]:
    """(samples used so far, rows) → batch."""
    if arm.rows == "random":
        generator = np.random.default_rng(seed)
        n_starts = len(text.train) - T
        return lambda cursor, size: windows(text.train, generator.integers(n_starts, size=size))
    if arm.rows == "in_turn":
        n_windows = (len(text.train) - 1) // T
        return lambda cursor, size: windows(
            text.train, samples_at(seed, cursor, size, n_windows) * T
        )
    inputs, targets = aligned(text)

    def batch_at(cursor: int, size: int) -> Batch:
        rows = torch.from_numpy(samples_at(seed, cursor, size, len(inputs)))
        return Batch(inputs[rows], targets[rows])

    return batch_at


def windows(stream: Any, starts: Any) -> Batch:
    """The T tokens at each start, and the T behind the first of them."""
    rows = torch.from_numpy(stream[starts[:, None] + np.arange(T + 1)])
    return Batch(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())


def aligned(text: Text) -> tuple[Tensor, Tensor]:
    """Inputs and targets [n, T] of rows that each begin with a document."""
    starts = np.flatnonzero(text.train == text.separator_id)
    lengths = np.diff(starts, append=len(text.train) - 1)
    rows = bos_aligned(starts[lengths > 0], lengths[lengths > 0], T)
    pieces = [
        np.arange(start, start + length)
        for start, length in zip(rows.starts.tolist(), rows.lengths.tolist(), strict=True)
    ]
    places = np.concatenate(pieces).reshape(-1, T)
    return torch.from_numpy(text.train[places]), torch.from_numpy(text.train[places + 1])


@torch.no_grad()
def validation_loss(state: RunState, settings: Settings, text: Text) -> float:
    """Mean over the whole validation part in windows one after the other, nats a token."""
    n_windows = (len(text.validation) - 1) // T
    whole = windows(text.validation, np.arange(n_windows) * T)
    if not settings.attend_across_documents:
        whole = within_documents(whole, text.separator_id)
    total = 0.0
    for part in whole.split(128):
        logits = state.model(part.inputs, **part.about)
        total += float(
            functional.cross_entropy(logits.flatten(0, 1), part.targets.flatten(), reduction="sum")
        )
    return total / (n_windows * T)


def final(run: Mapping[str, Any]) -> float:
    loss: float = run["curve"][-1][2]
    return loss


def reached(run: Mapping[str, Any], loss: float) -> tuple[int, float] | None:
    """Tokens and CPU seconds at the first evaluation that is no worse than ``loss``."""
    return next(((tokens, s) for tokens, s, found in run["curve"] if found <= loss), None)


def summary(work: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Text → group → arm → its runs' figures, as far as they are there."""
    return {
        text: {
            group: {
                name: entry for name in members if (entry := figures(work, text, name)) is not None
            }
            for group, members in arms(work, text).items()
        }
        for text in texts
    }


def figures(work: Path, text: str, name: str) -> dict[str, Any] | None:
    """The runs of one arm, by seed, with what it takes of them to reach the baselines' losses."""
    runs = runs_of(work, text, name)
    if not runs:
        return None
    found: dict[str, Any] = {
        "parameters": next(iter(runs.values()))["parameters"],
        "tokens": next(iter(runs.values()))["curve"][-1][0],
        "loss": {seed: final(run) for seed, run in runs.items()},
        "cpu_seconds": {seed: run["curve"][-1][1] for seed, run in runs.items()},
    }
    for base in baselines(work, text):
        of_base = runs_of(work, text, base)
        pairs = {
            seed: (run, of_base[seed]["curve"][-1], reached(run, final(of_base[seed])))
            for seed, run in runs.items()
            if seed in of_base
        }
        found[f"fewer_tokens_to {base}"] = {
            seed: last[0] / at[0] for seed, (_, last, at) in pairs.items() if at
        }
        found[f"less_time_to {base}"] = {
            seed: last[1] / at[1] for seed, (_, last, at) in pairs.items() if at
        }
    return found


def runs_of(work: Path, text: str, name: str) -> dict[int, dict[str, Any]]:
    folder = file_of(work, text, name, 0).parent
    return {int(path.stem): json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def baselines(work: Path, text: str) -> list[str]:
    """nanoGPT as shipped, and tuned where that is known."""
    return [
        name
        for name, arm in arms(work, text)["against"].items()
        if arm.is_nanogpt and arm.steps == nanogpt.STEPS
    ]


def tables(work: Path, texts: Sequence[str]) -> list[Table]:
    """One table a text of what is compared, one of the parts."""
    made = []
    for text, groups in summary(work, texts).items():
        names = baselines(work, text)
        head = ["arm", "tokens", "loss", "CPU s", *(f"to {name}'s loss" for name in names)]
        rows = [
            (
                name,
                f"{one['tokens']:,}",
                spread(one["loss"].values(), ".4f"),
                spread(one["cpu_seconds"].values(), ".0f"),
                *(gain(one, base) for base in names),
            )
            for name, one in {**groups["tune"], **groups["against"]}.items()
        ]
        made.append(Table(f"{text}: validation loss, median (least–most)", head, rows))
        fast = groups["against"].get("fast, 1/7")
        for group in ("without", "with"):
            parts = [
                (
                    name,
                    spread(one["loss"].values(), ".4f"),
                    difference(one, fast),
                    seconds(one, fast),
                )
                for name, one in groups[group].items()
            ]
            head = [group, "loss", "more than fast, ± sd of seeds", "× CPU time"]
            made.append(Table(f"{text}: fast {group}", head, parts))
    return made


def gain(one: Mapping[str, Any], base: str) -> str:
    """How many times fewer tokens and less time to the loss of ``base``."""
    tokens, time = one[f"fewer_tokens_to {base}"].values(), one[f"less_time_to {base}"].values()
    if not tokens:
        return "not reached"
    return f"{spread(tokens, '.1f')} × tokens, {spread(time, '.1f')} × time"


def spread(numbers: Any, form: str) -> str:
    found = sorted(numbers)
    middle = format(statistics.median(found), form)
    return middle if len(found) == 1 else f"{middle} ({found[0]:{form}}–{found[-1]:{form}})"


def difference(one: Mapping[str, Any], fast: Mapping[str, Any] | None) -> str:
    """Mean and deviation of the differences seed by seed."""
    if fast is None:
        return ""
    pairs = [
        loss - fast["loss"][seed] for seed, loss in one["loss"].items() if seed in fast["loss"]
    ]
    if not pairs:
        return ""
    deviation = f" ± {statistics.stdev(pairs):.4f}" if len(pairs) > 1 else ""
    return f"{statistics.fmean(pairs):+.4f}{deviation}"


def seconds(one: Mapping[str, Any], fast: Mapping[str, Any] | None) -> str:
    if fast is None:
        return ""
    both = (statistics.median(each["cpu_seconds"].values()) for each in (one, fast))
    return f"{next(both) / next(both):.2f}"


if __name__ == "__main__":
    main()
