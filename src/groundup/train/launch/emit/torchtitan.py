"""torchtitan's configuration: a Python function that returns a ``Trainer.Config``.

torchtitan has left TOML files and command-line flags: a run is such a function, named by
``--module`` and ``--config`` (``torchtitan/config/README.md``). Names as of pytorch/torchtitan's
main branch in November 2026: ``torchtitan_recipes/models/llama3.py`` and the dataclasses it uses.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from groundup.architecture.config import ModelConfig
from groundup.train.config import DEFAULT_LEARNING_RATE, Settings
from groundup.train.launch.emit.job import (
    EmitJob,
    Emitted,
    LeftOut,
    decay_steps_of,
    left_out_of,
)

ADAM_EPS = 1e-8
RELEASE = "0.3.0"  # the newest on the package index, which cannot read this
# (d_model, n_layers, n_heads, n_kv_heads, d_ff, vocab_size) → flavour of torchtitan's Llama 3.
FLAVORS: dict[tuple[int, ...], str] = {
    (2048, 16, 32, 8, 8192, 128256): "1B",
    (3072, 28, 24, 8, 8192, 128256): "3B",
    (4096, 32, 32, 8, 14336, 128256): "8B",
    (8192, 80, 64, 8, 28672, 128256): "70B",
    (16384, 126, 128, 8, 53248, 128256): "405B",
}
SCHEDULES = {  # of a pipeline, by torch's names
    "gpipe": "GPipe", "1f1b": "1F1B", "interleaved": "Interleaved1F1B",
    "zero_bubble": "InterleavedZeroBubble",
}  # fmt: skip
DECAYS = {"wsd": "linear", "linear": "linear", "cosine": "cosine", "constant": "linear"}
CARRIED = {
    "steps", "batch_size", "micro_batch_size", "context_length", "weight_decay", "precision",
    "seed", "checkpoint_every", "keep_last", "recompute",
}  # fmt: skip
REASONS = {
    "optimizer": "DistMuon wants a placement for every matrix; AdamW stands in",
    "learning_rate": "of another optimizer",
    "schedule": "torchtitan has warm-up, stable, decay only",
    "device": "a GPU",
    "attention": "of the model's flavour",
    "n_threads": "of the CPU",
    "precision": "bf16 stands in; 8-bit layers are a converter of the model's configuration",
}
OTHERWISE = "torchtitan has no such field"
REMAT = "from torchtitan.distributed.activation_checkpoint import {}\n"
REMAT_FIELD = "\n        activation_checkpoint={}(),"


class Remat(NamedTuple):
    """A policy of recomputation, as source text."""

    imported: str = ""
    text: str = ""


RECOMPUTE = {
    "none": Remat(),
    **{
        ours: Remat(REMAT.format(theirs), REMAT_FIELD.format(theirs))
        for ours, theirs in (
            ("selective", "SelectiveActivationRematConfig"), ("full", "FullActivationRematConfig"),
        )
    },
}  # fmt: skip
NO_DECAY = r"norm|bias|tok_embeddings|lm_head"  # what ours does not decay

FILE = '''\
"""{name} as torchtitan trains it; written by `groundup launch --emit torchtitan`.

    {torchrun} -m torchtitan.train --module {module} --config {function}

