"""Training measured for its speed: the run's own functions, any file of tokens, some seconds.

Nothing is planned, saved or evaluated: a step is the batch of its number, its gradients and the
update, and its loss is read, as in `loop.train`. Two steps go before the clock starts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from groundup.architecture.config import ModelConfig
from groundup.errors import InputError
from groundup.tokens.dataset import TokenDataset
from groundup.train.batch import counts_of
from groundup.train.breakdown import NOBODY, Timer, stopwatch
from groundup.train.compile import compile_blocks
from groundup.train.config import PretrainConfig, Settings, settle
from groundup.train.objective import CAUSAL
from groundup.train.precision import choose_arithmetic, choose_attention, synchronize
from groundup.train.resources import pick_device, use
from groundup.train.start import new_state
from groundup.train.state import RunState
from groundup.train.step import apply_gradients, gradients

WARMUP_STEPS = 2
ENDLESS = 10**6  # steps: the schedule stays at its peak while we measure
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
    """

    tokens: int
    steps: int
    seconds: float
    cpu_seconds: float
    loss: float
    part_seconds: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


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
    return settle(config, choice, context_length=model.context_length, seed=0)


def measure_training(
    tokens: RawTokens, model: ModelConfig, settings: Settings, seconds: float
) -> Measured:
    """Train for ``seconds``, one step at least.

    Raises:
        ConfigError: an attention that this device cannot train with.
    """
    state = new_state(model, settings)
    if settings.compile:
        compile_blocks(state.model)
    for _ in range(WARMUP_STEPS):
        loss = one_step(state, settings, tokens)
    timer = stopwatch(settings.device)
    synchronize(settings.device)
    before, begin, cpu = state.tokens, time.perf_counter(), time.process_time()
    while (passed := time.perf_counter() - begin) < seconds or state.tokens == before:
        loss = one_step(state, settings, tokens, timer)
    synchronize(settings.device)
    passed, used = time.perf_counter() - begin, time.process_time() - cpu
    return Measured(
        tokens=state.tokens - before,
        steps=state.step - WARMUP_STEPS,
        seconds=passed,
        cpu_seconds=used,
        loss=loss,
        part_seconds=timer.taken(),
        settings=settings.to_dict(),
    )


def one_step(
    state: RunState, settings: Settings, tokens: RawTokens, timer: Timer = NOBODY
) -> float:
    """One step as the loop takes it; its loss, nats per token."""
    timer.at("data")
    batch = CAUSAL.batch_at(
        tokens, settings.seed, state.cursor, settings.batch_size, settings.context_length
    )
    counts = counts_of(batch).to(settings.device)
    batch = batch.to(settings.device)
    found = gradients(state, settings, batch, counts, CAUSAL.loss, timer=timer)
    loss, _ = found.numbers()
    timer.at("optimizer")
    apply_gradients(state, settings, found)
    timer.at("log")
    return loss
