"""A run's first state, and the fingerprint of what its bits depend on."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from groundup.architecture.config import ModelConfig
from groundup.model.init import init_weights
from groundup.model.transformer import Transformer
from groundup.train.config import Settings
from groundup.train.optimizers.groups import build_optimizers
from groundup.train.state import RunState, seed_everything


def new_state(config: ModelConfig, settings: Settings) -> RunState:
    """A freshly initialised model and its optimizers on the device of ``settings``."""
    seed_everything(settings.seed)
    model = new_model(config, settings.seed, settings.attention).to(settings.device)
    return RunState(model, build_optimizers(model, settings))


def new_model(config: ModelConfig, seed: int, attention: str = "sdpa") -> Transformer:
    """An untrained model; a function of the config and the seed alone."""
    model = Transformer(config, attention=attention)
    init_weights(model, torch.Generator().manual_seed(seed))
    return model


def numerics() -> dict[str, Any]:
    """The build and the processor features that decide how sums are rounded."""
    build = hashlib.sha256(torch.__config__.show().encode()).hexdigest()
    return {
        "torch": torch.__version__,
        "torch_build": build[:16],
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
