"""DeepSpeed's ``ds_config.json``: batch, optimizer, schedule, precision, ZeRO.

Keys as of https://www.deepspeed.ai/docs/config-json (read November 2026). The network is code of
the user's there, so nothing of the model is in it.
"""

from __future__ import annotations

import json
from typing import Any

from groundup.train.config import Settings
from groundup.train.launch.emit.job import (
    EmitJob,
    Emitted,
    LeftOut,
    decay_steps_of,
    left_out_of,
)

ADAM_EPS = 1e-8  # torch's, which is ours
CARRIED = {
    "batch_size", "micro_batch_size", "optimizer", "learning_rate", "weight_decay", "precision",
}  # fmt: skip
REASONS = {
    "steps": "the training loop is yours",
    "context_length": "of the data and the model",
    "seed": "the training loop is yours",
    "precision": "bf16 stands in; 8-bit products are of the layers of your network",
    "device": "DeepSpeed finds the accelerator",
    "schedule": "none of DeepSpeed's has this form",
    "warmup_steps": "part of the schedule",
    "decay_fraction": "part of the schedule",
    "min_lr_ratio": "part of the schedule",
    "beta1": "DeepSpeed's Muon has AdamW's defaults for the rest",
    "beta2": "DeepSpeed's Muon has AdamW's defaults for the rest",
    "embedding_learning_rate": "DeepSpeed's Muon has one rate for all that is not a matrix",
}
OTHERWISE = "ds_config.json has no such key"


def emit(job: EmitJob) -> Emitted:
    """``ds_config.json``.

    Raises:
        ConfigError: the batch does not divide over the processes.
    """
    job.require_even()
    settings, carried = job.settings, set(CARRIED)
    config: dict[str, Any] = {
        "train_batch_size": settings.batch_size,
        "train_micro_batch_size_per_gpu": job.micro_batch_size,
        "gradient_accumulation_steps": job.accumulation,
        "optimizer": optimizer_of(settings, carried),
    }
    scheduler = scheduler_of(settings)
    if scheduler is not None:
        config["scheduler"] = scheduler
        carried |= {"schedule", "warmup_steps", "steps", "decay_fraction", "decay_steps"}
        carried |= {"min_lr_ratio"} if scheduler["type"] == "WarmupCosineLR" else set()
    if settings.clip == "global":
        config["gradient_clipping"] = settings.grad_clip
        carried |= {"clip", "grad_clip"}
    if settings.precision != "fp32":
        config["bf16"] = {"enabled": True}
    if settings.precision == "fp8":
        carried.discard("precision")
    config["zero_optimization"] = {"stage": job.zero}
    if job.sizes["tp"] > 1:
        config["tensor_parallel"] = {"autotp_size": job.sizes["tp"]}
    left_out = (
        LeftOut("model", job.model.family, "the network is your code"),
        *layout_left_out(job),
        *left_out_of(job, carried, REASONS, OTHERWISE),
    )
    return Emitted(
        files={"ds_config.json": json.dumps(config, indent=2) + "\n"},
        left_out=left_out,
        command=f"{started(job)} TRAIN.py --deepspeed_config ds_config.json",
        notes=("weight decay: DeepSpeed decays what the groups of your optimizer say; ours decays "
               "matrices between features only",) if settings.weight_decay else (),
    )  # fmt: skip


def started(job: EmitJob) -> str:
    """DeepSpeed's own launcher; it reaches other nodes by ssh."""
    if job.n_nodes == 1:
        return f"deepspeed --num_gpus {job.n_ranks}"
    return f"deepspeed --hostfile HOSTFILE --num_nodes {job.n_nodes} --num_gpus {job.gpus_per_node}"


def optimizer_of(settings: Settings, carried: set[str]) -> dict[str, Any]:
    """The optimizer's section; what it says is added to ``carried``."""
    params: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    match settings.optimizer:
        case "adamw":
            carried |= {"beta1", "beta2"}
            betas = [settings.beta1, settings.beta2]
            return {"type": "AdamW", "params": {**params, "betas": betas, "eps": ADAM_EPS}}
        case "muon":
            carried |= {"momentum"}
            params |= {"muon_lr": settings.learning_rate, "momentum": settings.momentum}
            if settings.adam_learning_rate is not None:
                carried |= {"adam_learning_rate"}
                params["adam_lr"] = settings.adam_learning_rate
            return {"type": "Muon", "params": params}
        case "sgd":
            carried |= {"momentum", "nesterov"}
            momentum = {"momentum": settings.momentum, "nesterov": settings.nesterov}
            return {"type": "SGD", "params": {**params, **momentum}}
    return {"type": "Adafactor", "params": params}  # torch.optim's, which DeepSpeed looks up


def scheduler_of(settings: Settings) -> dict[str, Any] | None:
    """DeepSpeed's schedule of the same form; None: it has none."""
    warmup = {"warmup_num_steps": settings.warmup_steps, "warmup_type": "linear"}
    total = {"total_num_steps": settings.warmup_steps + decay_steps_of(settings)}
    rates = {"warmup_min_lr": 0, "warmup_max_lr": settings.learning_rate}
    match settings.schedule:
        case "cosine":
            ratios = {"warmup_min_ratio": 0.0, "cos_min_ratio": settings.min_lr_ratio}
            return {"type": "WarmupCosineLR", "params": {**total, **warmup, **ratios}}
        case "linear":
            return {"type": "WarmupDecayLR", "params": {**total, **rates, **warmup}}
        case "constant":
            return {"type": "WarmupLR", "params": {**rates, **warmup}}
    return None


def layout_left_out(job: EmitJob) -> list[LeftOut]:
    """What DeepSpeed wants in code, or divides otherwise."""
    reasons = {
        "dp_replicate": "ZeRO shards over all replicas",
        "cp": "Ulysses sequence parallelism is set up in code",
        "pp": "a pipeline is a PipelineModule in code",
    }
    found = [
        LeftOut(f"pretrain.layout.{name}", job.sizes[name], why)
        for name, why in reasons.items()
        if job.sizes[name] > 1 and not (name == "dp_replicate" and job.zero == 0)
    ]
    if job.layout.sp:
        found.append(LeftOut("pretrain.layout.sp", True, "AutoTP keeps whole rows between layers"))
    return found
