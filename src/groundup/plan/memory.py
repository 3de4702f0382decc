"""Bytes on the fullest device of a training job, kind by kind, for any layout.

    weights, gradients, optimizer   `states` of what `sharding` puts on the stage
    activations                     `activations` of a block × blocks × micro-batches in flight
    logits                          fp32 logits, inputs of final norm and head, embedding's mask
    buffers                         gathered layers, a gradient bucket, a block computed again,
                                    and the process itself (CUDA, NCCL)
    fragmentation                   a margin of 10 % of the total

The first four are arithmetic and exact; buffers are what frameworks are known to hold and the
margin is a convention. A stage s of p that does one forward and one backward in turn (1F1B) holds
p - s micro-batches; interleaved with v chunks, p·v + p - 1 - 2s chunks: L (1 + (p-1)/(pv)) layers
on the first (Narayanan et al. 2021, arXiv:2104.04473; Korthikanti et al. 2022, section 4.2.3). Only
the last stage has logits, for one micro-batch. The first and the last stage are priced and the
fuller one reported. Context parallelism divides the tokens, not the weights; ZeRO shares
over dp · cp, as Megatron and FSDP do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from groundup.architecture.config import ModelConfig
from groundup.errors import ConfigError
from groundup.plan.activations import LayerActivations, layer_activations
from groundup.plan.limits import require_count
from groundup.plan.parallelism import Layout, Recompute
from groundup.plan.sharding import Stage, check_divides, padded_vocabulary, stages
from groundup.plan.states import precision_of, state_bytes_per_parameter, states

__all__ = ["DeviceMemory", "check_divides", "device_memory", "state_bytes_per_parameter"]

# The layout search refuses what fills more than this: the rest is for fragments and for what no
# formula knows. A convention: torch's allocator loses more on average without expandable segments
# (15 %, up to 33 %, on eight LLMs; Guo et al. 2024, GMLake, arXiv:2401.08156).
USABLE = 0.90

# CUDA's context and kernels: 1,343 MB (Hugging Face, "Model training anatomy", V100; since
# CUDA 12.2 kernels load lazily and less is taken).
CONTEXT_BYTES = 1343 * 2**20
# With the first NCCL communicator 1.6 GB (NVIDIA/nccl issue 864); more take more.
NCCL_BYTES = 1_600_000_000
# ZeRO-2 sums gradients in buckets of up to this many numbers (DeepSpeed's reduce_bucket_size).
BUCKET_PARAMETERS = 500_000_000
# FSDP2 keeps the gathered weights of two layers: the one computed and the next (torch #128884).
GATHERED_LAYERS = 2


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes on the fullest device, and whose they are."""

    weights: int
    gradients: int
    optimizer: int  # fp32 masters and moments
    activations: int  # what blocks keep for the backward pass
    logits: int  # what embedding, final norm, head and loss keep
    buffers: int
    fragmentation: int
    host: int  # moved to the processor's memory; not in the total
    parameters: int  # on this device before ZeRO shares them
    stage: int  # of the pipeline

    @property
    def used(self) -> int:
        """All but the margin."""
        return (
            self.weights
            + self.gradients
            + self.optimizer
            + self.activations
            + self.logits
            + self.buffers
        )

    @property
    def total(self) -> int:
        """All kinds and the margin."""
        return self.used + self.fragmentation

    @property
    def bytes_per_parameter(self) -> float:
        """Weights, gradients and optimizer, wherever they are, by parameter of the device."""
        return (self.weights + self.gradients + self.optimizer + self.host) / self.parameters

    def fits(self, capacity_bytes: float) -> bool:
        """Whether 90 % of the capacity suffice; the margin is the other 10 %, so count it once."""
        return self.used <= USABLE * capacity_bytes


