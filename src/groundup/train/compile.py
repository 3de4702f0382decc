"""The blocks through torch.compile, where the project file asks for it.

Each block is compiled by itself (the regional compilation of torch's documentation): all of them
are one piece of code, so it is compiled once, however deep the model. Names of weights, hooks of
FSDP and copies of the model stay as they are, and a copy is not compiled. What is computed beside
the steps (validation, samples, the guard's probe) has other shapes and modes and stays eager.

With `cuda_graphs` a block's kernels are recorded and launched as one (torch's "reduce-overhead"):
for small models, whose kernels end before the processor has launched the next. What a graph gives,
gradients too, lies in memory that its next launch writes to, so torch must hear when a step's
gradients are done with: `begin_step`.

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

import torch
from torch import nn

from groundup.errors import ConfigError
from groundup.train.config import CUDA_GRAPHS, Settings


def is_compiled(settings: Settings) -> bool:
    """Whether this process compiles the blocks."""
    if settings.asynchronous["kind"] == "parameter_server":
        return False  # the server runs no block in training, and its workers are as they come
    return bool(settings.compile)


def compile_as_set(model: nn.Module, settings: Settings) -> None:
    """`compile_blocks`, if and as ``settings`` ask for it."""
    if is_compiled(settings):
        compile_blocks(model, cuda_graphs=settings.compile == CUDA_GRAPHS)


def require_graphs_possible(settings: Settings, n_ranks: int) -> None:
    """Check that CUDA graphs, where they are asked for, can be recorded.

    Graphs know weights by their address, and cannot wait for other processes or memories.

    Raises:
        ConfigError: they cannot.
    """
    if settings.compile != CUDA_GRAPHS:
        return
    if settings.device != "cuda":
        why, fix = "CUDA graphs are a GPU's, and this training is on a CPU", "set it to false"
    elif n_ranks > 1:
        why = "CUDA graphs hold weights by their address, and FSDP puts them together elsewhere"
        fix = "set it to true, or train in one process"
    elif settings.offload_optimizer:
        why = "CUDA graphs hold weights by their address, and offloaded ones come and go"
        fix = "set it to true, or offload_optimizer to false"
    else:
        return
    raise ConfigError(why, where="pretrain.compile", fix=fix)


def missing_compiler(device: str) -> str | None:
    """What torch.compile lacks on this machine; None: nothing."""
    if device == "cuda":
        return None if importlib.util.find_spec("triton") else "the package triton"
    compiler = os.environ.get("CXX", "g++")
    return None if shutil.which(compiler) else f"a C++ compiler ({compiler})"


def compile_blocks(
    model: nn.Module, backend: str = "inductor", *, cuda_graphs: bool = False
) -> None:
    """Compile every block of ``model``, in place, when it first runs.

    Args:
        cuda_graphs: as `require_graphs_possible` allows.

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
    how = {"mode": "reduce-overhead"} if cuda_graphs else {}
    for module in model.modules():
        if isinstance(module, Block | ParallelBlock):
            module.compile(backend=backend, **how)
    holder: Any = model
    holder.has_compiled_blocks, holder.has_cuda_graphs = True, cuda_graphs
    begin_step(model)


def begin_step(model: nn.Module) -> None:
    """Tell torch that no gradient of an earlier step is needed any more.

    Not at every micro-batch: their gradients are summed.
    """
    if getattr(model, "has_cuda_graphs", False):
        torch.compiler.cudagraph_mark_step_begin()


@contextmanager
def eagerly(model: nn.Module) -> Iterator[None]:
    """While something is computed that the blocks were not compiled for."""
    if not getattr(model, "has_compiled_blocks", False):
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
