"""Pipeline parallelism, the run: micro-batches pass through stages on several processes.

The engine is torch's (`torch.distributed.pipelining`): it orders the forward and backward passes of
a process's stages and sends what passes between them. Every process knows the whole batch of its
share of rows, with masks, places and targets; all that passes is the residual stream [b, T, D],
float32, and its gradient. The last stage computes the step's own loss.

    micro-batches     with one the processes take turns (naive model parallelism); the more there
                      are, the smaller the share of time in which a process waits for others:
                      (pp - 1) / (n + pp - 1) with gpipe and 1f1b
    FSDP beside it    weights are put together once a step, before the first micro-batch, and
                      gradients reduced once, behind the last (as torch's own stages do it)

    B rows   b rows of a micro-batch   n micro-batches   T tokens   D width
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from groundup.errors import ConfigError
from groundup.model.transformer import Transformer
from groundup.tokens.samples import IGNORED
from groundup.train.batch import Batch, Counts
from groundup.train.config import Settings
from groundup.train.distributed import Ranks
from groundup.train.objectives import Loss
from groundup.train.parallel.layout import MANY_STAGES, LayoutConfig
from groundup.train.parallel.stages import Stages, view_of
from groundup.train.precision import autocast


@dataclass
class Pipeline:
    """What a model cut into stages needs beside itself.

    Attributes:
        stages: where each layer is.
        root: FSDP's root over this process's part of the model.
    """

    stages: Stages
    ranks: Ranks
    root: Any
    _engine: tuple[Any, Engine] | None = field(default=None, repr=False)

    def engine(self, shape: tuple[int, ...], device: torch.device) -> Engine:
        """The engine for ``(n, b, T, D)``; one is kept, with its buffers."""
        if self._engine is None or self._engine[0] != shape:
            self._engine = None  # let go of the old buffers first
            self._engine = shape, build_engine(self.stages, self.ranks, shape, device)
        return self._engine[1]


@dataclass(frozen=True)
class Engine:
    """torch's schedule, and what it calls for each of this process's stages."""

    schedule: Any
    calls: dict[int, StageCall]


class StageCall(nn.Module):
    """What torch's engine calls: a stage, for the micro-batch of a number."""

    view: Transformer
    work: Callable[..., Tensor]

    def forward(self, *received: Tensor, number: Tensor) -> Tensor:
        """[b, T, D] (nothing on the first stage) to [b, T, D]; on the last stage to the loss."""
        return self.work(int(number), *received)


def require_micro_batches(settings: Settings, layout: LayoutConfig, n_shares: int) -> None:
    """Check that the schedule can order every step's micro-batches.

    Raises:
        ConfigError: it cannot; the nearest number that works is named. Or it cannot go with what
            is computed again, compiled or in 8 bits.
    """
    if settings.recompute == "selective" and layout.schedule == "zero_bubble":
        raise ConfigError(
            "zero_bubble goes through a block's backward pass twice, and what selective keeps is "
            "for one",
            where="pretrain.recompute",
            fix="set it to full or none, or pretrain.layout.schedule to another",
        )
    if settings.compile and layout.schedule == "zero_bubble":
        raise ConfigError(
            "zero_bubble takes a block's backward pass apart, and a compiled one is in one piece",
            where="pretrain.compile",
            fix="set it to false, or pretrain.layout.schedule to another",
        )
    if settings.precision == "fp8" and layout.schedule == "zero_bubble":
        raise ConfigError(
            "zero_bubble takes a layer's backward pass apart, and one in 8 bits is in one piece",
            where="pretrain.precision",
            fix="set it to bf16, or pretrain.layout.schedule to another",
        )
    ramp = settings.batch_size_ramp
    changes = [change for change in settings.changes if change.get("batch_size")]
    sizes = {settings.batch_size, *(change["batch_size"] for change in changes)}
    if ramp is not None:
        sizes |= set(range(ramp["start"], settings.batch_size, ramp["start"]))
    for n_rows in sorted(sizes):
        n = count(n_rows, n_shares, settings.micro_batch_size)
        if can_order(layout, n):
            continue
        fitting = {
            size: count(n_rows, n_shares, size)
            for size in range(1, n_rows + 1)
            if n_rows % size == 0 and can_order(layout, count(n_rows, n_shares, size))
        }
        nearest = min(fitting, key=lambda size: abs(fitting[size] - n), default=None)
        fix = "set pretrain.layout.schedule to gpipe, which takes any number"
        if nearest is not None:
            fix += (
                f", or pretrain.micro_batch_size to {nearest}, which gives {fitting[nearest]}, the "
                "nearest that works"
            )
        raise ConfigError(
            f"schedule {layout.schedule} over {layout.pp} processes cannot order {n} micro-"
            f"batch{'es' if n > 1 else ''} ({n_rows} rows a step)",
            where="pretrain.micro_batch_size",
            fix=fix if layout.vpp == 1 else fix.replace("gpipe", "gpipe and vpp to 1"),
        )