def device_memory(
    config: ModelConfig,
    layout: Layout,
    *,
    context_length: int,
    optimizer: str = "adamw",
    precision: str = "bf16",
    fp32_gradients: bool = False,
    flash_attention: bool = True,
    dropout: bool = False,
    cpu_offload: bool = False,
    vocab_parallel: bool = True,
    blocks_only: bool = False,
    n_micro_batches: int | None = None,
    encoder_length: int | None = None,
) -> DeviceMemory:
    """The memory of the fullest device while ``config`` is trained as ``layout`` says.

    Args:
        config: the model.
        layout: how it is spread; its micro-batch size is in sequences.
        context_length: tokens of a sequence, all context-parallel ranks together.
        optimizer: adamw, adam-8bit, lion, momentum, sgd, muon or adafactor.
        precision: bf16 or fp16 (with fp32 masters), fp32, or fp8 as Transformer Engine does it.
        fp32_gradients: Megatron's fp32 main gradients: 18 bytes a parameter instead of 16.
        flash_attention: attention scores are never kept.
        dropout: masks are kept, as for GPT-3.
        cpu_offload: the optimizer's state lies in the processor's memory.
        vocab_parallel: each tensor rank has the logits of its share of the vocabulary.
        blocks_only: leave out embedding, head and final norm, as published tables do.
        n_micro_batches: of a step; fewer than stages leave the pipeline unfilled.
        encoder_length: tokens that an encoder beside the decoder reads; None: as many.

    Raises:
        ConfigError: heads, widths or layers that do not divide; every reason.
        InputError: a size that is none, an unknown optimizer or precision.
    """
    if context_length < 1 or context_length != int(context_length):
        require_count(context_length, "context_length")
    options = _Options(optimizer, precision, fp32_gradients, flash_attention, dropout,
                       vocab_parallel, blocks_only)  # fmt: skip
    shape = _shape(config, layout.tp, layout.pp, layout.virtual_stages, layout.ep,
                   layout.sequence_parallel, layout.recompute, options)  # fmt: skip
    if shape.reasons or context_length % layout.cp:
        raise ConfigError(
            "the model cannot be spread this way",
            where="layout",
            problems=(*shape.reasons, *_undivided_context(context_length, layout.cp)),
        )
    text = _Text(
        context_length / layout.cp,
        context_length,
        (encoder_length or context_length) / layout.cp,
        encoder_length or context_length,
    )
    fullest = max(
        (_on_stage(shape, stage, layout, text, n_micro_batches) for stage in shape.stages),
        key=lambda parts: parts[-1] - (parts[2] if cpu_offload else 0),
    )
    index, parameters, optimizer_bytes, weights, gradients, activations, logits, buffers, used = (
        fullest
    )
    host = optimizer_bytes if cpu_offload else 0.0
    return DeviceMemory(
        weights=round(weights),
        gradients=round(gradients),
        optimizer=round(optimizer_bytes - host),
        activations=round(activations),
        logits=round(logits),
        buffers=round(buffers),
        fragmentation=round((used - host) * (1 / USABLE - 1)),
        host=round(host),
        parameters=parameters,
        stage=index,
    )


class _Text(NamedTuple):
    """Tokens of a sequence on one context-parallel rank and in all, of both stacks."""

    tokens: float
    keys: float
    encoder_tokens: float
    encoder_keys: float


class _Options(NamedTuple):
    """Choices of `device_memory` that no layout names."""

    optimizer: str
    precision: str
    fp32_gradients: bool
    flash_attention: bool
    dropout: bool
    vocab_parallel: bool
    blocks_only: bool


@dataclass(frozen=True, slots=True)
class _StageBytes:
    """One stage before its states are shared and its tokens known."""

    index: int
    n_encoder_layers: int
    n_decoder_layers: int
    parameters: int
    weights: float
    gradients: float
    optimizer: float
    gathered: float  # what ZeRO-3 holds of layers at once, with their gradient
    bucket: float  # what ZeRO-2 holds of gradients
    per_entry_token: float  # kept before the blocks, of each micro-batch in flight
    per_exit_token: float  # kept after them, of one micro-batch
    per_exit_token_buffer: float  # 16-bit logits beside the fp32 ones
    per_encoder_token: float  # the encoder's output, read by all blocks of the decoder


@dataclass(frozen=True, slots=True)
class _Shape:
    """All that depends on neither tokens nor replicas; kept, as a search asks again and again."""

    reasons: tuple[str, ...]
    stages: tuple[_StageBytes, ...] = ()  # those that may be the fullest
    decoder: LayerActivations | None = None  # a block of the only stack, or of the decoder
    encoder: LayerActivations | None = None
    again: LayerActivations | None = None  # a block that is computed again, whole


@lru_cache(maxsize=8192)
def _shape(
    config: ModelConfig,
    tp: int,
    pp: int,
    virtual_stages: int,
    ep: int,
    sequence_parallel: bool,
    recompute: Recompute,
    options: _Options,
) -> _Shape:
    layout = Layout(
        tp=tp, pp=pp, ep=ep, virtual_stages=virtual_stages, sequence_parallel=sequence_parallel
    )
    reasons = check_divides(config, layout)
    if reasons:
        return _Shape(tuple(reasons))
    crossed = config.stack == "encoder-decoder"

    def block(cross_attention: bool, mode: Recompute) -> LayerActivations:
        return layer_activations(
            config,
            cross_attention=cross_attention,
            tp=tp,
            sequence_parallel=sequence_parallel,
            recompute=mode,
            flash_attention=options.flash_attention,
            dropout=options.dropout,
            precision=options.precision,
        )

    all_stages = stages(config, tp, pp)
    # Between the ends a stage holds fewer micro-batches than the first and no logits.
    asked = all_stages if crossed else all_stages[:: max(pp - 1, 1)]
    return _Shape(
        reasons=(),
        stages=tuple(
            _stage_bytes(config, tp, pp, sequence_parallel, options, stage) for stage in asked
        ),
        encoder=block(False, recompute) if crossed else None,
        decoder=block(crossed, recompute),
        again=None if recompute == "none" else block(crossed, "none"),
    )


