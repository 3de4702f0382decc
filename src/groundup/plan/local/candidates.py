"""The sizes a plan considers, and what each could reach within the budget.

Every size of the ladder is asked the same questions: does it fit in the memory, how many steps does
the clock allow, how many tokens is that, and how many bits per byte does the law then predict?
Sizes outside what was measured on this machine, or far outside the runs behind the law, are shown
but not offered for the choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from groundup.architecture.config import Init, ModelConfig
from groundup.architecture.counts import parameters, training_flops_per_token
from groundup.architecture.families import build
from groundup.architecture.started import started
from groundup.architecture.trained_for import CAUSAL, trained_for
from groundup.plan.laws import effective_tokens
from groundup.plan.local.law import Law
from groundup.plan.local.machine import Machine
from groundup.plan.local.pace import StepTimes, Work, cadence, near_measured, step_times
from groundup.plan.local.peak import USABLE, MemoryParts, peak_memory
from groundup.plan.states import kept_by
from groundup.units import format_bytes, format_duration

# (layers, width), each about twice the compute of the one before; widths are whole heads of 64.
LADDER = (
    (2, 64), (2, 128), (3, 192), (4, 256), (6, 256), (6, 384), (8, 512), (12, 512), (12, 768),
    (16, 1024),
)  # fmt: skip
LEAST_STEPS = 50  # below, a run is warm-up only
BEYOND_LAW = 2.0  # factor by which a size may leave the range of the runs behind the law
# Muennighoff et al. 2023: 4 epochs are nearly as good as fresh text, beyond 16 (R*) they fade. The
# generous limit is for models that cannot simply memorise the text: GPT-like models hold some 3.6
# bits a parameter (Morris et al. 2025, arXiv:2505.24832), text about one bit a byte (Shannon 1951).
FEW_EPOCHS, MANY_EPOCHS = 4, 16
MEMORISED_BITS_PER_PARAMETER, CONTENT_BITS_PER_BYTE = 3.6, 1.0
# Share of the matmul rate that a training step may reach: the whole range we have met, small GPU
# kernels to large CPU ones (29 to 58 % in docs/experiments.md), for a guess before measuring.
STEP_EFFICIENCY = (0.05, 0.15, 0.3, 0.6)


@dataclass(frozen=True)
class Job:
    """What is to be trained, as the project file has it; None where the plan decides."""

    family: str
    vocab_size: int
    context_length: int
    batch_size: int  # sequences per optimizer step
    micro_batch_size: int | None = None  # sequences per pass; None: the whole batch
    n_layers: int | None = None
    d_model: int | None = None
    n_heads: int | None = None
    n_kv_heads: int | None = None
    d_ff: int | None = None
    steps: int | None = None
    optimizer: str = "muon"
    evaluation_windows: int = 64  # contexts of one evaluation
    sample_tokens: int = 64  # tokens generated for one sample
    evaluate_every: int | None = None
    checkpoint_every: int | None = None
    sample_every: int | None = None
    variant: Mapping[str, Any] = field(default_factory=dict)  # what else the family takes
    init: Init | None = None
    mup_base_width: int | None = None
    objective: str = "causal"
    sentence: bool = False  # a second task on pairs of sentences
    network: Mapping[str, Any] | None = None  # that of `pretrain.init_from`, whole
    optimizer_dtype: str = "fp32"
    momentum: float = 0.9
    recompute: str = "none"
    offload_optimizer: bool = False

    @property
    def kept(self) -> str:
        """What its optimizer keeps, as a key of `states.OPTIMIZERS`."""
        return kept_by(self.optimizer, self.momentum, self.optimizer_dtype)

    @property
    def is_causal(self) -> bool:
        """Whether the law, which is of causal models, says anything about it."""
        return self.objective in CAUSAL

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one optimizer step."""
        return self.batch_size * self.context_length

    @property
    def given(self) -> dict[str, int | None]:
        """The intervals of `time.Cadence`, None where the plan decides."""
        return {
            name: getattr(self, name)
            for name in ("evaluate_every", "checkpoint_every", "sample_every")
        }

    def sizes(self) -> tuple[tuple[int, int], ...]:
        """The sizes (layers, width) to consider: the given one, or the ladder."""
        if self.n_layers is not None and self.d_model is not None:
            return ((self.n_layers, self.d_model),)
        return LADDER

    def build(self, n_layers: int, d_model: int) -> ModelConfig:
        """The model of one size.

        Raises:
            ConfigError: the family cannot learn the objective.
        """
        if self.network is not None:
            given = ModelConfig.from_dict(dict(self.network))
            return trained_for(given, self.objective, self.sentence)
        config = build(
            self.family,
            vocab_size=self.vocab_size,
            n_layers=n_layers,
            d_model=d_model,
            context_length=self.context_length,
            n_heads=self.n_heads,
            n_kv_heads=self.n_kv_heads,
            d_ff=self.d_ff,
            **self.variant,
        )
        config = started(config, self.init, self.mup_base_width)
        return trained_for(config, self.objective, self.sentence)


