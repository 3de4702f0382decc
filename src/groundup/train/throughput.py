"""Training measured for its speed: the run's own loop, any file of tokens, some seconds.

Guard, checks, log and sign of life are those of every run; nothing is planned, saved or evaluated.
Two steps go before the clock starts.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from groundup.architecture.config import ModelConfig
from groundup.errors import InputError
from groundup.progress import Progress
from groundup.tokens.dataset import TokenDataset
from groundup.track.run import METRICS, Run, read_lines
from groundup.train.compile import compile_as_set
from groundup.train.config import PretrainConfig, Settings, settle
from groundup.train.distributed import ALONE
from groundup.train.hot_swap import Changes
from groundup.train.job import Job
from groundup.train.loop import Training, train
from groundup.train.parts import Opened, parts
from groundup.train.precision import best_seconds, choose_arithmetic, choose_attention
from groundup.train.resources import pick_device, reset_peak_memory, use
from groundup.train.start import new_state
from groundup.train.state import RunState

WARMUP_STEPS = 2
ENDLESS = 10**12  # steps: the schedule stays at its peak while we measure
READ_AT_ONCE = 2**24  # tokens


class RawTokens(TokenDataset):
    """A file of uint16 tokens, little-endian, in the place of a `TokenDataset`: one long document.

    Args:
        vocab_size: every token is below it.
        context_length: of the windows; the file holds one and its target at least.

    Raises:
        InputError: the file cannot be read, is odd or short, or has a token beyond the vocabulary.
    """

    def __init__(self, path: Path, vocab_size: int, context_length: int) -> None:
        self.folder, self.split = path, "train"
        self.packing, self.mixture = "concat", None
        try:
            size = path.stat().st_size
            if size % 2:
                raise InputError(
                    f"{size:,} bytes are no whole number of uint16 tokens",
                    where=str(path),
                    fix="write the tokens with two bytes each: numpy's array.astype('<u2').tofile",
                )
            self.n_tokens = size // 2
            if self.n_windows(context_length) < 1:
                raise InputError(
                    f"{self.n_tokens:,} tokens are fewer than one window of {context_length:,} "
                    "and its target",
                    where=str(path),
                    fix="give more tokens, or a smaller --ctx",
                )
            self.tokens = np.memmap(path, dtype="<u2", mode="r")
        except OSError as error:
            raise InputError(
                f"cannot read this file: {error.strerror}",
                where=str(path),
                fix="give a file of uint16 tokens with --tokens",
            ) from error
        for start in range(0, self.n_tokens, READ_AT_ONCE):
            largest = int(self.tokens[start : start + READ_AT_ONCE].max())
            if largest >= vocab_size:
                raise InputError(
                    f"token {largest} is not below the vocabulary size {vocab_size}",
                    where=str(path),
                    fix=f"give --vocab {largest + 1} or more, or the file of another tokenizer",
                )


@dataclass(frozen=True)
class Measured:
    """What some seconds of training were.

    Attributes:
        tokens, steps: trained on, without the warm-up.
        seconds, cpu_seconds: by the clock, and of all threads of this process.
        loss: of the last step, nats per token.
        part_seconds: by the names of `breakdown.PARTS`.
        settings: what was chosen, where it was left open.
        matmul_flops_per_second: of a product as in the feed-forward network, in these settings
            (in bf16 where they are fp8).
        peak_memory_bytes: of the process, or allocated on the GPU.
    """

    tokens: int
    steps: int
    seconds: float
    cpu_seconds: float
    loss: float = math.nan
    part_seconds: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    matmul_flops_per_second: float = math.nan
    peak_memory_bytes: int = 0

    @property
    def clock_seconds(self) -> float:
        """By the clock that the rate of products was measured with: one thread's is its own."""
        alone = self.settings["n_threads"] == 1 and self.settings["device"] == "cpu"
        return self.cpu_seconds if alone else self.seconds


def bench_settings(config: PretrainConfig, model: ModelConfig, n_threads: int) -> Settings:
    """The settings of a measurement; what ``config`` leaves open is probed here.

    Raises:
        UserError: a GPU was asked for and there is none.
    """
    device = pick_device(config.device)
    precision = "fp32" if config.precision == "auto" else config.precision
    use(n_threads, "highest")
    float32 = choose_arithmetic(device, "auto").float32_matmul_precision
    use(n_threads, float32)
    attention: str = config.attention
    if attention == "auto":
        attention = choose_attention(
            device,
            precision,
            batch_size=config.micro_batch_size or config.batch_size,
            n_heads=model.attention.n_heads,
            context_length=model.context_length,
            head_dim=model.attention.head_dim,
        )
    choice = {
        "device": device,
        "precision": precision,
        "float32_matmul_precision": float32,
        "attention": attention,
        "n_threads": n_threads,
        **dict.fromkeys(("steps", "evaluate_every", "checkpoint_every", "sample_every"), ENDLESS),
    }
    # An alarm is said; there is no checkpoint to go back to.
    watched = config.guard.model_copy(update={"policy": "warn"})
    config = config.model_copy(update={"guard": watched})
    return settle(config, choice, context_length=model.context_length, seed=0)