def _stage_bytes(
    config: ModelConfig,
    tp: int,
    pp: int,
    sequence_parallel: bool,
    options: _Options,
    stage: Stage,
) -> _StageBytes:
    of = precision_of(options.precision)
    share = stage.blocks if options.blocks_only else stage.blocks + stage.ends
    kept = states(share, 0, 1, options.optimizer, options.precision, options.fp32_gradients)
    gradient = of.of_gradient(options.fp32_gradients)
    width = config.d_model / (tp if sequence_parallel else 1)
    has_head = config.head == "tokens"
    vocabulary = padded_vocabulary(config.vocab_size, tp) / (tp if options.vocab_parallel else 1)
    before = (options.dropout + config.embedding_norm * of.element) * width
    after = (config.final_norm + has_head) * of.element * width + has_head * 4 * vocabulary
    copy = has_head * of.element * vocabulary if of.element < 4 else 0.0
    is_first = stage.index == 0 and not options.blocks_only
    is_last = stage.index == pp - 1 and not options.blocks_only
    reads_encoder = config.n_encoder_layers > 0 and stage.n_decoder_layers > 0
    return _StageBytes(
        index=stage.index,
        n_encoder_layers=stage.n_encoder_layers,
        n_decoder_layers=stage.n_decoder_layers,
        parameters=share.total,
        weights=kept.weights,
        gradients=kept.gradients,
        optimizer=kept.optimizer,
        gathered=stage.largest * (GATHERED_LAYERS * of.weight + gradient),
        bucket=min(share.total, BUCKET_PARAMETERS) * gradient,
        per_entry_token=before if is_first else 0.0,
        per_exit_token=after if is_last else 0.0,
        per_exit_token_buffer=copy if is_last else 0.0,
        per_encoder_token=of.linear_input * width if reads_encoder else 0.0,
    )


def _on_stage(
    shape: _Shape,
    stage: _StageBytes,
    layout: Layout,
    text: _Text,
    n_micro_batches: int | None,
) -> tuple[int, int, float, float, float, float, float, float, float]:
    """Bytes of each kind on one stage, see `device_memory` for their order; the sum last."""
    zero, replicas, micro_batch = layout.zero, layout.dp * layout.cp, layout.micro_batch_size
    held = in_flight(stage.index, layout.pp, layout.virtual_stages, n_micro_batches)
    assert shape.decoder is not None  # shapes that cannot be have no stages
    block = shape.decoder.bytes(*text)
    kept = stage.n_decoder_layers * block + stage.per_encoder_token * text.encoder_tokens
    if shape.encoder is not None and stage.n_encoder_layers:
        kept += stage.n_encoder_layers * shape.encoder.bytes(*text[2:], 0, 0)
    tokens = micro_batch * text.tokens
    entered = min(held, layout.pp)  # an interleaved pipeline takes no more in than it has stages
    buffers: float = CONTEXT_BYTES + (NCCL_BYTES if layout.n_chips > 1 else 0)
    buffers += tokens * stage.per_exit_token_buffer
    if shape.again is not None:
        buffers += micro_batch * (shape.again.bytes(*text) - block)
    if zero >= 2 and replicas > 1:  # one replica has nobody to gather from
        buffers += stage.gathered if zero == 3 else stage.bucket
    weights = stage.weights / replicas if zero == 3 else stage.weights
    gradients = stage.gradients / replicas if zero >= 2 else stage.gradients
    optimizer = stage.optimizer / replicas if zero >= 1 else stage.optimizer
    activations = held * micro_batch * kept
    logits = tokens * (entered * stage.per_entry_token + stage.per_exit_token)
    used = weights + gradients + optimizer + activations + logits + buffers
    return (
        stage.index, stage.parameters, optimizer, weights, gradients, activations, logits, buffers,
        used,
    )  # fmt: skip


def in_flight(
    stage: int, pp: int, virtual_stages: int = 1, n_micro_batches: int | None = None
) -> float:
    """Micro-batches whose activations a stage holds at its peak; a chunk of v counts 1/v.

    Args:
        stage: 0 is the first.
        pp: stages.
        virtual_stages: chunks of each; 1 is not interleaved.
        n_micro_batches: of a step; None: enough to fill the pipeline.
    """
    if virtual_stages == 1:
        held: float = pp - stage
    else:
        held = (pp * virtual_stages + pp - 1 - 2 * stage) / virtual_stages
    return held if n_micro_batches is None else min(held, n_micro_batches)


def _undivided_context(context_length: int, cp: int) -> tuple[str, ...]:
    if context_length % cp == 0:
        return ()
    return (f"{context_length} tokens do not divide over {cp} context-parallel ranks",)
