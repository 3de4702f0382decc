"""A project folder as a run leaves it, with a model of a few thousand parameters."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from groundup.architecture.families import build
from groundup.artifacts import Store, seal
from groundup.files import write_json
from groundup.model.convert import export_model
from groundup.model.transformer import Transformer
from groundup.tokenizer.config import TokenizerConfig
from groundup.tokenizer.train import train_tokenizer
from groundup.train.checkpoint import save_checkpoint
from groundup.train.retention import Retention
from groundup.train.start import new_state
from tests.train.small import SETTINGS

TEXTS = [
    "def parse(text):\n    return text.split()\n",
    "# éàü ≠ 漢字\nclass Parser:\n    pass\n",
] * 9
CONFIG = build("nanochat", vocab_size=280, n_layers=1, d_model=32, context_length=32)


def add_tokenizer(folder: Path, texts: list[str] = TEXTS) -> tuple[Path, str]:
    """A finished tokenizer artifact and the hash of its tokenizer.json."""
    made: dict[str, Any] = {}

    def make(inside: Path) -> dict[str, Any]:
        made.update(train_tokenizer(texts, TokenizerConfig(vocab_size=280), inside))
        return {}

    inputs = {"texts": str(len(texts))}
    store = Store(folder / "artifacts")
    artifact, _ = store.build("tokenizer", "t", version=1, config={}, inputs=inputs, make=make)
    return artifact.path, str(made["hash"])


def add_run(folder: Path, tokenizer_hash: str, steps: tuple[int, ...] = (4, 8)) -> Path:
    """A run with checkpoints; the weights of each differ."""
    run = folder / "runs" / "first"
    for step in steps:
        settings = dataclasses.replace(SETTINGS, seed=step, context_length=32)
        state = new_state(CONFIG, settings)
        state.step = step
        fingerprint = {"model": CONFIG.to_dict(), "tokenizer_hash": tokenizer_hash}
        save_checkpoint(run / "checkpoints", state, fingerprint, keep=Retention(5))
    write_json(run / "run.json", seal({"status": "running"}))
    return run


def add_export(folder: Path, tokenizer: Path, seed: int = 1) -> tuple[Path, Transformer]:
    """A finished export and the model in it."""
    model = new_state(CONFIG, dataclasses.replace(SETTINGS, seed=seed)).model.eval()

    def make(inside: Path) -> dict[str, Any]:
        export_model(model, inside, tokenizer)
        return {}

    store = Store(folder / "artifacts")
    inputs = {"seed": str(seed)}
    artifact, _ = store.build("export", "e", version=1, config={}, inputs=inputs, make=make)
    return artifact.path, model
