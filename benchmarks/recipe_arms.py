"""What `benchmarks.recipe` compares: fast, nanoGPT, and fast with one part changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from benchmarks import nanogpt_recipe as nanogpt

from groundup.architecture.config import ModelConfig, Norm, Positions
from groundup.recipes import RECIPES
from groundup.train.state import RunState

SHORT, LONG, LONGEST = (nanogpt.STEPS // share for share in (7, 5, 3))  # steps of fast


def of_recipe(section: str) -> dict[str, Any]:
    """What `recipe: fast` sets in one section."""
    values = {key: value for part in RECIPES["fast"] for key, value in part.values.items()}
    return {
        key.removeprefix(f"{section}."): value
        for key, value in values.items()
        if key.startswith(f"{section}.")
    }


@dataclass(frozen=True)
class Arm:
    """A way to train.

    Attributes:
        settings: of the section pretrain.
        family, variant: as in the section model.
        network: changes the family's network.
        first: changes the first weights.
        steps: of nanoGPT's batch; with another batch so many that the tokens are the same.
        n_evaluations: of a run, evenly spread, the end among them.
        rows: random: windows anywhere, as nanoGPT takes them; in_turn: as groundup does;
            bos_aligned: each begins with a document.
    """

    settings: Mapping[str, Any]
    family: str = of_recipe("model")["family"]
    variant: Mapping[str, Any] = field(default_factory=lambda: of_recipe("model")["variant"])
    network: Callable[[ModelConfig], ModelConfig] = lambda config: config
    first: Callable[[RunState], None] = lambda state: None
    steps: int = SHORT
    n_evaluations: int = 1
    rows: str = "in_turn"
    is_nanogpt: bool = False


FAST = Arm(of_recipe("pretrain"))


def fast_but(**settings: Any) -> Arm:
    """Fast with other settings; None leaves a key out."""
    changed = {key: new for key, new in {**FAST.settings, **settings}.items() if new is not None}
    return replace(FAST, settings=changed)


def fast_as(**fields: Any) -> Arm:
    """Fast with other fields of its network."""
    return replace(FAST, network=lambda config: dataclasses.replace(config, **fields))


def fast_inside(group: str, **fields: Any) -> Arm:
    """Fast with other fields of one part of its network."""

    def network(config: ModelConfig) -> ModelConfig:
        part = dataclasses.replace(getattr(config, group), **fields)
        return dataclasses.replace(config, **{group: part})

    return replace(FAST, network=network)


def nanogpt_at(learning_rate: float, steps: int = nanogpt.STEPS) -> Arm:
    """nanoGPT's recipe with another learning rate or length."""
    return Arm(
        {**nanogpt.SETTINGS, "learning_rate": learning_rate},
        family="gpt2",
        variant={},
        network=nanogpt.network,
        steps=steps,
        n_evaluations=20,
        rows="random",
        is_nanogpt=True,
    )


def nonzero_projections(state: RunState) -> None:
    """Output projections as the other matrices are drawn: uniform, deviation 1/√in."""
    generator = torch.Generator().manual_seed(0)
    for name, weight in state.model.named_parameters():
        if name.endswith(("o.weight", "down.weight")):
            bound = (3 / weight.shape[1]) ** 0.5
            torch.nn.init.uniform_(weight, -bound, bound, generator=generator)


ADAMW: dict[str, Any] = {  # with the betas and the best rate of nanoGPT on the first text
    "optimizer": "adamw", "learning_rate": 4e-3, "beta1": 0.9, "beta2": 0.99, "momentum": None,
    "adam_learning_rate": None, "embedding_learning_rate": None,
}  # fmt: skip
COSINE: dict[str, Any] = {"schedule": "cosine", "min_lr_ratio": 0.1, "decay_fraction": None}
WITHOUT: dict[str, Arm] = {
    "AdamW instead of Muon": fast_but(**ADAMW),
    "embeddings at the head's rate": fast_but(embedding_learning_rate=0.02),
    "cosine to 0.1 instead of wsd": fast_but(**COSINE),
    "decay over the last fifth": fast_but(decay_fraction=0.2),
    "decay over the last half": fast_but(decay_fraction=0.5),
    "warm-up of 100 steps": fast_but(warmup_steps=100),
    "betas 0.9, 0.99": fast_but(beta1=0.9, beta2=0.99),
    "momentum 0.95": fast_but(momentum=0.95),
    "no zero projections": replace(FAST, first=nonzero_projections),
    "no norm of q and k": fast_inside("attention", qk_norm=False),
    "ReLU² of as many weights": fast_inside("feed_forward", activation="relu2", d_ff=512),
    "GELU of as many weights": fast_inside("feed_forward", activation="gelu", d_ff=512),
    "learned places": fast_as(positions=Positions("learned")),
    "layer norm with weights": fast_as(norm=Norm("layer", eps=1e-5, weight=True, bias=True)),
    "no norm of embeddings": fast_as(embedding_norm=False),
}
WITH: dict[str, Arm] = {
    "attention within documents": fast_but(attend_across_documents=False),
    "BOS-aligned rows": replace(FAST, rows="bos_aligned"),
    "both": replace(fast_but(attend_across_documents=False), rows="bos_aligned"),
    "weight decay 0.1": fast_but(weight_decay=0.1),
    "average of weights, 0.98": fast_but(ema_decay=0.98),
    "batch 6": fast_but(batch_size=6),
    "batch 24": fast_but(batch_size=24),
    "batch from 4 over a third": fast_but(batch_size_ramp={"start": 4, "steps": 143}),
    "rows from 16 over a third": fast_but(sequence_length_ramp={"start": 16, "steps": 95}),
    "Muon 0.02": fast_but(learning_rate=0.02),
    "Muon 0.05": fast_but(learning_rate=0.05),
    "head 0.01": fast_but(adam_learning_rate=0.01),
    "soft cap of 15": fast_as(logit_softcap=15.0),
    "decay over all steps": fast_but(decay_fraction=1.0),
}
