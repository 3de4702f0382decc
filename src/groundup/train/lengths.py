"""The lengths of a run's schedule and ramps: given in steps or in tokens, settled in steps.

A step has `batch_size` rows of the context length; where the batch grows, fewer at first. The
preset `opt` becomes a linear schedule here: OPT's (Zhang et al. 2022, arXiv:2205.01068, section
2.2) warmed up over 375M tokens, its largest model over 2,000 steps, and fell to a tenth of the peak
over 300B tokens, which was the whole run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from groundup.errors import ConfigError
from groundup.section import Section
from groundup.train.ramps import steps_for
from groundup.units import Count, format_count

if TYPE_CHECKING:
    from groundup.train.config import PretrainConfig

Schedule = Literal[
    "wsd", "cosine", "linear", "inverse_sqrt", "step", "exponential", "constant", "opt"
]

WARMUP_STEPS, DECAY_FRACTION, STEP_FACTOR = 10, 0.5, 0.1  # where the section says nothing
OPT_WARMUP_TOKENS, OPT_FLOOR = 375_000_000, 0.1

# Each length in steps, and the same in tokens.
IN_TOKENS = {
    "warmup_tokens": "warmup_steps",
    "decay_tokens": "decay_steps",
    "lr_step_every_tokens": "lr_step_every",
    "lr_half_life_tokens": "lr_half_life",
}

# Fields that only some schedules read.
READ_BY = {
    "decay_fraction": ("wsd",),
    "decay_steps": ("wsd", "cosine", "linear", "opt"),
    "lr_step_every": ("step",),
    "lr_step_factor": ("step",),
    "lr_half_life": ("exponential",),
}


class RampConfig(Section):
    """A size that grows to its full one. One of `steps` and `tokens`."""

    start: Count = Field(ge=1)
    """The first size; a divisor of the full one."""
    steps: Count | None = Field(None, ge=1)
    """Steps until the full size."""
    tokens: Count | None = Field(None, ge=1)
    """The same in tokens."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.tokens is None):
            raise ValueError("needs a length: steps or tokens, one of the two")
        return self


def schedule_problems(config: PretrainConfig) -> list[str]:
    """What the section says twice, says to no one, or leaves out."""
    said = {name for name in (*READ_BY, *IN_TOKENS) if getattr(config, name) is not None}
    if config.warmup_steps is not None:
        said.add("warmup_steps")
    problems = [
        f"{steps} and {tokens} say the same: write one of them"
        for tokens, steps in IN_TOKENS.items()
        if {tokens, steps} <= said
    ]
    if "decay_fraction" in said and said & {"decay_steps", "decay_tokens"}:
        problems.append("decay_fraction and decay_steps say the same: write one of them")
    for name in sorted(said):
        readers = READ_BY.get(IN_TOKENS.get(name, name))
        if readers is not None and config.schedule not in readers:
            problems.append(f"{name} goes with schedule: {' or '.join(readers)}")
    for schedule, needed in (("step", "lr_step_every"), ("exponential", "lr_half_life")):
        if config.schedule == schedule and not said & {needed, f"{needed}_tokens"}:
            problems.append(f"schedule {schedule} needs {needed}")
    return problems


def in_steps(config: PretrainConfig, context_length: int) -> dict[str, Any]:
    """The settings of schedule and ramps, nothing left open.

    Raises:
        ConfigError: a ramp does not fit batch size or context length.
    """
    is_opt, rows = config.schedule == "opt", config.batch_size

    def of_full_batches(tokens: int) -> int:
        return -(-tokens // (rows * context_length))

    def while_growing(tokens: int) -> int:
        return of_full_batches(2 * tokens)  # its stairs are half as high as the full on average

    def from_the_start(tokens: int) -> int:
        return steps_for(-(-tokens // context_length), rows, batch_ramp)

    batch_ramp = ramp_in_steps(config.batch_size_ramp, "batch_size", rows, while_growing)
    length_ramp = ramp_in_steps(
        config.sequence_length_ramp, "sequence_length", context_length, from_the_start
    )
    warmup_tokens = warmup_in_tokens(config)
    if warmup_tokens is not None:
        warmup_steps = from_the_start(warmup_tokens)
    else:
        warmup_steps = WARMUP_STEPS if config.warmup_steps is None else config.warmup_steps
    others = {}
    for in_tokens, name in IN_TOKENS.items():
        tokens = getattr(config, in_tokens)
        others[name] = getattr(config, name) if tokens is None else of_full_batches(tokens)
    floor = OPT_FLOOR if is_opt else 0.0
    return {
        **others,
        "warmup_steps": warmup_steps,
        "schedule": "linear" if is_opt else config.schedule,
        "decay_fraction": config.decay_fraction or DECAY_FRACTION,
        "lr_step_factor": config.lr_step_factor or STEP_FACTOR,
        "min_lr_ratio": floor if config.min_lr_ratio is None else config.min_lr_ratio,
        "batch_size_ramp": batch_ramp,
        "sequence_length_ramp": length_ramp,
    }


def warmup_in_tokens(config: PretrainConfig) -> int | None:
    """Tokens of the warm-up, where it is not given in steps."""
    if config.warmup_steps is None and config.schedule == "opt":
        return config.warmup_tokens or OPT_WARMUP_TOKENS
    return config.warmup_tokens


def ramp_in_steps(
    ramp: RampConfig | None, name: str, full: int, steps_of: Callable[[int], int]
) -> dict[str, int] | None:
    """``start`` and ``steps`` of a ramp to ``full``.

    Raises:
        ConfigError: the start is no smaller divisor of the full size.
    """
    if ramp is None:
        return None
    if full % ramp.start or ramp.start == full:
        raise ConfigError(
            f"the ramp's start {ramp.start} is no smaller divisor of {full}",
            where=f"pretrain.{name}_ramp.start",
            fix=f"take {max(n for n in range(1, max(2, full)) if full % n == 0)} or another "
            "divisor",
        )
    steps = ramp.steps if ramp.tokens is None else steps_of(ramp.tokens)
    assert steps is not None  # the section has one of the two
    return {"start": ramp.start, "steps": steps}


def require_warm(config: PretrainConfig, warmup_steps: int, steps: int) -> None:
    """A warm-up that is asked for must leave steps at the peak.

    The one of `WARMUP_STEPS` is not asked for: a short run is cut off in it.

    Raises:
        ConfigError: it does not.
    """
    tokens = warmup_in_tokens(config)
    if warmup_steps < steps or (tokens is None and not config.warmup_steps):
        return
    length = "" if tokens is None else f" over {format_count(tokens)} tokens"
    key = "warmup_steps" if tokens is None else "warmup_tokens"
    given = getattr(config, key) is not None
    raise ConfigError(
        f"the warm-up{length} takes {warmup_steps:,} steps, and the run has {steps:,}",
        where=f"pretrain.{key}" if given else "pretrain.schedule",
        fix="write a shorter pretrain.warmup_tokens, or pretrain.warmup_steps in its place"
        if tokens is not None
        else "write fewer pretrain.warmup_steps, or more pretrain.steps",
    )
