"""A run's first state: a model, at random or trained before, and its optimizers."""

from __future__ import annotations

from pathlib import Path

import torch

from groundup.architecture.config import ModelConfig
from groundup.errors import ConfigError
from groundup.model.dropout import NO_DROPOUT, Dropout
from groundup.model.init import init_weights
from groundup.model.transformer import Transformer
from groundup.train.asynchronous.local_sgd import is_local, start_outer
from groundup.train.compile import require_graphs_possible
from groundup.train.config import Settings
from groundup.train.distributed import ALONE, Ranks
from groundup.train.fp8 import require_fp8, use_fp8
from groundup.train.initial import begin_with
from groundup.train.noise.config import ObjectiveConfig
from groundup.train.optimizers.groups import build_optimizers
from groundup.train.parallel.model import parallelise
from groundup.train.parallel.offload import require_offload_possible
from groundup.train.parallel.recompute import recompute_blocks
from groundup.train.replaced_token import ReplacedTokenPair
from groundup.train.state import RunState, seed_everything


def new_state(config: ModelConfig, settings: Settings, ranks: Ranks = ALONE) -> RunState:
    """A freshly initialised model and its optimizers on the device of ``settings``.

    Over several processes each makes the whole model first (on the CPU), so that the weights are
    those of one process; behind that the random draws of each rank are its own, but for those of
    tp, which draw alike.

    Raises:
        ConfigError: an attention, a precision or CUDA graphs that this device cannot train with,
            or nothing to offload on it.
    """
    if settings.attention in ("flex", "varlen") and settings.device == "cpu":
        raise ConfigError(
            f"attention {settings.attention} cannot train on a CPU",
            where="pretrain.attention",
            fix="leave it at auto",
        )
    require_offload_possible(settings)
    require_graphs_possible(settings, ranks.size)
    if settings.precision == "fp8":
        require_fp8(settings.device)
    seed_everything(settings.seed)
    model = untrained(config, settings)
    if is_local(settings) or (ranks.size == 1 and not settings.offload_optimizer):
        model.to(settings.device)
    else:
        parallelise(model, ranks, settings)
    if settings.precision == "fp8":
        use_fp8(model)
    recompute_blocks(model, settings.recompute)
    if ranks.rank >= ranks.tp:  # those of tp have weights in common: they must drop the same
        seed_everything(settings.seed, ranks.rank // ranks.tp)
    state = RunState(model, build_optimizers(model, settings))
    if is_local(settings):
        start_outer(state, settings)
    return state


def untrained(config: ModelConfig, settings: Settings) -> Transformer | ReplacedTokenPair:
    """What training begins with, on the CPU: a function of config, seed and ``init_from``.

    Raises:
        InputError: that model is of another shape.
    """
    dropout = Dropout(
        hidden=settings.dropout,
        embedding=settings.dropout,
        attention=settings.attention_dropout,
        activation=settings.activation_dropout,
        layer=settings.layer_dropout,
    )
    objective = ObjectiveConfig(**settings.objective)
    if objective.kind == "replaced_token":
        return new_pair(config, settings, dropout, objective.generator_size)
    model = new_model(config, settings.seed, settings.attention, dropout)
    if settings.init_from is not None:
        begin_with(model, Path(settings.init_from))
    return model


def new_model(
    config: ModelConfig, seed: int, attention: str = "sdpa", dropout: Dropout = NO_DROPOUT
) -> Transformer:
    """An untrained model; a function of the config and the seed alone."""
    model = Transformer(config, attention, dropout)
    init_weights(model, torch.Generator().manual_seed(seed))
    return model


def new_pair(
    config: ModelConfig, settings: Settings, dropout: Dropout, generator_size: float
) -> ReplacedTokenPair:
    """An untrained discriminator with its generator."""
    pair = ReplacedTokenPair(config, generator_size, settings.attention, dropout)
    generator = torch.Generator().manual_seed(settings.seed)
    init_weights(pair.generator, generator)
    init_weights(pair.discriminator, generator)  # last: the embeddings are its own
    return pair
