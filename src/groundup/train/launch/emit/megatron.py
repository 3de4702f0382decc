"""Megatron-LM's arguments for ``pretrain_gpt.py``: a file of one argument a line.

Names as of NVIDIA/Megatron-LM, ``megatron/training/arguments.py`` and the dataclasses it reads
(November 2026).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from groundup.architecture.config import ModelConfig
from groundup.errors import ConfigError
from groundup.train.config import Settings
from groundup.train.launch.emit.job import (
    EmitJob,
    Emitted,
    LeftOut,
    decay_steps_of,
    left_out_of,
)

ADAM_EPS, ADAM_EPS_BESIDE_MUON = 1e-8, 1e-10  # as in `optimizers.groups`
ACTIVATIONS = {"swiglu": "--swiglu", "relu2": "--squared-relu", "gelu": None, "gelu_new": None}
POSITIONS = {"rotary": "rope", "learned": "learned_absolute", "none": "none"}
SCHEDULES = {
    "wsd": "WSD", "cosine": "cosine", "linear": "linear", "constant": "constant",
    "inverse_sqrt": "inverse-square-root",
}  # fmt: skip
SHARDING = {2: "optim_grads", 3: "optim_grads_params"}
CARRIED = {
    "steps", "batch_size", "micro_batch_size", "context_length", "optimizer", "learning_rate",
    "weight_decay", "seed", "precision", "dropout", "attention_dropout", "checkpoint_every",
    "evaluate_every", "recompute",
}  # fmt: skip
REASONS = {
    "schedule": "Megatron has none of this form",
    "adam_learning_rate": "one rate for all parameters",
    "embedding_learning_rate": "one rate for all parameters",
    "device": "a GPU",
    "attention": "Megatron chooses among its own",
    "n_threads": "of the CPU",
}
OTHERWISE = "Megatron has no such argument"
# Fields of the network that are said, or have no say of their own.
SAID = {
    "family", "vocab_size", "n_layers", "d_model", "context_length", "stack", "tie_embeddings",
    "init_std", "attention.n_heads", "attention.n_kv_heads", "attention.head_dim",
    "attention.bias", "attention.output_bias", "attention.qk_norm", "positions.kind",
    "positions.rotary_base", "positions.rotary_fraction", "positions.rotary_interleaved",
    "norm.kind", "norm.eps", "feed_forward.d_ff",
    "feed_forward.activation", "feed_forward.bias", "feed_forward.n_experts",
    "feed_forward.n_experts_per_token",
}  # fmt: skip


def emit(job: EmitJob) -> Emitted:
    """``megatron.args``.

    Raises:
        ConfigError: the batch does not divide; or the network is not one of Megatron's GPTs.
    """
    job.require_even()
    require_gpt(job.model)
    carried = set(CARRIED)
    lines = [
        *network(job.model),
        *training(job, carried),
        *learning(job.settings, carried),
        *parallel(job),
    ]
    left_out = (
        *(LeftOut(f"model.{name}", value, "not in Megatron's GPT")
          for name, value in unsaid(job.model)),
        *schedule_left_out(job),
        *left_out_of(job, carried, REASONS, OTHERWISE),
    )  # fmt: skip
    head = ["# Arguments of Megatron-LM's pretrain_gpt.py. What does not carry over:"]
    head += [f"#   {one}" for one in left_out]
    return Emitted(
        files={"megatron.args": "\n".join([*head, *lines]) + "\n"},
        left_out=left_out,
        command=f"{job.torchrun()} pretrain_gpt.py "
        "$(grep -v '^#' megatron.args) --data-path YOUR_DATA",
        notes=("tokens: Megatron reads its own .bin and .idx files",),
    )


def require_gpt(model: ModelConfig) -> None:
    """Refuse what another of Megatron's programs, or none, would train.

    Raises:
        ConfigError: no decoder, or parts that Megatron's do not have.
    """
    wrong = [
        f"{name}: {value}"
        for name, value, known in (
            ("stack", model.stack, ("decoder",)),
            ("positions", model.positions.kind, tuple(POSITIONS)),
            ("norm", model.norm.kind, ("rms", "layer")),
            ("norm placement", model.norm.placement, ("pre",)),
            ("activation", model.feed_forward.activation, tuple(ACTIVATIONS)),
        )
        if value not in known
    ]
    if wrong:
        raise ConfigError(
            "this network is none that Megatron's pretrain_gpt.py builds",
            where=f"model.family: {model.family}",
            problems=tuple(wrong),
            fix="train it with groundup, or take llama, gpt2 or another decoder of that kind",
        )


def network(model: ModelConfig) -> Iterator[str]:
    """The model's arguments."""
    attention, positions, forward = model.attention, model.positions, model.feed_forward
    yield from (
        f"--num-layers {model.n_layers}",
        f"--hidden-size {model.d_model}",
        f"--ffn-hidden-size {forward.d_ff}",
        f"--num-attention-heads {attention.n_heads}",
        f"--kv-channels {attention.head_dim}",
        f"--seq-length {model.context_length}",
        f"--max-position-embeddings {model.context_length}",
        f"--position-embedding-type {POSITIONS[positions.kind]}",
        f"--normalization {'RMSNorm' if model.norm.kind == 'rms' else 'LayerNorm'}",
        f"--norm-epsilon {model.norm.eps:g}",
        f"--init-method-std {model.init_std:g}",
        "--tokenizer-type NullTokenizer",
        f"--vocab-size {model.vocab_size}",
        "--make-vocab-size-divisible-by 1",
    )
    if attention.n_kv_heads != attention.n_heads:
        yield from ("--group-query-attention", f"--num-query-groups {attention.n_kv_heads}")
    if attention.qk_norm:
        yield "--qk-layernorm"
    if positions.kind == "rotary":
        yield f"--rotary-base {positions.rotary_base:.0f}"  # Megatron takes a whole number only
        yield f"--rotary-percent {positions.rotary_fraction:g}"
        if positions.rotary_interleaved:
            yield "--rotary-interleaved"
    activation = ACTIVATIONS[forward.activation]
    if activation is not None:
        yield activation
    if not forward.bias:
        yield "--disable-bias-linear"
        if attention.bias:
            yield "--add-qkv-bias"
    if not model.tie_embeddings:
        yield "--untie-embeddings-and-output-weights"
    if forward.n_experts:
        yield f"--num-experts {forward.n_experts}"
        yield f"--moe-router-topk {forward.n_experts_per_token}"


