"""nanoGPT's small CPU run in our own code: its network, its optimizer, its batches, its schedule.

Ours from its published settings (github.com/karpathy/nanoGPT): README, "I only have a macbook", for
sizes, batch and length; config/train_shakespeare_char.py for rates, beta2 and warm-up; train.py for
weight decay, beta1, clipping and bias-free layers; model.py for the network, its first weights and
which of them decay (matrices and tables, tied ones once).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from groundup.architecture.config import ModelConfig, Norm
from groundup.train.config import Settings

N_LAYERS, D_MODEL, N_HEADS, CONTEXT_LENGTH = 4, 128, 4, 64
BATCH_SIZE, STEPS = 12, 2000
SETTINGS: dict[str, Any] = {
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "beta1": 0.9,
    "beta2": 0.99,
    "weight_decay": 0.1,
    "schedule": "cosine",
    "warmup_steps": 100,
    "min_lr_ratio": 0.1,
    "grad_clip": 1.0,
}


def network(gpt2: ModelConfig) -> ModelConfig:
    """GPT-2 without biases and with the exact GELU."""
    return dataclasses.replace(
        gpt2,
        attention=dataclasses.replace(gpt2.attention, bias=False, output_bias=False),
        norm=Norm("layer", eps=1e-5, weight=True, bias=False),
        feed_forward=dataclasses.replace(gpt2.feed_forward, activation="gelu", bias=False),
    )


def optimizer(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """AdamW that lets everything decay which is no vector, embeddings and places too."""
    weights = list(model.parameters())
    groups = [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0},
    ]
    betas = (settings.beta1, settings.beta2)
    made = torch.optim.AdamW(groups, settings.learning_rate, betas, fused=True)
    for group in made.param_groups:
        group["peak_lr"] = settings.learning_rate
    return made