def measure_training(
    tokens: RawTokens, model: ModelConfig, settings: Settings, seconds: float
) -> Measured:
    """Train for ``seconds``, one step at least, by `loop.train` in a folder that does not stay.

    Raises:
        ConfigError: an attention that this device cannot train with.
    """
    rate = matmul_rate(model, settings)
    reset_peak_memory(settings.device)
    state = new_state(model, settings)
    compile_as_set(state.model, settings)
    with tempfile.TemporaryDirectory() as name:
        run = Run(Path(name), {"stage": "bench"})
        activation = model.feed_forward.activation
        changes = Changes(settings, activation, (), (), run.folder, writes=True)
        # As one that goes on: there is nothing to go back to, so nothing has to be saved first.
        opened = Opened(run, {}, changes, is_taken_up=True, ranks=ALONE)
        shown = Progress("bench train", None, "tokens")
        with (
            closing(run),
            parts(
                run.folder, tokens, job_of(model, settings, rate), state, opened, shown, never
            ) as training,
        ):
            clock = Clock(state, training, seconds)
            with suppress(TimeIsUp):
                train(state, replace(training, stop=clock))
        *_, last = read_lines(run.folder / METRICS)
    return replace(
        clock.measured,
        loss=last["loss"],
        peak_memory_bytes=state.peak_memory_bytes,
        settings=settings.to_dict(),
        matmul_flops_per_second=rate,
    )


def never() -> bool:
    """A signal is not waited for but ends a measurement at once: there is nothing to save."""
    return False


def matmul_rate(model: ModelConfig, settings: Settings) -> float:
    """FLOP/s of one micro-batch through the first matrix of the feed-forward network."""
    rows, width = settings.micro_batch_size * settings.context_length, model.feed_forward.d_ff
    dtype = torch.float32 if settings.precision == "fp32" else torch.bfloat16
    tokens = torch.randn(rows, model.d_model).to(settings.device, dtype)
    weight = torch.randn(width, model.d_model).to(settings.device, dtype)
    seconds = best_seconds(lambda: tokens @ weight.T, settings.device)
    return 2 * rows * model.d_model * width / seconds


def job_of(model: ModelConfig, settings: Settings, rate: float) -> Job:
    """A job without evaluations: in these settings none falls due."""

    def nothing(*_: object) -> dict[str, float]:
        return {}

    return Job(
        name="bench",
        key={"model": model.to_dict()},
        settings=settings,
        predicted={},
        matmul_flops_per_second=rate,
        evaluate=nothing,
        evaluate_whole=nothing,
        sample=lambda *_: "",
        spent=nothing,
    )


class TimeIsUp(Exception):
    """The seconds of a measurement are over."""


class Clock:
    """Asked by the loop whether to stop: measures behind the warm-up, and ends the loop in time.

    Attributes:
        measured: the figures of the clock, once the time is up.
    """

    def __init__(self, state: RunState, training: Training, seconds: float) -> None:
        self.state, self.log, self.seconds = state, training.log, seconds
        self.step, self.measured = 0, Measured(0, 0, 0.0, 0.0)

    def __call__(self) -> bool:
        """Never: after the step with which the seconds are over it raises `TimeIsUp`."""
        state = self.state
        if state.step == self.step:
            return False  # asked while a step is under way
        self.step = state.step
        if state.step == WARMUP_STEPS:
            self.log.clock(state)
            self.before = dict(state.part_seconds)
            self.began, self.cpu_began = time.perf_counter(), time.process_time()
        elif state.step > WARMUP_STEPS:
            passed = time.perf_counter() - self.began
            if passed >= self.seconds:
                self.read(passed, time.process_time() - self.cpu_began)
                raise TimeIsUp
        return False

    def read(self, passed: float, used: float) -> None:
        """Take down what the seconds were."""
        state = self.state
        self.log.clock(state)
        steps = state.step - WARMUP_STEPS
        self.measured = Measured(
            tokens=steps * (state.tokens // state.step),
            steps=steps,
            seconds=passed,
            cpu_seconds=used,
            part_seconds={
                part: taken - self.before.get(part, 0.0)
                for part, taken in state.part_seconds.items()
            },
        )
