"""Where the time of a training step goes, as the physics has it: the terms of the efficiency model.

Each term is the time that one cause would take if the hardware did it at its physical rate, over
the time that the model's FLOPs take at the peak: 1 / MFU = Σ coefficient · term. The coefficients,
which `efficiency` fits, are pure numbers that carry from chip to chip. MFU counts 6·N + 12·l·w·s
FLOPs a token (PaLM, arXiv:2204.02311, app. B; l layers, w attention width, s tokens of context).

    matmul        weights' products at the measured matmul rate
    unfused       matmul once more, in the software of 2021-22 (no flash attention, few fusions)
    memory        norms, activations, residuals: l·d values a token through memory, divided over the
                  tensor ranks
    attention     flash attention, bound by exponentials rather than products
    scores        attention without flash: l·heads·s scores a token through memory
    logits        vocabulary-wide values through memory, of the last stage
    tensor        activations sent: all-reduces of tensor parallelism. By kinship also those of the
                  vocabulary, keys and values of context parallelism, sends between stages: nothing
                  hides them either, but no published row tells them apart
    gradients     sums of gradients, ZeRO-1's gathering of weights: once a step
    gather_node   ZeRO-2/3's traffic of weights and gradients inside one node
    gather        the same between nodes, each chip at the rate of its network card
    congestion    all of the same at one card's rate, growing with the chips: measured, not derived
    launch        kernels of a layer and micro-batch, and ZeRO-2/3's collectives: microseconds each

A term belongs to a cause (`CAUSES`): the kernels' own time, what is computed again, the bubble of
the pipeline, or a kind of communication. Bubbles, (p - 1)/(v·m), lengthen what the stages do, v
times less when interleaved (Narayanan et al., arXiv:2104.04473). The fullest stage sets the pace:
the last with its head, or those with a layer more. Bytes and seconds of sends are those of
`communication`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from groundup.architecture.config import ModelConfig
from groundup.architecture.counts import flops_6n, forward_flops_per_token, palm_flops_per_token
from groundup.plan import communication
from groundup.plan.communication import Numbers, Traffic
from groundup.plan.hardware import Chip
from groundup.plan.states import precision_of

TERMS = (
    "matmul", "memory", "attention", "scores", "unfused", "logits", "launch", "gather_node",
    "gather", "congestion", "tensor", "gradients",
)  # fmt: skip
COMMUNICATION = ("tensor", "context", "pipeline", "vocabulary", "data")
CAUSES = ("kernels", "recomputation", "bubble", *COMMUNICATION)

LAUNCH_SECONDS = 1e-5  # of a layer, and of its collectives for each doubling of ranks; scaled
CROWD_POWER = 0.7  # of congestion in the chips: the one that rows left out are met best with

Values = dict[str, dict[str, Numbers]]  # by cause, and in it by term


@dataclass(frozen=True)
class Job:
    """What is trained, on what chips; how it is spread is a `Layout`."""

    config: ModelConfig
    chip: Chip
    context_length: int
    global_batch_size: float  # sequences; published ones may be rounded
    precision: str = "bf16"
    flash_attention: bool = True

    @property
    def attention_flops(self) -> float:
        """Of scores and weighted values, forward and backward, per token; all s keys counted."""
        return self.model_flops - flops_6n(self.config)

    @property
    def model_flops(self) -> float:
        """Forward and backward, per token, nothing counted twice."""
        return palm_flops_per_token(self.config, self.context_length)


def recomputed_flops(model_flops: float, attention_flops: float, recompute: Any) -> Numbers:
    """Hardware FLOPs of a pass from its model FLOPs, for one layout's recomputation or a column.

    Full recomputation does the forward third twice. Selective does attention's scores again,
    counted as in arXiv:2205.05198, eq. 9 (Korthikanti et al.): s/6h of attention becomes s/3h.
    """
    again = model_flops / 3 * (recompute == "full")
    return model_flops + again + attention_flops * (recompute == "selective")


def terms(job: Job, layout: Any) -> Values:
    """Every term by its cause, over the time of the model's FLOPs at the peak.

    Args:
        job: the work.
        layout: a `Layout`, or an object with its fields as numpy columns.
    """
    config, pp = job.config, layout.pp
    micro_batches = np.maximum(  # a replica does at least one
        job.global_batch_size / (layout.dp * layout.micro_batch_size), 1.0
    )
    tokens = micro_batches * layout.micro_batch_size * job.context_length / layout.cp  # of a rank
    traffic = communication.columns(
        config,
        layout,
        context_length=job.context_length,
        global_batch_size=micro_batches * layout.dp * layout.micro_batch_size,
        chip=job.chip,
        bytes_per_element=precision_of(job.precision).element,
        gradient_bytes=communication.summed_bytes(layout.zero, job.precision),
    )
    own, again = _kernels(job, layout, tokens, micro_batches)
    tensor = traffic.tensor.seconds + traffic.recompute.seconds
    idle = (pp - 1) / (layout.virtual_stages * micro_batches)
    waited = {name: idle * (value + again.get(name, 0)) for name, value in own.items()}
    seconds: Values = {
        "kernels": own | {"logits": _logits(job, layout, tokens)},
        "recomputation": again,
        "bubble": waited | {"tensor": idle * (tensor + traffic.context.seconds)},
        "tensor": {"tensor": tensor},
        "context": {"tensor": traffic.context.seconds},
        "pipeline": {"tensor": traffic.pipeline.seconds},
        "vocabulary": {"tensor": traffic.vocabulary.seconds},
        "data": _data(job, layout, traffic, micro_batches),
    }
    ideal = tokens * job.model_flops / job.chip.peak(job.precision) / (layout.tp * pp)
    return {
        cause: {name: value / ideal for name, value in part.items()}
        for cause, part in seconds.items()
    }


def _kernels(
    job: Job, layout: Any, tokens: Numbers, micro_batches: Numbers
) -> tuple[dict[str, Numbers], dict[str, Numbers]]:
    """Seconds of what the fullest stage computes in a step; and of what it computes again."""
    config, chip, tp = job.config, job.chip, layout.tp
    n_layers = config.n_layers + config.n_encoder_layers
    chunks = layout.pp * layout.virtual_stages
    layers = np.ceil(n_layers / chunks) * layout.virtual_stages  # of the fullest stage
    of_head = 2 * config.vocab_size * config.d_model * (config.head == "tokens")
    # At one token of context there are no scores to speak of.
    of_layer = (forward_flops_per_token(config, 1, causal=False) - of_head) / n_layers
    spare = (layers - np.floor(n_layers / layout.pp)) * of_layer  # the last stage is short of it
    of_end = np.where(layout.pp > 1, np.maximum(of_head - spare, 0), of_head)

    per_rank = tokens / tp
    rate = chip.attainable(job.precision)
    bandwidth = chip.memory_bandwidth or np.inf
    forward = {
        "matmul": per_rank * layers * of_layer / rate,
        "memory": per_rank * layers * config.d_model * 2 / 3 / bandwidth,
    }
    scores = per_rank * layers * job.context_length
    if job.flash_attention:
        width = config.attention.n_heads * config.attention.head_dim
        attention = {"attention": scores * width / 128 / (chip.special_function_rate or np.inf) / 3}
    else:
        forward["unfused"] = forward["matmul"]
        attention = {"scores": scores * config.attention.n_heads * 2 / bandwidth / 3}
    end = 3 * per_rank * of_end / rate
    own = {name: 3 * value for name, value in (forward | attention).items()}
    own |= {name: own[name] + end for name in ("matmul", "unfused") if name in own}
    own["launch"] = layers * micro_batches * LAUNCH_SECONDS
    full = layout.recompute == "full"
    again = {name: full * value for name, value in forward.items()}
    scored = full | (layout.recompute == "selective")
    return own, again | {name: scored * value for name, value in attention.items()}


def _logits(job: Job, layout: Any, tokens: Numbers) -> Numbers:
    bandwidth = job.chip.memory_bandwidth or np.inf
    return tokens / layout.tp * job.config.vocab_size * 2 / bandwidth


def _data(job: Job, layout: Any, traffic: Traffic, micro_batches: Numbers) -> dict[str, Numbers]:
    """What data parallel ranks send: in every micro-batch where gradients are sharded."""
    chip, flow = job.chip, traffic.data
    sharded = layout.zero >= 2
    apart = flow.network_bytes > 0
    crowd = (layout.dp * layout.tp * layout.pp * layout.cp / 1024) ** CROWD_POWER
    layers = (job.config.n_layers + job.config.n_encoder_layers) / layout.pp
    launches = layers * micro_batches * LAUNCH_SECONDS * np.log2(layout.dp * layout.cp)
    network = chip.network_bytes_per_second
    return {
        "gradients": np.where(sharded, 0, flow.seconds),
        "gather_node": np.where(sharded & ~apart, flow.link_bytes / chip.link_bytes_per_second, 0),
        "gather": np.where(sharded, flow.network_bytes / network, 0),
        "congestion": np.where(sharded & apart, flow.total_bytes / network * crowd, 0),
        "launch": np.where(sharded, launches, 0),
    }
