"""A model small enough for every test, tokens with something to learn, and a whole run of both."""

import math
from contextlib import nullcontext

import numpy as np
import torch

from groundup.architecture.families import build
from groundup.tokens.dataset import TokenDataset
from groundup.train.config import Settings
from groundup.train.job import Job
from groundup.train.objectives import summed_loss

MODEL = build("nanochat", vocab_size=64, n_layers=2, d_model=32, context_length=16)

SETTINGS = Settings(
    steps=12,
    batch_size=4,
    micro_batch_size=4,
    context_length=16,
    optimizer="muon",
    learning_rate=0.02,
    adam_learning_rate=0.004,
    embedding_learning_rate=0.004,
    weight_decay=0.0,
    momentum=0.95,
    beta1=0.9,
    beta2=0.95,
    grad_clip=1.0,
    schedule="wsd",
    warmup_steps=2,
    decay_fraction=0.5,
    min_lr_ratio=0.0,
    device="cpu",
    precision="fp32",
    float32_matmul_precision="highest",
    attention="bmm",
    n_threads=1,
    evaluate_every=6,
    evaluation_windows=4,
    checkpoint_every=4,
    keep_last=2,
    sample_every=6,
    sample_prompt="a",
    seed=7,
)


class Tokens:
    """Stands where a `TokenDataset` does: a noisy counting sequence."""

    split, folder, tokenizer_hash = "train", "memory", "0" * 64
    packing, mixture = "concat", None
    n_windows, windows = TokenDataset.n_windows, TokenDataset.windows
    windows_at = TokenDataset.windows_at

    def __init__(self, n_tokens=2000):
        noise = np.random.default_rng(0)
        steps = noise.integers(1, 3, n_tokens)
        self.tokens = (np.cumsum(steps) % 64).astype(np.uint16)
        self.n_tokens = n_tokens


def batch(seed=0, rows=4, length=16, vocab_size=64):
    """Random inputs and targets, [B, T] each."""
    drawn = torch.randint(
        vocab_size, (2, rows, length), generator=torch.Generator().manual_seed(seed)
    )
    return drawn[0], drawn[1]


def causal_loss(model, inputs, targets):
    """Sum of the cross-entropy of [B, T] targets, nats."""
    return summed_loss(model, model.hidden(inputs).flatten(0, 1), targets.flatten())


def job(settings=SETTINGS, model=MODEL, *, at_sample=lambda: None):
    """What a project's stages would hand to `pretrain`; ``at_sample`` is called at each sample."""

    def evaluate(model, casting):
        inputs, targets = batch(seed=99)
        with torch.no_grad(), casting() if casting else nullcontext():
            loss = causal_loss(model, inputs, targets).item() / targets.numel()
        return {"loss": loss, "bits_per_byte": loss / math.log(2)}

    def sample(model, casting):
        at_sample()
        return "a\nb"

    measured = (
        "duration_seconds", "tokens_per_second", "peak_memory_bytes", "loss", "bits_per_byte",
        "cost_usd", "energy_kwh",
    )  # fmt: skip
    return Job(
        name="small",
        key={
            "version": 1,
            "model": model.to_dict(),
            "settings": settings.to_dict(),
            "tokens": "1" * 64,
        },
        settings=settings,
        predicted=dict.fromkeys(measured, 1.0),
        matmul_flops_per_second=1e9,
        evaluate=evaluate,
        evaluate_whole=evaluate,
        sample=sample,
        spent=lambda seconds: {"cost_usd": seconds / 3600, "energy_kwh": None},
    )