def training(job: EmitJob, carried: set[str]) -> Iterator[str]:
    """Batch, length, precision, what is looked at and kept."""
    settings = job.settings
    yield from (
        f"--micro-batch-size {job.micro_batch_size}",
        f"--global-batch-size {settings.batch_size}",
        f"--train-iters {settings.steps}",
        f"--seed {settings.seed}",
        f"--hidden-dropout {settings.dropout:g}",
        f"--attention-dropout {settings.attention_dropout:g}",
        f"--save-interval {settings.checkpoint_every}",
        f"--eval-interval {settings.evaluate_every}",
    )
    if settings.precision != "fp32":
        yield "--bf16"
    if settings.precision == "fp8":  # e4m3 forward, e5m2 backward, a factor for each tensor of now
        yield from ("--fp8-format hybrid", "--fp8-recipe tensorwise")
    if settings.clip == "global":
        carried |= {"clip", "grad_clip"}
        yield f"--clip-grad {settings.grad_clip:g}"


def learning(settings: Settings, carried: set[str]) -> Iterator[str]:
    """Optimizer and schedule; what they say is added to ``carried``.

    Raises:
        ConfigError: an optimizer that Megatron does not have.
    """
    yield f"--lr {settings.learning_rate:g}"
    yield f"--weight-decay {settings.weight_decay:g}"
    adam = (
        f"--adam-beta1 {settings.beta1:g}",
        f"--adam-beta2 {settings.beta2:g}",
        f"--adam-eps {ADAM_EPS:g}",
    )
    match settings.optimizer:
        case "adamw":
            carried |= {"beta1", "beta2"}
            yield from ("--optimizer adam", *adam)
        case "muon":
            carried |= {"beta1", "beta2", "momentum"}
            yield from ("--optimizer muon", f"--muon-momentum {settings.momentum:g}")
            yield from (*adam[:2], f"--adam-eps {ADAM_EPS_BESIDE_MUON:g}")
        case "sgd":
            carried |= {"momentum"}
            yield from ("--optimizer sgd", f"--sgd-momentum {settings.momentum:g}")
        case other:
            raise ConfigError(
                f"Megatron has no optimizer {other}",
                where="pretrain.optimizer",
                fix="set it to muon, adamw or sgd",
            )
    if settings.schedule in SCHEDULES:
        carried |= {"schedule", "warmup_steps", "min_lr_ratio", "decay_fraction", "decay_steps"}
        yield f"--lr-decay-style {SCHEDULES[settings.schedule]}"
        yield f"--lr-warmup-iters {settings.warmup_steps}"
        yield f"--min-lr {settings.min_lr_ratio * settings.learning_rate:g}"
        if settings.schedule == "wsd":
            yield f"--lr-decay-iters {settings.steps}"
            yield "--lr-wsd-decay-style linear"
            yield f"--lr-wsd-decay-iters {decay_steps_of(settings)}"
        else:  # Megatron counts the warm-up in
            yield f"--lr-decay-iters {settings.warmup_steps + decay_steps_of(settings)}"