def count(n_rows: int, n_shares: int, micro_batch_size: int) -> int:
    """Micro-batches of one share of a batch."""
    share = -(-n_rows // n_shares)
    return -(-share // micro_batch_size)


def can_order(layout: LayoutConfig | Stages, n: int) -> bool:
    """Whether torch's schedule takes ``n`` micro-batches."""
    if layout.schedule == "1f1b":
        return n >= layout.pp
    if layout.schedule == "gpipe" or (layout.schedule == "zero_bubble" and layout.vpp == 2):
        return True
    return n % max(1, n // layout.pp) == 0  # rounds of equally many


def pipelined(
    model: Any,
    pipeline: Pipeline,
    settings: Settings,
    batch: Batch,
    counts: Counts,
    loss_of: Loss,
) -> Tensor:
    """Forward and backward over the micro-batches of this share's rows, through all stages.

    Every process calls it with the same rows. The gradients are in the parameters afterwards.

    Returns:
        scalar float32: the loss of these rows where the last stage is, else 0.
    """
    micro_batches = even(batch, settings.micro_batch_size)
    device = batch.inputs.device
    shape = (len(micro_batches), *micro_batches[0].inputs.shape, model.config.d_model)
    engine, last = pipeline.engine(shape, device), len(pipeline.stages) - 1

    for stage, call in engine.calls.items():
        call.view = view_of(model, pipeline.stages, stage)
        call.work = partial(
            run_stage, call.view, micro_batches, counts, loss_of if stage == last else None,
            settings,
        )  # fmt: skip
    losses: list[Tensor] = []
    numbers = torch.arange(len(micro_batches))
    with put_together(pipeline.root), causes():
        engine.schedule.step(number=numbers, target=numbers, losses=losses, return_outputs=False)
    total = torch.zeros((), device=device)
    for loss in losses:
        total += loss.detach()
    return total


def run_stage(
    view: Transformer,
    micro_batches: Sequence[Batch],
    counts: Counts,
    loss_of: Loss | None,
    settings: Settings,
    number: int,
    *received: Tensor,
) -> Tensor:
    """One stage of one micro-batch: the stream behind it, or the loss where it is the last."""
    batch = micro_batches[number]
    if received:
        given: Any = view
        given.embedded = lambda *_: received[0]
    with autocast(settings.device, settings.precision):
        if loss_of is not None:
            return loss_of(view, batch, counts)
        stream = view.hidden(batch.inputs, batch.decoder_inputs, **batch.about)
    return stream.float().contiguous()


def even(batch: Batch, size: int) -> list[Batch]:
    """Micro-batches of ``size`` rows, the last one filled up by rows without targets.

    Raises:
        ConfigError: it would have to be, and the objective learns from more than the targets.
    """
    size = min(size, len(batch.inputs))
    parts = list(batch.split(size))
    n_rows = len(parts[-1].inputs)
    if n_rows == size:
        return parts
    if batch.sentence_labels is not None:
        raise ConfigError(
            f"the {len(batch.inputs)} rows of a process are not cut evenly into micro-batches of "
            f"{size}, and pairs of sentences learn from every row",
            where="pretrain.micro_batch_size",
            fix="set it to a divisor of these rows",
        )
    filled = parts[-1].rows(torch.arange(size).clamp(max=n_rows - 1).to(batch.inputs.device))
    targets = filled.targets.clone()
    targets[n_rows:] = IGNORED
    return [*parts[:-1], replace(filled, targets=targets)]


def build_engine(
    stages: Stages, ranks: Ranks, shape: tuple[int, ...], device: torch.device
) -> Engine:
    """Torch's schedule over this process's stages."""
    from torch.distributed.pipelining import PipelineStage

    n, *stream_shape = shape
    stream = torch.empty(stream_shape, device="meta", requires_grad=True)
    loss = torch.empty((), device="meta", requires_grad=True)
    last = len(stages) - 1
    calls = {stage: StageCall() for stage in stages.of_process(ranks.at("pp"))}
    parts = [
        PipelineStage(
            call,
            stage,
            len(stages),
            device,
            input_args=(stream,) if stage else (),
            output_args=(stream,) if stage < last else (loss,),
            group=ranks.group("pp"),
        )
        for stage, call in calls.items()
    ]
    kind = schedule_class(stages, n)
    several = stages.schedule in MANY_STAGES
    schedule = kind(parts if several else parts[0], n, loss_fn=its_loss, scale_grads=False)
    return Engine(schedule, calls)


def its_loss(loss: Tensor, number: Tensor) -> Tensor:
    """The last stage has computed it."""
    return loss


def schedule_class(stages: Stages, n: int) -> Any:
    """Torch's class for ``n`` micro-batches.

    One that takes any number where the wanted one cannot order them: a step's own were checked
    (`require_micro_batches`), what is left is the guard's probe, of one micro-batch.
    """
    from torch.distributed import pipelining

    if stages.is_v:
        return pipelining.ScheduleZBVZeroBubble
    name: str = stages.schedule
    if not can_order(stages, n):
        # Breadth first (arXiv:2211.05953): GPipe's order over several stages a process.
        name = "breadth_first" if name in MANY_STAGES else "gpipe"
    return {
        "breadth_first": pipelining.ScheduleLoopedBFS,
        "gpipe": pipelining.ScheduleGPipe,
        "1f1b": pipelining.Schedule1F1B,
        "interleaved": pipelining.ScheduleInterleaved1F1B,
        "zero_bubble": pipelining.ScheduleInterleavedZeroBubble,
    }[name]


@contextmanager
def put_together(root: Any) -> Iterator[None]:
    """FSDP's weights put together while the block runs; behind it gradients are reduced, once."""
    sharded = [module for module in root.modules() if hasattr(module, "unshard")]
    if not sharded:
        yield
        return
    state = root._get_fsdp_state()
    state._lazy_init()  # otherwise the first block to run takes itself for the root
    root.set_reshard_after_forward(False)
    set_synchronising(root, False)
    for module in sharded:
        module.unshard()
    yield
    set_synchronising(root, True)
    # Schedules run parts of backward passes, in which FSDP's hooks do not come (torch's own
    # PipelineStage.perform_reduce_grad calls the same).
    for part in state._state_ctx.all_states:
        for group in part._fsdp_param_groups:
            group.post_backward()
    state._root_post_backward_final_callback()


def set_synchronising(root: Any, on: bool) -> None:
    """Whether a backward pass reduces gradients and lets go of the weights."""
    root.set_is_last_backward(on)
    root.set_requires_gradient_sync(on)
    root.set_reshard_after_backward(on)


@contextmanager
def causes() -> Iterator[None]:
    """What failed inside a stage, without torch's words around it."""
    try:
        yield
    except RuntimeError as error:
        if error.__cause__ is None:
            raise
        raise error.__cause__ from None
