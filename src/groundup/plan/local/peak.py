"""How much memory training takes at its peak, part by part.

A size that was measured has its measured peak. For others: the process before it has a model, plus
weights, gradients and optimizer state (exact), plus what forward keeps for backward. The last is
counted from the architecture and scaled to the measured sizes, which also covers what no formula
knows (allocator, temporary copies).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from groundup.architecture.config import ModelConfig
from groundup.architecture.counts import parameters
from groundup.plan.local.machine import Machine
from groundup.plan.local.pace import measured_step
from groundup.plan.sharding import stages
from groundup.plan.states import optimizer_of

USABLE = 0.9  # of the device; the rest is for fragments and for others


@dataclass(frozen=True)
class MemoryParts:
    """Bytes at the peak."""

    base: float
    weights: float  # fp32
    gradients: float  # fp32
    optimizer: float
    activations: float
    logits: float

    @property
    def total(self) -> int:
        """All parts, bytes."""
        parts: dict[str, float] = asdict(self)
        return round(sum(parts.values()))


def peak_memory(
    machine: Machine,
    configs: list[ModelConfig],
    *,
    tokens_per_step: int,
    tokens_per_micro_batch: int,
    context_length: int,
    optimizer: str,
    recompute: str = "none",
    offload_optimizer: bool = False,
) -> list[MemoryParts]:
    """The peak of each of ``configs``; a measured size has the measured total.

    Args:
        machine: with the peaks measured on it.
        configs: models asked about, of the family and vocabulary that was measured.
        tokens_per_step: batch × context.
        tokens_per_micro_batch: tokens of one forward and backward pass.
        context_length: tokens of one sequence.
        optimizer: a key of `states.OPTIMIZERS`.
        recompute: ``pretrain.recompute``.
        offload_optimizer: ``pretrain.offload_optimizer``.
    """
    from groundup.plan.solve import nonnegative_least_squares

    def count(config: ModelConfig) -> MemoryParts:
        return uncalibrated(
            config,
            precision=machine.precision,
            attention=machine.attention,
            base_memory_bytes=machine.base_memory_bytes,
            tokens=tokens_per_micro_batch,
            context_length=context_length,
            optimizer=optimizer,
            recompute=recompute,
            offload_optimizer=offload_optimizer,
        )

    counted = {(config.n_layers, config.d_model): count(config) for config in configs}
    rows, rests = [], []
    for step in machine.steps:
        parts = counted.get((step.n_layers, step.d_model))
        if parts and step.tokens_per_step == tokens_per_step:
            rest = step.peak_memory_bytes - (parts.total - parts.activations - parts.logits)
            rows.append((parts.activations, parts.logits))
            rests.append(max(rest, 1.0))
    if len(rows) > 1:
        scale = nonnegative_least_squares(rows, rests)
    else:  # one measurement cannot tell the two apart, none tells nothing
        scale = [rests[0] / sum(rows[0]) if rows else 1.0] * 2
    peaks = []
    for config in configs:
        parts = counted[config.n_layers, config.d_model]
        scaled = MemoryParts(
            **{
                **asdict(parts),
                "activations": parts.activations * scale[0],
                "logits": parts.logits * scale[1],
            }
        )
        same = measured_step(machine, config.n_layers, config.d_model, tokens_per_step)
        if same:  # the parts stay an estimate; what they miss is counted as activations
            missing = same.peak_memory_bytes - scaled.total
            scaled = MemoryParts(**{**asdict(scaled), "activations": scaled.activations + missing})
        peaks.append(scaled)
    return peaks


def uncalibrated(
    config: ModelConfig,
    *,
    precision: str,
    attention: str,
    base_memory_bytes: int,
    tokens: int,
    context_length: int,
    optimizer: str,
    recompute: str = "none",
    offload_optimizer: bool = False,
) -> MemoryParts:
    """The parts from the architecture alone.

    Kept per token and layer, in elements: inputs and outputs of two norms (4 d), q, k, v before and
    after rotary (2 (q + 2 kv)), the heads' output (q), the feed-forward's hidden values (2 d_ff, 3
    when gated), and with "bmm" a row of probabilities per head (as Korthikanti et al. 2022 count,
    without dropout). The residual stream stays fp32 under bf16 autocast.

    Args:
        config: the model.
        precision, attention: as the run will use them.
        base_memory_bytes: of the process without a model.
        tokens: of one forward and backward pass.
        context_length: tokens of one sequence.
        optimizer: a key of `states.OPTIMIZERS`: muon keeps one momentum per matrix weight, adamw
            two moments per weight.
        recompute: ``pretrain.recompute``. Then a layer keeps its input, with selective the results
            of its linear layers and of fused attention too; one layer at a time is whole.
        offload_optimizer: ``pretrain.offload_optimizer``. Then the device has no state, and of
            weights and gradients what is outside the blocks and two blocks: one that runs, and one
            that comes or goes meanwhile.
    """
    counts = parameters(config)
    matrices = counts.attention + counts.feed_forward
    of_matrix, of_other, of_factor = optimizer_of(optimizer)
    factors = 0
    if of_factor:
        (whole,) = stages(config, 1, 1)
        factors = (whole.blocks + whole.ends).factored
    width = 4 if precision == "fp32" else 2
    heads, hidden = config.attention, config.feed_forward
    q = heads.n_heads * heads.head_dim
    kv = heads.n_kv_heads * heads.head_dim
    elements = 3 * q + 4 * kv + hidden.n_matrices * hidden.d_ff
    if attention == "bmm":
        elements += heads.n_heads * context_length
    per_token_and_layer = elements * width + 4 * config.d_model * 4
    per_token = float(config.n_layers * per_token_and_layer)
    if recompute != "none":
        kept = 4 * config.d_model
        if recompute == "selective":
            linear = q + 2 * kv + (hidden.n_matrices - 1) * hidden.d_ff + 2 * config.d_model
            kept += (linear + (0 if attention == "bmm" else q)) * width
        per_token = config.n_layers * kept + per_token_and_layer
    held = float(counts.total)
    state = of_matrix * matrices + of_other * (counts.total - matrices) + of_factor * factors
    if offload_optimizer:
        held = counts.total - matrices + matrices * min(1.0, 2 / config.n_layers)
        state = 0
    return MemoryParts(
        base=base_memory_bytes,
        weights=4 * held,
        gradients=4 * held,
        optimizer=state,
        activations=tokens * per_token,
        logits=tokens * config.vocab_size * (width + 4),
    )
