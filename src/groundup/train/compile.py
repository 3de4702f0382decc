"""The blocks through torch.compile, where the project file asks for it.

Each block is compiled by itself (the regional compilation of torch's documentation): all of them
are one piece of code, so it is compiled once, however deep the model. Names of weights, hooks of
FSDP and copies of the model stay as they are, and a copy is not compiled. What is computed beside
the steps (validation, samples, the guard's probe) has other shapes and modes and stays eager.

On a CPU nothing was gained (6 × 384, fp32, one thread, AVX2: 5.93 CPU-seconds a step beside 5.47
without, after 42 of compiling; docs/speed.md). On GPUs nothing was measured, so it is off unless
asked for. Sums are made in another order, so that losses agree but for rounding.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from groundup.errors import ConfigError
from groundup.train.config import Settings


def is_compiled(settings: Settings) -> bool:
    """Whether this process compiles the blocks."""
    if settings.asynchronous["kind"] == "parameter_server":
        return False  # the server runs no block in training, and its workers are as they come
    return settings.compile


def missing_compiler(device: str) -> str | None:
    """What torch.compile lacks on this machine; None: nothing."""
    if device == "cuda":
        return None if importlib.util.find_spec("triton") else "the package triton"
    compiler = os.environ.get("CXX", "g++")
    return None if shutil.which(compiler) else f"a C++ compiler ({compiler})"


def compile_blocks(model: nn.Module, backend: str = "inductor") -> None:
    """Compile every block of ``model``, in place, when it first runs.

    Raises:
        ConfigError: there is no compiler.
    """
    from groundup.model.transformer import Block, ParallelBlock

    device = next(model.parameters()).device.type
    lacks = missing_compiler(device)
    if backend == "inductor" and lacks:
        raise ConfigError(
            f"torch.compile needs {lacks}, and there is none here",
            where="pretrain.compile",
            fix="install one, or leave pretrain.compile out",
        )
    for module in model.modules():
        if isinstance(module, Block | ParallelBlock):
            module.compile(backend=backend)
    holder: Any = model
    holder.has_compiled_blocks = True


@contextmanager
def eagerly(model: nn.Module) -> Iterator[None]:
    """While something is computed that the blocks were not compiled for."""
    if not getattr(model, "has_compiled_blocks", False):
        yield
        return
    import torch

    with torch.compiler.set_stance("force_eager"):
        yield
