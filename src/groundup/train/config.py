"""The ``pretrain`` section, and the settings it becomes once the plan has filled what was open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from groundup.section import Section
from groundup.train.asynchronous.config import (
    AsynchronousConfig,
    asynchronous_problems,
    named_after,
    server_settings,
)
from groundup.train.augment.config import AugmentConfig
from groundup.train.changes import Change
from groundup.train.guard.config import GuardConfig
from groundup.train.integrity.config import IntegrityConfig
from groundup.train.lengths import (
    IN_TOKENS,
    RampConfig,
    Schedule,
    in_steps,
    require_warm,
    schedule_problems,
)
from groundup.train.noise.config import ObjectiveConfig
from groundup.train.parallel.layout import LayoutConfig
from groundup.units import Count

# Peak learning rates by optimizer: Muon's tried in docs/experiments.md, AdamW's from GPT-2-sized
# runs (Brown et al. 2020, table 2.1, smallest model 6e-4, raised for widths under 512); SGD's and
# Adafactor's are the best of the ablation in docs/optimizers.md.
DEFAULT_LEARNING_RATE = {"muon": 0.05, "adamw": 1e-3, "sgd": 0.05, "adafactor": 0.08}
CUDA_GRAPHS = "cuda_graphs"  # of `compile`


class PretrainConfig(Section):
    """How the model is trained. What is left open (null, auto) the plan decides before step 0."""

    objective: ObjectiveConfig = ObjectiveConfig()
    """What is predicted from what."""
    steps: Count | None = Field(None, ge=1)
    """Optimizer steps; null: as many as `plan.budget` allows."""
    batch_size: Annotated[Count, Field(ge=1)] = 16
    """Sequences per optimizer step."""
    micro_batch_size: Count | None = Field(None, ge=1)
    """Sequences per forward and backward pass; null: the whole batch. Divides `batch_size`."""
    optimizer: Literal["muon", "adamw", "sgd", "adafactor"] = "muon"
    """muon: Muon for the blocks' matrices and AdamW for the rest; adamw, sgd, adafactor: that for
    all. adafactor keeps next to no state; its rate is relative to the size of each weight."""
    optimizer_dtype: Literal["fp32", "bf16"] = "fp32"
    """What the moments of muon, adamw and sgd are kept in; bf16 takes half the memory."""
    learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate of the optimizer named above; null: 0.05 for muon and sgd, 1e-3 for adamw,
    0.08 for adafactor."""
    adam_learning_rate: float | None = Field(None, gt=0)
    """With muon: peak learning rate of head, norms and biases; null: 0.02 for nanochat, 0.003 for
    the other families."""
    embedding_learning_rate: float | None = Field(None, gt=0)
    """With muon: peak learning rate of embeddings that are not tied to the head; null: 0.4 for
    nanochat, whose embeddings start at size 1; 0.003 for the other families."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay of matrices (embeddings, norms and biases have none)."""
    l1: float = Field(0.0, ge=0)
    """L1 penalty on the matrices that decay: its gradient, this times the sign of each weight."""
    l2: float = Field(0.0, ge=0)
    """L2 penalty on the same: its gradient, this times each weight."""
    z_loss: float = Field(0.0, ge=0)
    """What the mean of log²Z counts in the loss, Z being the sum of a token's exponentiated scores;
    1e-4 in PaLM."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each target's probability that is spread over the whole vocabulary."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of muon and sgd."""
    nesterov: bool = False
    """With sgd: look one step of momentum ahead, as muon always does."""
    beta1: float = Field(0.8, ge=0, lt=1)
    """AdamW's first decay rate."""
    beta2: float = Field(0.95, ge=0, lt=1)
    """AdamW's second decay rate."""
    clip: Literal["global", "adaptive", "none"] = "global"
    """global: by the norm of all gradients; adaptive: each tensor by its own usual norm (AdaGC),
    after 100 steps of global; none."""
    grad_clip: float = Field(1.0, gt=0)
    """Largest global gradient norm."""
    schedule: Schedule = "wsd"
    """What follows the warm-up: wsd: the peak, then a straight line down; cosine: half a cosine;
    linear: a straight line; inverse_sqrt: one over the root of the steps; step: stairs;
    exponential; constant; opt: linear to 0.1 of the peak after 375M tokens of warm-up."""
    warmup_steps: Count | None = None
    """Steps over which the learning rate rises from zero; null: 10, and 375M tokens for opt."""
    warmup_tokens: Count | None = Field(None, ge=1)
    """The same in tokens."""
    decay_fraction: float | None = Field(None, gt=0, le=1)
    """wsd: share of the steps, at the end, over which the learning rate falls; null: 0.5."""
    decay_steps: Count | None = Field(None, ge=1)
    """Steps over which the learning rate falls: wsd: the last ones; cosine, linear, opt: those
    after the warm-up; null: to the end."""
    decay_tokens: Count | None = Field(None, ge=1)
    """The same in tokens."""
    lr_step_every: Count | None = Field(None, ge=1)
    """step: steps between two falls."""
    lr_step_every_tokens: Count | None = Field(None, ge=1)
    """The same in tokens."""
    lr_step_factor: float | None = Field(None, gt=0, lt=1)
    """step: what each fall multiplies by; null: 0.1."""
    lr_half_life: Count | None = Field(None, ge=1)
    """exponential: steps over which the learning rate halves."""
    lr_half_life_tokens: Count | None = Field(None, ge=1)
    """The same in tokens."""
    min_lr_ratio: float | None = Field(None, ge=0, le=1)
    """The least share of the peak that the learning rate falls to; null: 0, and 0.1 for opt."""
    batch_size_ramp: RampConfig | None = None
    """The batch grows from `start` sequences to `batch_size`, in equal stairs."""
    sequence_length_ramp: RampConfig | None = None
    """Rows grow from `start` tokens to the context length; each row is cut, so the tokens of a step
    stay the same. For kind causal."""
    ema_decay: float | None = Field(None, gt=0, lt=1)
    """Keeps a moving average of the weights with this decay a step, say 0.999; validation, samples
    and the finished model are the average's."""
    augment: AugmentConfig = AugmentConfig()
    """Changes at random to the text."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the features of each sub-layer's result, and of the embeddings, that is left out."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the attention probabilities that is left out."""
    activation_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the features inside the feed-forward network that is left out."""
    layer_dropout: float = Field(0.0, ge=0, lt=1)
    """How often the last layer is left out for a sequence; earlier ones in proportion to their
    depth (stochastic depth)."""
    attend_across_documents: bool = True
    """Whether tokens see the other documents that share their row; without, places start anew."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU where there is one."""
    precision: Literal["auto", "bf16", "fp32", "fp8"] = "auto"
    """bf16: autocast over fp32 master weights; fp32: exact products; auto: by a probe of speed and
    error, also among the processor's ways to multiply in fp32. fp8: as bf16, but the linear layers
    of the blocks multiply 8-bit floats; for GPUs from compute capability 8.9 on, never chosen by
    auto."""
    attention: Literal["auto", "bmm", "sdpa", "flex", "varlen"] = "auto"
    """Which implementation of attention; auto: by a probe at the context length. flex and varlen
    are for GPUs and masks that leave much out: windows, documents."""
    compile: bool | Literal["cuda_graphs"] = False
    """Whether the blocks go through torch.compile. On the CPU that was measured a step was not
    faster; on GPUs nothing was measured. A CPU needs a C++ compiler for it, a GPU triton.
    cuda_graphs: also recorded once and launched whole from then on; for one GPU."""
    recompute: Literal["none", "selective", "full"] = "none"
    """What of a block the backward pass computes again instead of keeping it. full: all; selective:
    all but the results of linear layers and of fused attention. No bit of the result changes."""
    offload_optimizer: bool = False
    """On a GPU: weights, gradients and optimizer states lie in the processor's memory, and it
    computes the updates; the GPU has the block that runs. Slow; for what would not fit else."""
    n_threads: Count | None = Field(None, ge=1)
    """CPU threads; null: one per core. Part of the numerics, so it is fixed for a run."""
    evaluate_every: Count | None = Field(None, ge=1)
    """Steps between validation losses; null: a tenth of the run."""
    evaluation_windows: Annotated[Count, Field(ge=1)] = 64
    """Windows of the validation split in each of those."""
    checkpoint_every: Count | None = Field(None, ge=1)
    """Steps between checkpoints; null: about 30 seconds."""
    keep_last: Annotated[Count, Field(ge=1)] = 3
    """How many of the last checkpoints stay on disk; so far the guard can go back."""
    keep_every: Count | None = Field(None, ge=1)
    """Checkpoints at multiples of so many steps stay for good; null: none."""
    keep_best: bool = False
    """Whether the checkpoint with the lowest validation loss stays too."""
    sample_every: Count | None = Field(None, ge=1)
    """Steps between sample texts; null: about a minute."""
    sample_prompt: str = "def "
    """What the sample texts start with."""
    guard: GuardConfig = GuardConfig()
    """What is done about loss spikes and instability."""
    integrity: IntegrityConfig = IntegrityConfig()
    """Checks against silent corruption."""
    layout: LayoutConfig = LayoutConfig()
    """How several processes share the work."""
    asynchronous: AsynchronousConfig = AsynchronousConfig()
    """Training in which processes do not wait for each other."""
    changes: tuple[Change, ...] = ()
    """Settings that change on the way; `groundup pretrain --at` adds one by hand."""
    init_from: str | None = None
    """Checkpoint, run, project or model of others (a folder as transformers writes it) whose
    weights training begins with; null: at random. The section `model` is then taken from it, but
    for `context_length`; the tokenizer must be its own (`tokenizer.taken_from`)."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.batch_size % (self.micro_batch_size or self.batch_size):
            raise ValueError(
                f"micro_batch_size {self.micro_batch_size} does not divide "
                f"batch_size {self.batch_size}"
            )
        for name in ("adam_learning_rate", "embedding_learning_rate"):
            if self.optimizer != "muon" and getattr(self, name) is not None:
                raise ValueError(f"{name} goes with optimizer: muon; set learning_rate")
        keeps_none = self.optimizer == "sgd" and not self.momentum
        if self.optimizer_dtype != "fp32" and (self.optimizer == "adafactor" or keeps_none):
            raise ValueError(f"{self.optimizer} keeps no moments: leave optimizer_dtype out")
        if self.offload_optimizer and self.device == "cpu":
            raise ValueError("offload_optimizer frees a GPU's memory, and device is cpu")
        if self.compile == CUDA_GRAPHS and self.device == "cpu":
            raise ValueError("compile: cuda_graphs is for a GPU, and device is cpu")
        if self.nesterov and not (self.optimizer == "sgd" and self.momentum):
            raise ValueError("nesterov goes with optimizer: sgd and a momentum above 0")
        problems = [*schedule_problems(self), *asynchronous_problems(self)]
        if problems:
            raise ValueError("; ".join(problems))
        if self.clip == "none" and self.grad_clip != type(self).model_fields["grad_clip"].default:
            raise ValueError("grad_clip says nothing with clip: none")
        if self.init_from is not None and self.objective.kind == "replaced_token":
            raise ValueError("init_from is for one model, and replaced_token trains a pair")
        if self.sequence_length_ramp is not None and self.objective.kind != "causal":
            raise ValueError("sequence_length_ramp cuts rows of objective.kind causal only")
        for change in self.changes:
            self.changed(change)
            if self.steps is not None and change.at + change.over > self.steps:
                raise ValueError(f"the change at {change.at} is not over by step {self.steps}")
        return self

    def changed(self, change: Change) -> PretrainConfig:
        """The section as a change leaves it, checked like any other.

        Raises:
            ValueError: it would not be a valid one.
        """
        named = {k: v for k, v in change.settings().items() if k in type(self).model_fields}
        dropped: tuple[str, ...] = ()
        if change.optimizer not in (None, "muon"):
            dropped = ("adam_learning_rate", "embedding_learning_rate")
        if change.optimizer not in (None, "sgd"):
            dropped += ("nesterov",)
        if change.optimizer == "adafactor":
            dropped += ("optimizer_dtype",)
        before = {k: v for k, v in self.model_dump(exclude={"changes"}).items() if k not in dropped}
        try:
            return type(self).model_validate({**before, **named})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            said = first["msg"].removeprefix("Value error, ")
            raise ValueError(
                f"the change at {change.at}: {where + ': ' if where else ''}{said}"
            ) from None


@dataclass(frozen=True)
class Settings:
    """A `PretrainConfig` with nothing left open: what the loop runs by and the run's key hashes."""

    steps: int
    batch_size: int
    micro_batch_size: int
    context_length: int
    optimizer: str
    learning_rate: float
    adam_learning_rate: float | None
    embedding_learning_rate: float | None
    weight_decay: float
    momentum: float
    beta1: float
    beta2: float
    grad_clip: float
    schedule: str
    warmup_steps: int
    decay_fraction: float
    min_lr_ratio: float
    device: str
    precision: str
    float32_matmul_precision: str
    attention: str
    n_threads: int
    evaluate_every: int
    evaluation_windows: int
    checkpoint_every: int
    keep_last: int
    sample_every: int
    sample_prompt: str
    seed: int
    objective: Mapping[str, Any] = field(default_factory=lambda: {"kind": "causal"})
    dropout: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    layer_dropout: float = 0.0
    attend_across_documents: bool = True
    keep_every: int | None = None
    keep_best: bool = False
    guard: Mapping[str, Any] = field(default_factory=lambda: GuardConfig().model_dump())
    integrity: Mapping[str, Any] = field(default_factory=lambda: IntegrityConfig().model_dump())
    layout: Mapping[str, Any] = field(default_factory=lambda: LayoutConfig().model_dump())
    asynchronous: Mapping[str, Any] = field(
        default_factory=lambda: AsynchronousConfig().model_dump()
    )
    changes: Sequence[Mapping[str, Any]] = ()
    l1: float = 0.0
    l2: float = 0.0
    z_loss: float = 0.0
    label_smoothing: float = 0.0
    clip: str = "global"
    decay_steps: int | None = None
    lr_step_every: int | None = None
    lr_step_factor: float = 0.1
    lr_half_life: int | None = None
    batch_size_ramp: Mapping[str, int] | None = None  # start and steps
    sequence_length_ramp: Mapping[str, int] | None = None
    ema_decay: float | None = None
    augment: Mapping[str, Any] = field(default_factory=lambda: AugmentConfig().model_dump())
    init_from: str | None = None  # the folder itself
    recompute: str = "none"
    offload_optimizer: bool = False
    compile: bool | str = False
    optimizer_dtype: str = "fp32"
    nesterov: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the manifest."""
        return asdict(self)


def settle(
    config: PretrainConfig, choice: Mapping[str, Any], *, context_length: int, seed: int
) -> Settings:
    """Fill what the section leaves open from the plan's ``choice`` (the keys in `CHOSEN`).

    Raises:
        ConfigError: the run is no longer than the warm-up that it asks for, or a ramp does not fit.
    """
    open_settings = unsettled(config, context_length=context_length, seed=seed)
    settings = Settings(**{**open_settings, **{key: choice[key] for key in CHOSEN}})
    require_warm(config, settings.warmup_steps, settings.steps)
    return settings


def unsettled(config: PretrainConfig, *, context_length: int, seed: int) -> dict[str, Any]:
    """The fields of `Settings` with those in `CHOSEN` still as open as the section leaves them.

    Raises:
        ConfigError: a ramp does not fit batch size or context length.
    """
    return {
        **config.model_dump(exclude=set(IN_TOKENS)),
        **in_steps(config, context_length),
        "objective": config.objective.of_kind(),
        "float32_matmul_precision": None,
        "micro_batch_size": config.micro_batch_size or config.batch_size,
        "learning_rate": config.learning_rate or DEFAULT_LEARNING_RATE[config.optimizer],
        **server_settings(config),
        "context_length": context_length,
        "seed": seed,
    }


# What the plan decides (and stores) before step 0.
CHOSEN = (
    "steps", "device", "precision", "float32_matmul_precision", "attention", "n_threads",
    "evaluate_every", "checkpoint_every", "sample_every",
)  # fmt: skip

# What may change without changing a bit of the result: how often is looked at and kept.
BESIDE_THE_BITS = (
    "evaluate_every", "evaluation_windows", "checkpoint_every", "keep_last", "keep_every",
    "keep_best", "sample_every", "sample_prompt", "integrity", "recompute",
    # They do change how sums are rounded, as another machine does: how a run is computed, not what.
    "layout", "compile",
)  # fmt: skip

WHO_IS_TOLD = ("alert_command", "alert_webhook")  # of the guard


def bits_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a run's bits depend on: what it is named after."""
    bits = {name: value for name, value in settings.items() if name not in BESIDE_THE_BITS}
    guard = {name: value for name, value in bits["guard"].items() if name not in WHO_IS_TOLD}
    asynchronous = named_after(bits.pop("asynchronous", {"kind": "none"}))
    return {**bits, "guard": guard, **asynchronous}


SAMPLE_TOKENS = 64  # of the texts that a run writes while it trains
