"""The blocks through torch.compile, where the run is long enough to repay the compiler.

Each block is compiled by itself (the regional compilation of torch's documentation): all of them
are one piece of code, so it is compiled once, however deep the model. Names of weights, hooks of
FSDP and copies of the model stay as they are, and a copy is not compiled. What is computed beside
the steps (validation, samples, the guard's probe) has other shapes and modes and stays eager.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from groundup.errors import ConfigError
from groundup.train.config import Settings


@dataclass(frozen=True)
class Repayment:
    """What the compiler costs and gains; measured, see docs/speed.md.

    Attributes:
        seconds: until the first compiled step is done.
        share: of a step's seconds that is saved.
    """

    seconds: float
    share: float


# By device and precision; where nothing was measured auto does not compile.
# cpu, fp32: 6 × 384, one thread, AVX2: 5.93 CPU-seconds a step beside 5.47 without.
MEASURED: Mapping[tuple[str, str], Repayment] = {("cpu", "fp32"): Repayment(42.0, -0.08)}
MARGIN = 3  # auto compiles where it is to gain so many times what it costs


def is_compiled(settings: Settings, predicted: Mapping[str, Any]) -> bool:
    """What ``compile`` means for this run: a function of the plan, so a resumed run has it again.

    Args:
        predicted: by the plan, with ``duration_seconds``.
    """
    if settings.compile != "auto":
        return bool(settings.compile)
    measured = MEASURED.get((settings.device, settings.precision))
    if measured is None or missing_compiler(settings.device):
        return False
    return repays(float(predicted["duration_seconds"]), measured)


def repays(planned_seconds: float, measured: Repayment) -> bool:
    """Whether a run of ``planned_seconds`` gains `MARGIN` times what compiling costs it."""
    return planned_seconds * measured.share > MARGIN * measured.seconds


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
            fix="install one, or leave pretrain.compile at auto",
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
