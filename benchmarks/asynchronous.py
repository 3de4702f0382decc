"""Do workers that do not wait learn as well? Synchronous against asynchronous, on the same tokens.

A small GPT-2 learns bytes of Python's own library: in one process; from a parameter server with 2
and 4 workers, with and without the learning rate divided by staleness; as 2 and 4 replicas of local
SGD, averaged or by DiLoCo's outer step. All arms of an optimizer have its learning rate, its number
of updates and its samples. Each process has one thread, all share this machine, and the loss is
that of the held-out files at the end.

    python benchmarks/asynchronous.py [--steps 150] [--seeds 2] [--optimizers sgd adam] [--rates]

``--rates`` tries the synchronous arm of each optimizer at several peak rates instead. Seconds of
CPU are those of all processes of an arm, start and evaluation included. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from groundup.architecture.families import build
from groundup.files import read_json
from groundup.hardware import available_cores
from groundup.tables import Table, print_tables
from groundup.tokens.dataset import TokenDataset
from groundup.track.run import read_run
from groundup.train.asynchronous.config import SERVER_LEARNING_RATE
from groundup.train.asynchronous.identity import own_code
from groundup.train.asynchronous.serve import ADDRESS_FILE, TOKEN_FILE
from groundup.train.asynchronous.work import Work, work
from groundup.train.batch import counts_of
from groundup.train.config import PretrainConfig, Settings, settle
from groundup.train.distributed import join, leave
from groundup.train.guard.bench.text import library
from groundup.train.job import Job
from groundup.train.objective import CAUSAL
from groundup.train.objectives import next_token_loss
from groundup.train.pretrain import pretrain

LENGTH, ROWS, HELD_OUT_ROWS = 64, 8, 256
MODEL = build("gpt2", vocab_size=256, n_layers=2, d_model=64, context_length=LENGTH)
POLL_SECONDS = 0.01
SYNC_EVERY = 20
RATES = {
    "sgd": (0.1, 0.3, 1.0), "momentum": (0.01, 0.03, 0.1), "adam": (1e-3, 2e-3, 4e-3, 8e-3),
}  # fmt: skip


class Bytes:
    """Stands where a `TokenDataset` does: the training files of the library."""

    split, folder, tokenizer_hash = "train", "library", "0" * 64
    packing, mixture = "concat", None
    n_windows, windows = TokenDataset.n_windows, TokenDataset.windows
    windows_at = TokenDataset.windows_at

    def __init__(self) -> None:
        self.tokens = library().training
        self.n_tokens = len(self.tokens)


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        n_processes: workers or replicas.
        rate: peak learning rate; None: the default.
    """

    name: str
    optimizer: str
    kind: str = "none"
    n_processes: int = 1
    about: tuple[tuple[str, Any], ...] = ()
    rate: float | None = None


def arms(optimizers: Sequence[str]) -> list[Arm]:
    """Those of the table; replicas take inner steps by Adam."""
    found = []
    for optimizer in optimizers:
        found.append(Arm("synchronous", optimizer))
        for n in (2, 4):
            for divided in (False, True):
                name = f"parameter server, {n} workers{', rate / τ' if divided else ''}"
                served = (("optimizer", optimizer), ("staleness_lr", divided))
                found.append(Arm(name, optimizer, "parameter_server", n, served))
    for n in (2, 4) if "adam" in optimizers else ():
        plain = (("sync_every", SYNC_EVERY), ("outer_learning_rate", 1.0), ("outer_momentum", 0.0))
        found.append(Arm(f"local SGD, {n} replicas", "adam", "local_sgd", n, plain))
        about = (("sync_every", SYNC_EVERY),)
        found.append(Arm(f"DiLoCo, {n} replicas", "adam", "local_sgd", n, about))
    return found


def settings_of(arm: Arm, seed: int, steps: int) -> Settings:
    """The run's, as a project file would give them."""
    served = arm.kind == "parameter_server"
    ordinary = {"sgd": "sgd", "momentum": "sgd", "adam": "adamw"}[arm.optimizer]
    given: dict[str, Any] = {"kind": arm.kind, **dict(arm.about)}
    if served:
        given["max_staleness"] = 64
    section = PretrainConfig(
        batch_size=ROWS,
        learning_rate=arm.rate or SERVER_LEARNING_RATE[arm.optimizer],
        beta1=0.9,
        schedule="linear",
        warmup_steps=20,
        asynchronous=given,
        layout={"dp_replicate": arm.n_processes if arm.kind == "local_sgd" else 1},
        **({} if served else {"optimizer": ordinary}),
        **({"momentum": 0.0} if arm.optimizer == "sgd" and not served else {}),
    )
    choice = {
        "steps": steps, "device": "cpu", "precision": "fp32", "attention": "bmm", "n_threads": 1,
        "float32_matmul_precision": "highest", "evaluate_every": steps, "checkpoint_every": steps,
        "sample_every": 10 * steps,
    }  # fmt: skip
    return settle(section, choice, context_length=LENGTH, seed=seed)