@dataclass(frozen=True)
class Corpus:
    """The training split, packed."""

    n_tokens: int
    n_bytes: int  # UTF-8 bytes of its text
    validation_bytes_per_token: float | None = None  # None: as in the training split


@dataclass(frozen=True)
class Candidate:
    """One size and what it would come to."""

    config: ModelConfig
    parameters: int
    non_embedding: int
    times: StepTimes
    memory: MemoryParts
    steps: int
    least_seconds: float  # of the shortest run worth having (or of the steps that were asked for)
    tokens: int
    epochs: float
    duration_seconds: float
    bits_per_byte: float
    band: tuple[float, float]
    capped: bool  # the text ends before the time does
    obstacle: Literal["", "memory", "not measured", "law", "time"]  # empty: it is offered
    why: str  # the obstacle in words


def consider(
    job: Job, machine: Machine, corpus: Corpus, law: Law, budget: float | None
) -> list[Candidate]:
    """Every size of ``job`` with its prediction, smallest first.

    Args:
        job: what is to be trained.
        machine: what was measured here.
        corpus: the text there is.
        law: bits per byte against size and tokens.
        budget: wall-clock seconds; None where the job gives its steps.
    """
    measured = {(step.n_layers, step.d_model) for step in machine.steps}
    sizes = sorted({*job.sizes(), *measured}, key=lambda size: size[0] * size[1] ** 2)
    configs = [job.build(*size) for size in sizes]
    works = [_work(config, job) for config in configs]
    times = step_times(
        machine,
        works,
        tokens_per_step=job.tokens_per_step,
        evaluation_tokens=job.evaluation_windows * job.context_length,
    )
    memories = peak_memory(
        machine,
        configs,
        tokens_per_step=job.tokens_per_step,
        tokens_per_micro_batch=(job.micro_batch_size or job.batch_size) * job.context_length,
        context_length=job.context_length,
        optimizer=job.kept,
        recompute=job.recompute,
        offload_optimizer=job.offload_optimizer,
    )
    asked = set(job.sizes()) if job.n_layers is not None else set(sizes)
    return [
        _candidate(config, work, step, memory, job, machine, corpus, law, budget)
        for size, config, work, step, memory in zip(
            sizes, configs, works, times, memories, strict=True
        )
        if size in asked
    ]


