"""``groundup bench train``: its last line, the training behind it, and bad input."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from groundup.architecture.families import build
from groundup.hardware import available_cores
from groundup.model.init import init_weights
from groundup.model.transformer import Transformer
from groundup.tokens.order import batch_at
from groundup.train.config import PretrainConfig
from groundup.train.throughput import RawTokens, bench_settings, measure_training
from tests.cli.command import groundup

SIZE = {"layers": 2, "dim": 32, "heads": 2, "ctx": 16, "vocab": 64, "batch": 4}


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.bin"
    (np.arange(5000) % 64).astype("<u2").tofile(path)
    return path


def arguments(tokens: Path, **changed: object) -> list[object]:
    given = {**SIZE, "threads": 1, "seconds": 0.05, "tokens": tokens, **changed}
    return [part for name, value in given.items() for part in (f"--{name}", value)]


def test_the_last_line_is_the_measurement(tokens: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = groundup(capsys, "bench", "train", *arguments(tokens, seconds=0.2))
    assert result.code == 0, result.err
    found = json.loads(result.out.splitlines()[-1])
    assert list(found) == ["tokens", "seconds", "cpu", "loss"]
    assert found["tokens"] % (4 * 16) == 0
    assert found["seconds"] >= 0.2
    assert found["cpu"] > 0
    assert 0 < found["loss"] < 6  # near log(64) = 4.2, and less
    assert "Where the time went" in result.out
    assert "backward passes" in result.out

    alone = groundup(capsys, "bench", "train", *arguments(tokens), "--json")
    assert list(json.loads(alone.out)) == list(found)


def test_the_steps_are_those_of_adamw_with_clipping(tokens: Path) -> None:
    model = build("gpt2", vocab_size=64, n_layers=2, d_model=32, n_heads=2, context_length=16)
    config = PretrainConfig.model_validate(
        {"batch_size": 4, "precision": "fp32", "optimizer": "adamw", "attention": "sdpa",
         "compile": False, "schedule": "constant", "warmup_steps": 0}
    )  # fmt: skip
    read = RawTokens(tokens, 64, 16)
    settings = bench_settings(config, model, 1)
    found = measure_training(read, model, settings, 1e-9)
    assert (found.steps, found.tokens) == (1, 4 * 16)

    ours = Transformer(model)
    init_weights(ours, torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(
        ours.parameters(), settings.learning_rate, (0.8, 0.95), weight_decay=0.0
    )
    for step in range(3):  # two of them to warm up
        inputs, targets = map(torch.from_numpy, batch_at(read, 0, 4 * step, 4, 16))
        loss = torch.nn.functional.cross_entropy(ours(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(ours.parameters(), 1.0)
        optimizer.step()
    assert found.loss == pytest.approx(loss.item(), abs=1e-5)


def test_a_signal_ends_it_at_once(tokens: Path) -> None:
    given = [str(part) for part in arguments(tokens, seconds=600)]
    begun = subprocess.Popen(
        [sys.executable, "-m", "groundup", "bench", "train", *given],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert begun.stderr is not None
    first = begun.stderr.readline()  # the first line of progress comes while it trains
    begun.send_signal(signal.SIGINT)
    out, err = begun.communicate(timeout=120)
    assert first.startswith("bench train:")
    assert (begun.returncode, out) == (130, "")
    assert "saving" not in err  # there is nothing to save
    assert err.splitlines()[-1] == "interrupted"


def test_errors_are_in_the_words_of_the_command(
    tokens: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = groundup(capsys, "bench", "train", *arguments(tokens, heads=3))
    assert "where: --heads" in result.err
    assert "model." not in result.err


def test_a_guard_that_would_go_back_only_warns(tokens: Path) -> None:
    model = build("gpt2", vocab_size=64, n_layers=1, d_model=32, n_heads=2, context_length=16)
    settings = bench_settings(PretrainConfig(batch_size=4), model, 1)
    assert PretrainConfig().guard.policy == "rewind"
    assert settings.guard["policy"] == "warn"


@pytest.mark.parametrize(
    "more",
    [
        {"recompute": "full", "micro-batch": 2},
        {"optimizer-dtype": "bf16"},
        {"optimizer": "muon", "recompute": "selective"},
        {"dtype": "fp8", "dim": 64},
    ],
    ids=str,
)
def test_what_saves_memory_trains(
    more: dict[str, object], tokens: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments(tokens, seconds=1e-3, **more)
    result = groundup(capsys, "bench", "train", *given)
    assert result.code == 0, result.err
    assert "peak memory" in result.out
    assert 3.5 < json.loads(result.out.splitlines()[-1])["loss"] < 5  # near log(64) = 4.2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read this file"),
        (b"", "0 tokens are fewer than one window of 16"),
        (b"\0" * 32, "16 tokens are fewer than one window"),
        (b"\0" * 101, "101 bytes are no whole number of uint16 tokens"),
        (np.full(100, 64, "<u2").tobytes(), "token 64 is not below the vocabulary size 64"),
    ],
)
def test_files_that_cannot_be_learnt(
    content: bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.bin"
    if content is not None:
        path.write_bytes(content)
    result = groundup(capsys, "bench", "train", *arguments(path))
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert str(path) in result.err


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"heads": 3}, "cannot be divided into 3 heads"),
        ({"family": "llama", "heads": 32}, "the head size is 1, but must be even"),
        ({"family": "gpt3000"}, "gpt3000"),
        ({"family": "bert"}, "bert is one encoder"),
        ({"vocab": 70_000}, "more than uint16 tokens can name"),
        ({"micro-batch": 3}, "--micro-batch 3 does not divide --batch 4"),
        ({"compile": "cuda_graphs"}, "cuda_graphs is for a GPU, and device is cpu"),
        ({"compile": "maybe"}, "maybe"),
        ({"optimizer": "adafactor"}, "adafactor"),
        ({"attention": "flex"}, "attention flex cannot train on a CPU"),
        ({"seconds": 0}, "--seconds"),
        ({"seconds": "nan"}, "--seconds nan has no end"),
        ({"threads": 4096}, "--threads"),
        ({"dtype": "fp16"}, "fp16"),
    ],
)
def test_sizes_that_cannot_be(
    changed: dict[str, object], message: str, tokens: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = groundup(capsys, "bench", "train", *arguments(tokens, device="cpu", **changed))
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err


def test_more_threads_than_cores_measure_nothing(
    tokens: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cores = available_cores()
    result = groundup(capsys, "bench", "train", *arguments(tokens, threads=cores + 1))
    assert (result.code, result.out) == (2, "")
    assert f"--threads {cores + 1} is more than this process has cores: {cores}" in result.err
