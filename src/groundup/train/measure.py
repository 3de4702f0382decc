"""What this machine can do, measured before anything is decided.

Runs in a process of its own (``python -m groundup.train.measure`` with a JSON job on standard
input), so that memory is that of a training process and nothing else. For each size of model it
builds the real state, takes real steps, one evaluation, one checkpoint and one sample, and reports
the median seconds and the peak memory. The plan reads the result; the run is later compared with
it.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from groundup.errors import BudgetError, GroundupError, UserError
from groundup.files import TEMPORARY
from groundup.plan.local.candidates import Corpus, Job
from groundup.progress import say
from groundup.train.resources import SMALLER, is_out_of_memory, memory_bytes, release_memory
from groundup.units import format_bytes

MEASURED_SECONDS = 2.5  # of timed steps per size, after the warm-up
WARMUP_STEPS, LEAST_STEPS = 2, 3
# Each of the three arrays of the triad: beyond any cache, or a share of a small memory.
STREAM_BYTES = {"cpu": 2**27, "cuda": 2**30}
STREAM_SHARE = 1 / 32
ORPHAN_SECONDS = 0.5  # between two looks for the parent
N_EXAMPLES = 4  # rows of a sample of a model that is not causal
MORE_THAN_MEASURED = 10**6  # steps: the schedule is flat while we measure


def measure_machine(
    settings: Mapping[str, Any], job: Job, corpus: Corpus, budget: float | None, scratch: Path
) -> dict[str, Any]:
    """Measure in a child process.

    Args:
        settings: what `train.config.unsettled` gives.
        job: what is to be trained; where it leaves the size open, the sizes that may win are timed.
        corpus: the training split.
        budget: seconds of training; None where the job gives its steps.
        scratch: folder on the disk where checkpoints will go.

    Returns:
        the content of ``machine.json`` (see `measure`).

    Raises:
        BudgetError: the memory does not suffice for a training step.
        GroundupError: the child failed; its last words are in the message.
    """
    message = {
        "settings": dict(settings),
        "job": asdict(job),
        "corpus": asdict(corpus),
        "budget": budget,
        "scratch": str(scratch),
    }
    child = subprocess.run(
        # -P: without it a statistics.py in the user's folder would stand in for Python's.
        [sys.executable, "-P", "-m", "groundup.train.measure"],
        input=json.dumps(message),
        env={**os.environ, "GROUNDUP_FAULT": ""},  # faults are for the run, not for its rehearsal
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if child.returncode == -signal.SIGKILL:
        raise BudgetError(
            "measuring this machine was stopped from outside, most likely for want of memory",
            where="one training step of the model in the project file",
            fix=SMALLER,
        )
    lines = child.stdout.strip().splitlines()
    nothing = {"error": f"exit code {child.returncode}"}
    answer: dict[str, Any] = json.loads(lines[-1]) if lines else nothing
    if "error" in answer:
        where, fix = answer.get("where"), answer.get("fix")
        if child.returncode == UserError.code:
            raise UserError(answer["error"], where=where, fix=fix)
        raise GroundupError(f"measuring this machine failed: {answer['error']}", fix=fix)
    if answer["device"] == "cpu":
        # Training goes on in this process, which holds what the stages before it left behind.
        release_memory()
        kept = max(0, memory_bytes() - answer["bare_memory_bytes"])
        answer["base_memory_bytes"] += kept
        for step in answer["steps"]:
            step["peak_memory_bytes"] += kept
    return answer


def measure(message: Mapping[str, Any]) -> dict[str, Any]:
    """Do the job of `measure_machine` in this process.

    Returns:
        ``device, device_name, n_threads, precision, float32_matmul_precision, attention,
        matmul_flops_per_second, memory_bytes_per_second, memory_bytes, bare_memory_bytes`` (a
        process before torch), ``base_memory_bytes`` (before a model) and ``steps``: per model
        ``n_layers, d_model, parameters, flops_per_token, tokens_per_step, seconds_per_step,
        seconds_per_forward, seconds_per_checkpoint, seconds_per_sample, peak_memory_bytes``.
    """
    bare = memory_bytes()

    import torch

    from groundup.hardware import available_cores, processor_name
    from groundup.plan.local.candidates import sizes_to_measure
    from groundup.plan.local.fit import fit_law
    from groundup.plan.local.law import read_runs
    from groundup.train.config import Settings
    from groundup.train.precision import choose_arithmetic, choose_attention
    from groundup.train.resources import (
        peak_memory_bytes,
        pick_device,
        reset_peak_memory,
        total_memory_bytes,
        use,
    )

    wanted, job, corpus = message["settings"], Job(**message["job"]), Corpus(**message["corpus"])
    device = pick_device(wanted["device"])
    n_threads = wanted["n_threads"] or available_cores()
    torch.set_num_threads(n_threads)
    arithmetic = choose_arithmetic(device, wanted["precision"])
    use(n_threads, arithmetic.float32_matmul_precision)
    sizes: Sequence[tuple[int, int]] = job.sizes()
    if len(sizes) > 1:
        law = fit_law(read_runs(family=job.family))
        rate = arithmetic.matmul_flops_per_second
        sizes = sizes_to_measure(job, corpus, law, message["budget"], rate)
    models = [job.build(*size) for size in sizes]
    attention = wanted["attention"]
    if attention == "auto":
        shape = models[-1].attention
        attention = choose_attention(
            device,
            arithmetic.precision,
            batch_size=wanted["micro_batch_size"],
            n_heads=shape.n_heads,
            head_dim=shape.head_dim,
            context_length=job.context_length,
        )
    chosen = {
        "device": device,
        "n_threads": n_threads,
        "precision": arithmetic.precision,
        "float32_matmul_precision": arithmetic.float32_matmul_precision,
        "attention": attention,
    }
    endless = dict.fromkeys(
        ("steps", "evaluate_every", "checkpoint_every", "sample_every"), MORE_THAN_MEASURED
    )
    settings = Settings(**{**wanted, **chosen, **endless})
    total = total_memory_bytes(device)
    bandwidth = stream_bytes_per_second(device, total)
    if device == "cuda":
        torch.cuda.empty_cache()  # else the arrays' room stays with the allocator
    reset_peak_memory(device)
    # On a GPU only what the allocator holds counts; without a model that is nothing.
    base = memory_bytes() if device == "cpu" else 0
    models = [
        model for model in models if expected_memory(model, settings, job, base) < total
    ] or refuse(total)
    steps = []
    for model in models:
        reset_peak_memory(device)
        measured = measure_model(model, settings, job.sample_tokens, Path(message["scratch"]))
        steps.append({**measured, "peak_memory_bytes": peak_memory_bytes(device)})
        say(
            f"measured {model.n_layers} layers × {model.d_model}: "
            f"{measured['tokens_per_step'] / measured['seconds_per_step']:,.0f} tokens/s"
        )
    return {
        **chosen,
        "device_name": torch.cuda.get_device_name() if device == "cuda" else processor_name(),
        "matmul_flops_per_second": arithmetic.matmul_flops_per_second,
        "memory_bytes_per_second": bandwidth,
        "memory_bytes": total,
        "bare_memory_bytes": bare,
        "base_memory_bytes": base,
        "steps": steps,
    }


def stream_bytes_per_second(device: str, total_bytes: int) -> float:
    """Bandwidth of memory by the triad a = b + s·c of STREAM (McCalpin 1995), bytes per second.

    Two arrays are read and one is written; what a cache reads besides is not counted, as there.

    Args:
        device: "cpu" or "cuda".
        total_bytes: of its memory.
    """
    import torch

    from groundup.train.precision import best_seconds

    n = int(min(STREAM_BYTES[device], STREAM_SHARE * total_bytes)) // 4
    a, b, c = (torch.ones(n, device=device) for _ in range(3))
    seconds = best_seconds(lambda: torch.add(b, c, alpha=3, out=a), device)
    return 3 * 4 * n / seconds


def measure_model(config: Any, settings: Any, sample_tokens: int, scratch: Path) -> dict[str, Any]:
    """Real steps, one evaluation, one checkpoint and one sample of one model."""
    import torch

    from groundup.architecture.counts import parameters
    from groundup.architecture.trained_for import CAUSAL
    from groundup.model.generate import generate
    from groundup.train.batch import counts_of
    from groundup.train.noise.config import ObjectiveConfig
    from groundup.train.objective import stand_in
    from groundup.train.precision import autocast, synchronize
    from groundup.train.retention import Retention
    from groundup.train.start import new_state
    from groundup.train.step import drop_gradients, gradients, train_step
    from groundup.train.writer import Saver

    state = new_state(config, settings)
    objective = stand_in(ObjectiveConfig(**settings.objective), config.vocab_size, settings.device)
    batch = random_batch(objective, config.vocab_size, settings).to(settings.device)

    seconds: list[float] = []
    begin = time.perf_counter()
    while len(seconds) < WARMUP_STEPS + LEAST_STEPS or sum(seconds) < MEASURED_SECONDS:
        loss, _ = train_step(state, settings, batch, objective.loss)
        loss.item()  # waits for the device, as the loop's log does
        seconds.append(time.perf_counter() - begin)
        begin = time.perf_counter()

    with torch.no_grad(), autocast(settings.device, settings.precision):
        for _ in ("warm-up", "timed"):
            synchronize(settings.device)
            begin = time.perf_counter()
            for micro_batch in batch.split(settings.micro_batch_size):
                objective.loss(state.model, micro_batch, counts_of(batch))
            synchronize(settings.device)
    forward = time.perf_counter() - begin

    # As in a run: the guard's probe, the copy, and what the writer takes from the steps beside it.
    usual = statistics.median(seconds[WARMUP_STEPS:])
    probe = next(batch.split(settings.micro_batch_size))
    with (
        tempfile.TemporaryDirectory(dir=scratch, prefix=f"{TEMPORARY}measure-") as folder,
        closing(Saver(Path(folder), Retention(1))) as saver,
    ):
        begin, n_steps = time.perf_counter(), 0
        gradients(state, settings, probe, counts_of(probe), objective.loss).numbers()
        drop_gradients(state)
        saver.save(state, {})
        while saver.is_writing() or n_steps == 0:
            train_step(state, settings, batch, objective.loss)[0].item()
            n_steps += 1
        checkpoint = max(0.0, time.perf_counter() - begin - n_steps * usual)
        saver.wait()
        error = saver.failed()
        if error is not None:
            raise error

    begin = time.perf_counter()
    with torch.no_grad(), autocast(settings.device, settings.precision):
        if objective.config.kind in CAUSAL:
            list(generate(state.model, [0], max_new_tokens=sample_tokens, seed=0))
        else:  # whose samples are its own answers to a few rows
            rows = next(batch.split(N_EXAMPLES))
            objective.loss(state.model, rows, counts_of(rows))
    sample = time.perf_counter() - begin

    counted, n_tokens = parameters(config), settings.batch_size * settings.context_length
    return {
        "n_layers": config.n_layers,
        "d_model": config.d_model,
        "parameters": counted.total,
        "non_embedding_parameters": counted.non_embedding,
        "flops_per_token": objective.step_flops(config, batch) / n_tokens,
        "tokens_per_step": n_tokens,
        "seconds_per_step": usual,
        "seconds_per_forward": forward,
        "seconds_per_checkpoint": checkpoint,
        "seconds_per_sample": sample,
    }


def random_batch(objective: Any, vocab_size: int, settings: Any) -> Any:
    """A batch of the settings' shape, of tokens at random behind the special ones; on the CPU.

    Args:
        objective: from `objective.stand_in`.
    """
    import torch

    shape = (settings.batch_size, objective.tokens_per_row(settings.context_length))
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(min(256, vocab_size // 2), vocab_size, shape, generator=generator)
    return objective.batch_of_rows(tokens.numpy(), tokens.numpy(), (0,))


def expected_memory(model: Any, settings: Any, job: Job, base: int) -> int:
    """The plan's estimate before anything is measured, bytes: trying it might take the machine."""
    from groundup.plan.local.peak import uncalibrated

    return uncalibrated(
        model,
        precision=settings.precision,
        attention=settings.attention,
        base_memory_bytes=base,
        tokens=settings.micro_batch_size * job.context_length,
        context_length=job.context_length,
        optimizer=job.kept,
        recompute=job.recompute,
        offload_optimizer=job.offload_optimizer,
    ).total


def refuse(total: int) -> Any:
    """Say that nothing fits.

    Raises:
        BudgetError: always.
    """
    raise BudgetError(
        f"a training step of this model does not fit in the {format_bytes(total)} there are",
        fix=SMALLER,
    )


def main() -> int:
    """Read a job, print its result as one JSON line."""
    parent = os.getppid()
    threading.Thread(target=end_with, args=[parent], daemon=True).start()
    try:
        answer = measure(json.load(sys.stdin))
    except GroundupError as error:
        said = {"error": error.message, "where": error.where, "fix": error.fix}
        sys.stdout.write(json.dumps(said) + "\n")
        return error.code
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        message = "a training step of this model does not fit in the memory"
        sys.stdout.write(json.dumps({"error": message, "fix": SMALLER}) + "\n")
        return BudgetError.code
    except KeyboardInterrupt:  # Ctrl-C reaches the whole group; the parent speaks of it
        return 130
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def end_with(parent: int) -> None:
    """End this process once its parent is gone: it would disturb the next measurement."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
