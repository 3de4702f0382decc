"""Pipeline parallelism, the split: which layers, embeddings and head each process has.

The layers of a model are cut into pp × vpp stages of consecutive ones. The first has the embeddings
too, the last one final norm, heads and loss. Parameters keep the names of the whole model: a part
that another process has is replaced by a module without weights that gives back what it gets.

    schedule       stages a process   stage s is on process          torch's class
    gpipe, 1f1b    1                  s                              ScheduleGPipe, Schedule1F1B
    interleaved    vpp                s mod pp                       ScheduleInterleaved1F1B
    zero_bubble    2                  s there, 2·pp - 1 - s back     ScheduleZBVZeroBubble
    zero_bubble    vpp, not 2         s mod pp                       ScheduleInterleavedZeroBubble

GPipe: Huang et al. 2019 (arXiv:1811.06965); 1F1B and interleaved: Narayanan et al. 2021
(arXiv:2104.04473, section 2.2); zero bubble: Qi et al. 2024 (arXiv:2401.10241, ZB-H1; section 6 for
the V). With the V first and last stage are on one process, so tied embeddings need not be summed.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from groundup.architecture.config import ModelConfig
from groundup.errors import ConfigError
from groundup.model.positions import NoPlaces
from groundup.model.transformer import Transformer
from groundup.train.distributed import Ranks
from groundup.train.parallel.layout import LayoutConfig
from groundup.train.parallel.partial import SumAxis, mark

FIRST = ("embed", "position", "token_type", "embedding_norm", "embedding_projection")
LAST = ("norm", "output_projection", "head_transform", "head", "pooler", "sentence")


class Elsewhere(nn.Module):
    """A part of the model that another process has."""

    def forward(self, x: Tensor, *_: Any) -> Tensor:
        """``x`` as it is."""
        return x


@dataclass(frozen=True)
class Stages:
    """Where each layer of a model of ``n_layers`` is; see the table above."""

    n_layers: int
    pp: int
    vpp: int = 1
    schedule: str = "1f1b"

    def __len__(self) -> int:
        return self.pp * self.vpp

    @property
    def is_v(self) -> bool:
        """Whether the second stages of the processes come in the opposite order."""
        return self.schedule == "zero_bubble" and self.vpp == 2

    def layers(self, stage: int) -> range:
        """The layers of a stage. Earlier stages have one more: the last one has the head's work."""
        each, more = divmod(self.n_layers, len(self))
        start = stage * each + min(stage, more)
        return range(start, start + each + (stage < more))

    def process(self, stage: int) -> int:
        """The process along pp that has a stage."""
        if self.is_v and stage >= self.pp:
            return len(self) - 1 - stage
        return stage % self.pp

    def of_process(self, at: int) -> list[int]:
        """The stages of a process along pp, in order."""
        return [stage for stage in range(len(self)) if self.process(stage) == at]

    def holders(self, name: str, config: ModelConfig) -> list[int]:
        """The processes along pp that have the parameter ``name``, in order."""
        part, _, rest = name.partition(".")
        last = len(self) - 1
        if part == "blocks":
            layer = int(rest.partition(".")[0])
            stages = [stage for stage in range(len(self)) if layer in self.layers(stage)]
        elif part == "position" and is_everywhere(config):
            stages = list(range(len(self)))
        elif part in LAST:
            stages = [last]
        else:
            stages = [0, last] if part == "embed" and is_tied(config) else [0]
        return sorted({self.process(stage) for stage in stages})


def is_tied(config: ModelConfig) -> bool:
    """Whether the head's weight is the embeddings'."""
    return config.tie_embeddings and config.head == "tokens"


def is_everywhere(config: ModelConfig) -> bool:
    """Whether every layer reads the table of positions, as T5's bias; else the first stage does."""
    return config.positions.kind != "learned"