def _candidate(
    config: ModelConfig,
    work: Work,
    times: StepTimes,
    memory: MemoryParts,
    job: Job,
    machine: Machine,
    corpus: Corpus,
    law: Law,
    budget: float | None,
) -> Candidate:
    """One row: steps from the budget or the file, then tokens, loss and reasons."""
    counts = parameters(config)
    allowed = budget if budget is not None else float("inf")
    limit = most_epochs(counts.non_embedding, corpus.n_bytes) * corpus.n_tokens
    most_steps = max(LEAST_STEPS, int(limit / job.tokens_per_step))
    in_time = job.steps or times.steps_within(allowed, job.given)
    steps = job.steps or min(in_time, most_steps)
    shortest = job.steps or LEAST_STEPS
    least = times.duration(shortest, cadence(shortest, times.step, job.given))
    tokens = max(steps, 1) * job.tokens_per_step
    worth = effective_tokens(tokens, corpus.n_tokens)
    duration = times.duration(steps, cadence(steps, times.step, job.given)) if steps else 0.0
    given_size = job.n_layers is not None  # its owner has decided; only what cannot run is refused
    obstacle: Literal["", "memory", "not measured", "law", "time"] = ""
    why = ""
    if memory.total > USABLE * machine.memory_bytes:
        obstacle, why = "memory", f"needs {format_bytes(memory.total)} of memory"
    elif not given_size and not near_measured(machine, work, job.tokens_per_step):
        obstacle, why = "not measured", "too far from the measured sizes"
    elif not given_size and not _within(counts.non_embedding, law):
        obstacle, why = "law", "too far from the runs behind the law"
    elif job.steps and duration > allowed:
        obstacle, why = "time", f"needs {format_duration(duration)}"
    elif steps < shortest:
        obstacle, why = "time", f"only {steps} steps in the time"
    return Candidate(
        config,
        counts.total,
        counts.non_embedding,
        times,
        memory,
        steps,
        least,
        tokens,
        tokens / corpus.n_tokens,
        duration,
        law.predict(counts.non_embedding, worth),
        law.band(counts.non_embedding, worth),
        capped=not job.steps and most_steps < in_time,
        obstacle=obstacle,
        why=why,
    )


def most_epochs(non_embedding: int, n_bytes: int) -> int:
    """How often a corpus may be repeated for a model of this size."""
    held_bits = MEMORISED_BITS_PER_PARAMETER * non_embedding
    return FEW_EPOCHS if held_bits > CONTENT_BITS_PER_BYTE * n_bytes else MANY_EPOCHS


def sizes_to_measure(
    job: Job, corpus: Corpus, law: Law, budget: float, matmul_flops_per_second: float
) -> Sequence[tuple[int, int]]:
    """The part of the ladder that may win, to be measured before the choice.

    The winner is guessed at several shares of the matmul rate; one size more on either side.

    Args:
        job: what is to be trained; a size given there is the only one returned.
        corpus: the text there is.
        law: bits per byte against size and tokens.
        budget: wall-clock seconds.
        matmul_flops_per_second: measured on this machine.
    """
    sizes = job.sizes()
    if len(sizes) == 1:
        return sizes
    winners = []
    for efficiency in STEP_EFFICIENCY:
        losses = []
        for place, size in enumerate(sizes):
            config = job.build(*size)
            n = parameters(config).non_embedding
            flops = training_flops_per_token(config, job.context_length)
            tokens = efficiency * matmul_flops_per_second * budget / flops
            tokens = min(tokens, most_epochs(n, corpus.n_bytes) * corpus.n_tokens)
            if tokens >= LEAST_STEPS * job.tokens_per_step and _within(n, law):
                loss = law.predict(n, effective_tokens(tokens, corpus.n_tokens))
                losses.append((loss, place))
        winners += [min(losses)[1]] if losses else []
    first, last = min(winners, default=1), max(winners, default=1)
    return sizes[max(first - 1, 0) : last + 2]


def _work(config: ModelConfig, job: Job) -> Work:
    return Work(
        config.n_layers,
        config.d_model,
        parameters(config).total,
        training_flops_per_token(config, job.context_length),
    )


def _within(non_embedding: int, law: Law) -> bool:
    low, high = law.parameters_range
    return low / BEYOND_LAW <= non_embedding <= high * BEYOND_LAW
