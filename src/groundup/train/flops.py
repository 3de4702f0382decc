"""The floating-point operations of one step: what the rate of a run is measured against.

Beside the model itself some objectives compute with another: a generator, a second stream, a
teacher. An encoder-decoder reads its source and writes its targets, which may be of other lengths.
"""

from __future__ import annotations

from groundup.architecture.config import ModelConfig
from groundup.architecture.counts import forward_flops_per_token, training_flops_per_token
from groundup.hardware import available_cores
from groundup.train.batch import Batch
from groundup.train.config import Settings
from groundup.train.distributed import Ranks, place
from groundup.train.noise.config import ObjectiveConfig
from groundup.train.replaced_token import generator_of


def step_flops(
    config: ModelConfig,
    objective: ObjectiveConfig,
    batch: Batch,
    teacher: ModelConfig | None = None,
) -> int:
    """FLOPs of a forward and backward pass over ``batch``; see `architecture.counts`.

    The query stream of a permutation counts like the stream of contents.
    """
    n_rows, length = batch.inputs.shape
    if batch.decoder_inputs is not None:
        target = batch.decoder_inputs.shape[1]
        return (
            n_rows
            * (length + target)
            * training_flops_per_token(config, length, causal=True, target_length=target)
        )
    per_token = training_flops_per_token(config, length, causal=True)
    if objective.kind == "permutation":
        per_token *= 2
    if objective.kind == "replaced_token":
        generator = generator_of(config, objective.generator_size)
        per_token += training_flops_per_token(generator, length, causal=True)
    if teacher is not None:
        per_token += forward_flops_per_token(teacher, length, causal=True)
    return n_rows * length * per_token


def shares_of_machine(settings: Settings, ranks: Ranks) -> float:
    """How often the rate that was measured for one process is there for all of them.

    Processes have a GPU each, but share the cores of a machine. All machines are taken to be alike.
    """
    if settings.device == "cuda":
        return ranks.size
    n_here = place().local_size
    cores_each = max(1.0, available_cores() / settings.n_threads)
    return ranks.size / n_here * min(n_here, cores_each)
