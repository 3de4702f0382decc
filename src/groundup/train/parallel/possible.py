"""Which layouts a model can have, said before any weight is made."""

from __future__ import annotations

from torch import nn

from groundup.architecture.config import ModelConfig
from groundup.errors import ConfigError
from groundup.train.config import Settings
from groundup.train.distributed import Ranks
from groundup.train.noise.config import ObjectiveConfig
from groundup.train.parallel.layout import LayoutConfig
from groundup.train.parallel.pipeline import require_micro_batches
from groundup.train.parallel.stages import stages_of
from groundup.train.parallel.tensor import require_divisible


def require_possible(model: nn.Module, settings: Settings, ranks: Ranks) -> None:
    """Check that ``model`` can be divided as ``settings.layout`` says.

    Raises:
        ConfigError: it cannot; with what can.
    """
    config: ModelConfig = model.config  # type: ignore[assignment]
    require_possible_config(config, settings, ranks)


def require_possible_config(config: ModelConfig, settings: Settings, ranks: Ranks) -> None:
    """`require_possible` of a model that is not made yet.

    Raises:
        ConfigError: it cannot be divided; with what can.
    """
    layout, objective = LayoutConfig(**settings.layout), ObjectiveConfig(**settings.objective)
    if config.norm.kind == "batch":
        raise ConfigError(
            "a batch norm averages over the rows of one process, not over the batch",
            where="model.norm",
            fix="train in one process, or choose a family with another norm",
        )
    if ranks.tp * ranks.cp * ranks.pp == 1:
        return
    if settings.precision == "fp8" and ranks.tp > 1:
        raise ConfigError(
            "precision: fp8 takes the factor of a whole matrix, and those of tp have pieces",
            where="pretrain.precision",
            fix="set it to bf16, or use another layout than tp",
        )
    if objective.kind == "replaced_token":
        raise refused("the pair of models of replaced_token", "tp, cp and pp divide one model")
    require_divisible(config, ranks.tp)
    if ranks.cp > 1:
        require_shared_rows(config, objective)
        if settings.layer_dropout:
            raise ConfigError(
                "layer_dropout leaves a layer out for a whole row, and those of cp share rows",
                where="pretrain.layer_dropout",
                fix="set it to 0, or use another layout than cp",
            )
    require_tokens(settings, ranks, layout)
    if ranks.pp > 1:
        stages_of(config, layout)
        require_micro_batches(settings, layout, ranks.n_shares)


def require_shared_rows(config: ModelConfig, objective: ObjectiveConfig) -> None:
    """What context parallelism is for: one stack whose tokens have a target each.

    Raises:
        ConfigError: another kind of model or objective.
    """
    if config.stack == "encoder-decoder":
        raise refused("an encoder-decoder", "its source and its target are rows of their own")
    if objective.kind == "permutation" or config.query_stream:
        raise refused("two-stream attention", "its order goes through the whole row")
    if objective.sentence != "none":
        raise refused("pairs of sentences", "the first token of a row stands for all of it")
    if config.positions.kind in ("relative", "t5-layers"):
        raise refused(f"positions of kind {config.positions.kind}", "each layer makes its own bias")


def require_tokens(settings: Settings, ranks: Ranks, layout: LayoutConfig) -> None:
    """Check that rows can be divided, at every length that they have.

    Raises:
        ConfigError: they do not come out even.
    """
    ramp = settings.sequence_length_ramp
    multiple = (2 * ranks.cp if ranks.cp > 1 else 1) * (ranks.tp if layout.sp else 1)
    lengths = [settings.context_length] + ([ramp["start"]] if ramp is not None else [])
    for length in lengths:
        if length % multiple:
            nearest = max(multiple, round(length / multiple) * multiple)
            what = f"2 × cp {ranks.cp}" if ranks.cp > 1 else ""
            also = f"tp {ranks.tp}" if layout.sp else ""
            raise ConfigError(
                f"rows of {length} tokens do not divide evenly by "
                f"{' × '.join(part for part in (what, also) if part)}",
                where="model.context_length" if ramp is None else "pretrain.sequence_length_ramp",
                fix=f"the nearest length that does is {nearest}",
            )


def refused(what: str, why: str) -> ConfigError:
    """The error of a model that a layout cannot divide."""
    return ConfigError(
        f"{what}: {why}", where="pretrain.layout", fix="use dp_shard and dp_replicate for it"
    )