def job_of(settings: Settings) -> Job:
    """What a project's stages would hand to the loop."""

    def evaluate(model: Any, casting: Callable[[], Any]) -> Mapping[str, float]:
        batch = library().held_out(HELD_OUT_ROWS, LENGTH)
        with torch.no_grad(), casting():
            return {"loss": next_token_loss(model, batch, counts_of(batch)).item()}

    measured = ("duration_seconds", "tokens_per_second", "peak_memory_bytes", "loss")
    return Job(
        name="asynchronous",
        key={"version": 1, "model": MODEL.to_dict(), "settings": settings.to_dict(),
             "tokens": "0" * 64},
        settings=settings,
        predicted=dict.fromkeys(measured, 1.0),
        matmul_flops_per_second=1e9,
        evaluate=evaluate,
        evaluate_whole=evaluate,
        sample=lambda model, casting: "",
        spent=lambda seconds: {"cost_usd": None, "energy_kwh": None},
    )  # fmt: skip


def run(arm: Arm, seed: int, steps: int, folder: Path) -> dict[str, Any]:
    """Train one arm in processes of its own; what its record says, and what it took."""
    settings, began = settings_of(arm, seed, steps), time.perf_counter()
    if arm.kind == "local_sgd":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        children = [
            forked(replica, folder, settings, rank, arm.n_processes, port)
            for rank in range(arm.n_processes)
        ]
    else:
        children = [forked(pretrain, folder, Bytes(), job_of(settings))]
        if arm.kind == "parameter_server":
            children += [forked(worker, folder, settings, n) for n in range(arm.n_processes)]
    cpu = 0.0
    for pid in children:
        _, status, usage = os.wait4(pid, 0)
        if status != 0:
            sys.exit(f"{arm.name}: a process ended with status {status}")
        cpu += usage.ru_utime + usage.ru_stime
    record = read_run(folder) or {}
    about = record.get("asynchronous", {})
    return {
        "arm": arm.name, "optimizer": arm.optimizer, "seed": seed,
        "rate": settings.learning_rate,
        "loss": record["measured"]["loss"],
        "seconds": time.perf_counter() - began, "cpu": cpu,
        "staleness": about.get("mean_staleness"), "max_staleness": about.get("max_staleness"),
        "refused": sum(about.get("refused", {}).values()) if about else None,
    }  # fmt: skip


def worker(folder: Path, settings: Settings, number: int) -> None:
    """In a child: one worker of the server in ``folder``."""
    while not (folder / TOKEN_FILE).exists():
        time.sleep(POLL_SECONDS)
    found, token = read_json(folder / ADDRESS_FILE), (folder / TOKEN_FILE).read_text().strip()
    job = job_of(settings)
    dataset: Any = Bytes()
    given = Work(job.key, settings, CAUSAL, dataset)
    work((found["host"], found["port"]), token, given, name=f"worker {number}")


def replica(folder: Path, settings: Settings, rank: int, size: int, port: int) -> None:
    """In a child: one replica, as torchrun would start it."""
    place = {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }  # fmt: skip
    os.environ.update({name: str(value) for name, value in place.items()})
    dataset: Any = Bytes()
    ranks = join(settings)
    pretrain(folder, dataset, job_of(settings), ranks)
    leave(ranks)


def forked(do: Callable[..., None], *arguments: Any) -> int:
    """A child that imports nothing again; its pid. What it says goes nowhere, unless it fails."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        with tempfile.TemporaryFile("w+") as said:
            kept = os.dup(2)
            os.dup2(said.fileno(), 2)
            try:
                do(*arguments)
                code = 0
            except BaseException as error:
                os.write(kept, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


def table_of(results: Sequence[Mapping[str, Any]], steps: int, seeds: int) -> Table:
    """One line an arm: means over the seeds."""
    names = list(dict.fromkeys((each["optimizer"], each["arm"], each["rate"]) for each in results))
    rows = []
    for optimizer, arm, rate in names:
        same = [
            r for r in results if (r["optimizer"], r["arm"], r["rate"]) == (optimizer, arm, rate)
        ]
        losses = [each["loss"] for each in same]
        taus = [each["staleness"] for each in same]
        rows.append((
            optimizer, arm, f"{rate:g}", f"{fmean(losses):.3f}",
            f"{min(losses):.3f}–{max(losses):.3f}",
            f"{fmean(taus):.2f}" if taus[0] is not None else None,
            max(each["max_staleness"] for each in same) if taus[0] is not None else None,
            f"{fmean(each['cpu'] for each in same):.1f}",
            f"{fmean(each['seconds'] for each in same):.1f}",
        ))  # fmt: skip
    columns = ("optimizer", "arm", "rate", "loss", "from–to", "mean τ", "max τ", "CPU s", "wall s")
    tokens = steps * ROWS * LENGTH
    title = f"{steps} updates, {tokens:,} tokens, {seeds} seeds: held-out loss in nats per byte"
    return Table(title, columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--optimizers", nargs="+", choices=list(RATES), default=["sgd", "adam"])
    parser.add_argument("--rates", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    own_code()  # once: the children are of this code, whatever becomes of the files
    tried = (
        [Arm("synchronous", name, rate=rate) for name in given.optimizers for rate in RATES[name]]
        if given.rates
        else arms(given.optimizers)
    )
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for arm in tried:
            for seed in range(given.seeds):
                place = Path(folder) / str(len(results))
                results.append(run(arm, seed, given.steps, place))
                print(json.dumps(results[-1]), file=sys.stderr)
    print_tables([table_of(results, given.steps, given.seeds)])
    print(f"{available_cores()} cores, torch {torch.__version__}")
    print(json.dumps({"steps": given.steps, "results": results}))


if __name__ == "__main__":
    main()