def stages_of(config: ModelConfig, layout: LayoutConfig) -> Stages:
    """How a model is cut.

    Raises:
        ConfigError: it has too few layers; what passes between its layers is more than one stream
            of features, so that no pipeline of stages is made of it; or the schedule cannot order
            its backward pass.
    """
    reasons = {
        "an encoder-decoder": config.stack == "encoder-decoder",
        "a model whose layers share their weights": config.shared_layers,
        "a model of two streams": config.query_stream,
    }
    for kind in (kind for kind, is_one in reasons.items() if is_one):
        raise refused(kind)
    if layout.schedule == "zero_bubble" and config.positions.kind == "t5":
        raise ConfigError(
            "zero_bubble computes the gradients of weights in parts, and the bias of positions of "
            "kind t5 is one computation for all layers",
            where="pretrain.layout.schedule",
            fix="set it to 1f1b, interleaved or gpipe",
        )
    n_stages = layout.pp * layout.vpp
    if config.n_layers < n_stages:
        nearest = config.n_layers // layout.vpp
        fix = f"set pp to {nearest}, the nearest that does, or" if nearest > 1 else "set"
        raise ConfigError(
            f"{config.n_layers} layers do not go round {n_stages} stages (pp {layout.pp} × vpp "
            f"{layout.vpp})",
            where="pretrain.layout.pp",
            fix=f"{fix} model.n_layers to {n_stages} or more",
        )
    return Stages(config.n_layers, layout.pp, layout.vpp, layout.schedule)


def refused(kind: str) -> ConfigError:
    """The error of a model that is not cut into stages."""
    return ConfigError(
        f"{kind} is not cut into stages",
        where="pretrain.layout.pp",
        fix="set pp to 1 and use dp_shard, dp_replicate or tp; a decoder, prefix decoder or "
        "encoder with layers of its own can be cut",
    )


def cut_layers(model: Transformer, stages: Stages, ranks: Ranks) -> None:
    """Keep of a whole model, in place, what this process has; before TP, FSDP and optimizers.

    Weights that several processes have are marked (`partial`). With tied embeddings the first stage
    keeps the head's weight and the last one the embeddings, so that both know their role; neither
    computes with the other's.
    """
    at, config = ranks.at("pp"), model.config
    own = stages.of_process(at)
    is_first, is_last, tied = 0 in own, len(stages) - 1 in own, is_tied(config)
    names = {name for name, _ in model.named_parameters()}
    keep_blocks(model, {layer for stage in own for layer in stages.layers(stage)})
    if not is_first:
        kept = {"embed"} if is_last and tied else set()
        kept |= {"position"} if is_everywhere(config) else set()
        send_elsewhere(model, FIRST, kept)
    if not is_last:
        send_elsewhere(model, LAST, {"head"} if is_first and tied else set())
        if is_first and tied:
            cast(Any, model.head).bias = None
    model.__dict__["stage_blocks"] = [stages.layers(stage) for stage in own]
    for name in sorted(names & dict(model.named_parameters()).keys()):
        holders = stages.holders(name, config)
        if len(holders) > 1:
            axis: SumAxis = "pp" if len(holders) == stages.pp else "ends"
            mark(model, name, axis, counts=at == holders[0])


def view_of(model: Transformer, stages: Stages, stage: int) -> Transformer:
    """One stage as a model of its own that shares all modules with ``model``.

    Where it is not the first it embeds nothing (`pipeline` gives it what the stage before sent);
    where it is not the last its `hidden` is what the last of its layers gives.
    """
    view = copy.copy(model)
    view._modules = dict(model._modules)
    send_elsewhere(view, FIRST if stage else (), {"position"})  # what is left of it
    send_elsewhere(view, LAST if stage + 1 < len(stages) else (), set())
    view.blocks = nn.ModuleList(model.blocks)
    keep_blocks(view, set(stages.layers(stage)))
    return view


def keep_blocks(model: Transformer, layers: set[int]) -> None:
    """Send all other blocks elsewhere."""
    for layer in range(len(model.blocks)):
        if layer not in layers:
            model.blocks[layer] = Elsewhere()


def send_elsewhere(model: Transformer, parts: tuple[str, ...], kept: set[str]) -> None:
    """Replace parts, norms without weights too, but for those that are kept."""
    for part in parts:
        if part not in kept and getattr(model, part) is not None:
            setattr(model, part, NoPlaces() if part == "position" else Elsewhere())