def parallel(job: EmitJob) -> Iterator[str]:
    """The layout."""
    sizes = job.sizes
    yield f"--tensor-model-parallel-size {sizes['tp']}"
    yield f"--pipeline-model-parallel-size {sizes['pp']}"
    yield f"--context-parallel-size {sizes['cp']}"
    if job.layout.sp:
        yield "--sequence-parallel"
    if job.layout.vpp > 1:
        yield f"--num-virtual-stages-per-pipeline-rank {job.layout.vpp}"
    if job.settings.recompute != "none":
        yield f"--recompute-granularity {job.settings.recompute}"
    if job.settings.recompute == "full":
        yield from ("--recompute-method uniform", "--recompute-num-layers 1")
    if job.zero:
        yield "--use-distributed-optimizer"
        if sizes["dp_replicate"] > 1:
            yield f"--num-distributed-optimizer-instances {sizes['dp_replicate']}"
    if job.zero in SHARDING:
        yield "--use-megatron-fsdp"
        yield f"--data-parallel-sharding-strategy {SHARDING[job.zero]}"
        yield "--no-gradient-accumulation-fusion"
        yield "--ckpt-format fsdp_dtensor"


def schedule_left_out(job: EmitJob) -> Iterator[LeftOut]:
    """A pipeline's order that Megatron does not have."""
    if job.sizes["pp"] > 1 and job.layout.schedule in ("gpipe", "zero_bubble"):
        yield LeftOut("pretrain.layout.schedule", job.layout.schedule, "Megatron has 1F1B only")


def unsaid(model: ModelConfig) -> Iterator[tuple[str, Any]]:
    """Fields of the network that are not as they are by default, and that no argument says.

    Some have another default there: its output projections start as GPT-2's do, and all its norms
    have weights (layer norms biases too).
    """
    norm, attention = model.norm, model.attention
    theirs = {
        "init": (model.init, "gpt2"),
        "norm.weight": (norm.weight, True),
        "norm.bias": (norm.bias, norm.kind == "layer"),
        "attention.qk_norm_weight": (
            attention.qk_norm_weight, "head" if attention.qk_norm else "none",
        ),
    }  # fmt: skip
    for name, (ours, default) in theirs.items():
        if ours != default:
            yield name, ours
    for field in dataclasses.fields(model):
        value = getattr(model, field.name)
        inside = dataclasses.is_dataclass(value)
        parts = dataclasses.fields(value) if inside else (field,)
        for part in parts:
            name = f"{field.name}.{part.name}" if inside else field.name
            found = getattr(value, part.name) if inside else value
            default = None if part.default is dataclasses.MISSING else part.default
            if name not in SAID and name not in theirs and found not in (default, None, False):
                yield name, found