For torchtitan's main branch of November 2026; its release {release} has other modules and fields.
"""

# What does not carry over:
{left_out}

from torchtitan.components.checkpointer import CheckpointManager
from torchtitan.components.data import ConcatThenSplitPackingConfig, GrainDataLoader
from torchtitan.components.loss import ChunkedLossWrapper, CrossEntropyLoss
from torchtitan.components.optim import AdamW, LRSchedulersContainer, Optim, OptimizersContainer
from torchtitan.config import TrainingConfig
from torchtitan.config.debug import DebugConfig
from torchtitan.config.parallelism import ParallelismConfig
{import_recompute}from torchtitan.hf_datasets.text_datasets import DATASETS
from torchtitan.models.common.config_utils import decoder_vocab_size
from torchtitan.models.llama3 import build_model_config
from torchtitan.trainer import Trainer


def {function}() -> Trainer.Config:
    model = build_model_config({flavor}, seq_len={seq_len})
    return Trainer.Config(
        model=model,
        loss=ChunkedLossWrapper.Config(
            loss_fn=CrossEntropyLoss.Config(global_vocab_size=decoder_vocab_size(model)),
        ),
        optim=Optim.Config(
            optimizer=OptimizersContainer.Config(
                optimizers=[
{optimizers}
                ],
            ),
            lr_scheduler=LRSchedulersContainer.Config(
{lr_scheduler}
            ),
            max_norm={max_norm},
        ),
        training=TrainingConfig(
{training}
        ),
        parallelism=ParallelismConfig(
{parallelism}
        ),
        dataloader=GrainDataLoader.Config(
            dataset=ConcatThenSplitPackingConfig(dataset=DATASETS["c4"]),  # put your own here
        ),
        checkpointer=CheckpointManager.Config(
{checkpointer}
        ),
        debug=DebugConfig(seed={seed}),{recompute}
    )
'''


def emit(job: EmitJob) -> Emitted:
    """``torchtitan_NAME.py``.

    Raises:
        ConfigError: the batch does not divide over the processes.
    """
    job.require_even()
    settings, carried = job.settings, set(CARRIED)
    name = re.sub(r"\W+|^(?=\d)", "_", job.name, flags=re.ASCII)
    flavor = FLAVORS.get(shape_of(job.model)) if is_llama(job.model) else None
    optimizers, scheduler = list(adamw(settings, carried)), lr_scheduler(settings, carried)
    if settings.clip == "global":
        carried |= {"clip", "grad_clip"}
    if settings.precision == "fp8":
        carried.discard("precision")
    left_out = (
        *model_left_out(job.model, flavor, name),
        *layout_left_out(job),
        LeftOut("data", "tokens", "torchtitan reads text by Grain; name your dataset in the file"),
        *left_out_of(job, carried, REASONS, OTHERWISE),
    )
    module = f"torchtitan_{name}"
    text = FILE.format(
        name=job.name,
        release=RELEASE,
        torchrun=job.torchrun(),
        module=module,
        function=name,
        left_out="\n".join(f"#   {one}" for one in left_out),
        flavor=json.dumps(flavor or f"groundup_{name}"),
        seq_len=settings.context_length,
        optimizers="\n".join(
            f"                    AdamW.Config({call(one)})," for one in optimizers
        ),
        lr_scheduler=fields(scheduler, 16),
        max_norm=written(settings.grad_clip if settings.clip == "global" else math.inf),
        training=fields(training(job), 12),
        parallelism=fields(parallelism(job), 12),
        checkpointer=fields(
            {
                "interval": settings.checkpoint_every,
                "keep_latest_k": max(2, settings.keep_last),  # torchtitan refuses 1
                "last_save_model_only": False,
            },
            12,
        ),
        seed=settings.seed,
        recompute=RECOMPUTE[settings.recompute].text,
        import_recompute=RECOMPUTE[settings.recompute].imported,
    )
    return Emitted(
        files={f"{module}.py": text},
        left_out=left_out,
        command=f"{job.torchrun()} -m torchtitan.train --module {module} --config {name}",
    )


def training(job: EmitJob) -> dict[str, Any]:
    """Fields of ``TrainingConfig``; a batch is counted in tokens there."""
    settings = job.settings
    return {
        "num_tokens_per_microbatch_per_dp_rank": job.micro_batch_size * settings.context_length,
        "num_tokens_per_train_step": settings.batch_size * settings.context_length,
        "max_context_length": settings.context_length,
        "steps": settings.steps,
        "dtype": "float32",
        "mixed_precision_param": "float32" if settings.precision == "fp32" else "bfloat16",
    }


def parallelism(job: EmitJob) -> dict[str, Any]:
    """Fields of ``ParallelismConfig``."""
    sizes, layout = job.sizes, job.layout
    found: dict[str, Any] = {
        "data_parallel_replicate_degree": sizes["dp_replicate"],
        "data_parallel_shard_degree": sizes["dp_shard"],
        "fsdp_reshard_after_forward": "always" if layout.zero == 3 else "never",
        "tensor_parallel_degree": sizes["tp"],
        "enable_sequence_parallel": layout.sp,
        "context_parallel_degree": sizes["cp"],
        "pipeline_parallel_degree": sizes["pp"],
    }
    if sizes["pp"] > 1:
        found |= {
            "pipeline_parallel_schedule": SCHEDULES[layout.schedule],
            "num_pp_microbatches": job.accumulation,
            "pipeline_parallel_layers_per_stage": math.ceil(
                job.model.n_layers / (sizes["pp"] * layout.vpp)
            ),
            "pipeline_parallel_first_stage_less_layers": 0,
            "pipeline_parallel_last_stage_less_layers": 0,
        }
    return found


def adamw(settings: Settings, carried: set[str]) -> Iterator[dict[str, Any]]:
    """Fields of each ``AdamW.Config``: the first pattern that a name fits counts."""
    rate = settings.learning_rate
    if settings.optimizer == "adamw":
        carried |= {"optimizer", "learning_rate", "beta1", "beta2"}
    else:
        carried |= {"beta1", "beta2"}
        rate = DEFAULT_LEARNING_RATE["adamw"]
    common = {"lr": rate, "betas": (settings.beta1, settings.beta2), "eps": ADAM_EPS}
    if settings.weight_decay:
        yield {"pattern": NO_DECAY, **common, "weight_decay": 0.0}
    yield {"pattern": ".*", **common, "weight_decay": settings.weight_decay}


def lr_scheduler(settings: Settings, carried: set[str]) -> dict[str, Any]:
    """Fields of ``LRSchedulersContainer.Config``."""
    found: dict[str, Any] = {"warmup_steps": settings.warmup_steps}
    carried.add("warmup_steps")
    if settings.schedule not in DECAYS:
        return {**found, "decay_ratio": 0.0}
    carried |= {"schedule", "decay_fraction", "decay_steps", "min_lr_ratio"}
    found |= {
        "decay_type": DECAYS[settings.schedule],
        "min_lr_factor": settings.min_lr_ratio,
        "total_steps": settings.steps,
    }
    match settings.schedule:
        case "constant":
            found["decay_ratio"] = 0.0
        case "wsd":
            found["decay_ratio"] = decay_steps_of(settings) / settings.steps
        case _:  # all that follows the warm-up
            found["total_steps"] = settings.warmup_steps + decay_steps_of(settings)
    return found


def is_llama(model: ModelConfig) -> bool:
    """Whether the network is of the kind that torchtitan calls Llama 3."""
    return (
        model.stack == "decoder"
        and model.positions.kind == "rotary"
        and (model.norm.kind, model.norm.placement) == ("rms", "pre")
        and model.feed_forward.activation == "swiglu"
        and not model.attention.qk_norm
        and not model.parallel_residual
    )


def shape_of(model: ModelConfig) -> tuple[int, ...]:
    """As `FLAVORS` has it."""
    attention = model.attention
    return (
        model.d_model, model.n_layers, attention.n_heads, attention.n_kv_heads,
        model.feed_forward.d_ff, model.vocab_size,
    )  # fmt: skip


def model_left_out(model: ModelConfig, flavor: str | None, name: str) -> Iterator[LeftOut]:
    """A network that torchtitan does not ship: its function then fails, until it is written."""
    if flavor is None:
        sizes = dict(zip(("dim", "n_layers", "n_heads", "n_kv_heads", "hidden_dim", "vocab_size"),
                         shape_of(model), strict=True))  # fmt: skip
        words = ", ".join(f"{key} {size}" for key, size in sizes.items())
        kind = "of this size" if is_llama(model) else f"like {model.family}"
        why = f"no flavour {kind} is shipped: register it as groundup_{name} in llama3_configs"
        yield LeftOut("model", words, why)


def layout_left_out(job: EmitJob) -> Iterator[LeftOut]:
    """Stages of ZeRO that torchtitan's FSDP does not have; passes without recomputation."""
    if job.settings.recompute == "none":
        yield LeftOut("pretrain.recompute", "none", "torchtitan's default saves regions by a list")
    if job.zero in (1, 2):
        why = "FSDP shards the weights too; they stay whole from forward to backward"
        yield LeftOut("pretrain.layout.zero", job.zero, why)


def fields(values: dict[str, Any], indent: int) -> str:
    """Keyword arguments, one a line."""
    return "\n".join(f"{' ' * indent}{name}={written(value)}," for name, value in values.items())


def call(values: dict[str, Any]) -> str:
    """Keyword arguments on one line."""
    return ", ".join(f"{name}={written(value)}" for name, value in values.items())


def written(value: Any) -> str:
    """A value as Python source."""
    if isinstance(value, str):
        return json.dumps(value)
    return 'float("inf")' if value == math.inf else repr(value)
