"""Learning-rate schedules as pure functions of the step: nothing to save, nothing to resume.

Each warms up along a straight line and then gives a share of the peak. Lengths are in steps: those
given in tokens were settled before (`config.settle`), and the preset `opt` has become `linear`.

`wsd` (warm-up, stable, decay): MiniCPM (Hu et al. 2024, section 4). `cosine`: Loshchilov & Hutter
2017, as used by GPT-3 and Chinchilla. `linear`: BERT, OPT. `inverse_sqrt`: Vaswani et al. 2017,
equation 3, with the peak where the warm-up ends; T5. `step` and `exponential`: as in
`torch.optim.lr_scheduler`.
"""

from __future__ import annotations

import math

from groundup.train.config import Settings

TIMESCALE = 10_000  # steps, of inverse_sqrt without a warm-up: as in transformers


def learning_rate_ratio(settings: Settings, step: int) -> float:
    """Share of the peak learning rate at ``step`` (0-based; the last is ``steps - 1``)."""
    warmup = min(settings.warmup_steps, settings.steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return SCHEDULES[settings.schedule](settings, step, warmup)


def constant(settings: Settings, step: int, warmup: int) -> float:
    """One."""
    return 1.0


def step_by_step(settings: Settings, step: int, warmup: int) -> float:
    """Multiplied by ``lr_step_factor`` every ``lr_step_every`` steps after the warm-up."""
    assert settings.lr_step_every is not None  # this schedule needs it
    n_falls = (step - warmup) // settings.lr_step_every
    return max(settings.min_lr_ratio, settings.lr_step_factor**n_falls)


def exponential(settings: Settings, step: int, warmup: int) -> float:
    """Halved over every ``lr_half_life`` steps, without stairs."""
    assert settings.lr_half_life is not None  # this schedule needs it
    return max(settings.min_lr_ratio, 0.5 ** ((step - warmup) / settings.lr_half_life))


def cosine(settings: Settings, step: int, warmup: int) -> float:
    """Half a cosine from one to the floor."""
    return above_floor(settings, 0.5 * (1 + math.cos(math.pi * fallen(settings, step, warmup))))


def linear(settings: Settings, step: int, warmup: int) -> float:
    """A straight line from one to the floor."""
    return above_floor(settings, 1 - fallen(settings, step, warmup))


def inverse_sqrt(settings: Settings, step: int, warmup: int) -> float:
    """One over the square root of the steps, in units of the warm-up."""
    scale = warmup or TIMESCALE
    return max(settings.min_lr_ratio, math.sqrt(scale / (scale + step - warmup)))


def wsd(settings: Settings, step: int, warmup: int) -> float:
    """One, then a straight line to the floor over the last steps."""
    decay_steps = settings.decay_steps
    if decay_steps is None:
        decay_steps = round(settings.steps * settings.decay_fraction)
    decay_steps = min(decay_steps, settings.steps - warmup)
    left = settings.steps - step  # 1 at the last step, so the floor is never quite reached
    if left > decay_steps:
        return 1.0
    return above_floor(settings, left / (decay_steps + 1))


def fallen(settings: Settings, step: int, warmup: int) -> float:
    """Share of the fall that lies behind: over ``decay_steps`` after the warm-up, or to the end."""
    length = settings.decay_steps or settings.steps - warmup
    return min(1.0, (step - warmup) / max(1, length))


def above_floor(settings: Settings, share: float) -> float:
    """A share from 1 to 0 as one from 1 to the floor."""
    return settings.min_lr_ratio + (1 - settings.min_lr_ratio) * share


SCHEDULES = {
    "constant": constant,
    "step": step_by_step,
    "exponential": exponential,
    "cosine": cosine,
    "linear": linear,
    "inverse_sqrt": inverse_sqrt,
    "wsd": wsd,
}
