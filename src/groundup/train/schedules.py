"""Learning-rate schedules as pure functions of the step: nothing to save, nothing to resume.

`wsd` (warm-up, stable, decay): MiniCPM (Hu et al. 2024, section 4). `cosine`: Loshchilov & Hutter
2017, as used by GPT-3 and Chinchilla.
"""

from __future__ import annotations

import math

from groundup.train.config import Settings


def learning_rate_ratio(settings: Settings, step: int) -> float:
    """Share of the peak learning rate at ``step`` (0-based; the last is ``steps - 1``)."""
    warmup = min(settings.warmup_steps, settings.steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return SCHEDULES[settings.schedule](settings, step, warmup)


def wsd(settings: Settings, step: int, warmup: int) -> float:
    """One, then a straight line to the floor over the last ``decay_fraction`` of all steps."""
    decay_steps = min(round(settings.steps * settings.decay_fraction), settings.steps - warmup)
    left = settings.steps - step  # 1 at the last step, so the floor is never quite reached
    if left > decay_steps:
        return 1.0
    return settings.min_lr_ratio + (1 - settings.min_lr_ratio) * left / (decay_steps + 1)


def cosine(settings: Settings, step: int, warmup: int) -> float:
    """Half a cosine from one to the floor over the steps after the warm-up."""
    progress = (step - warmup) / max(1, settings.steps - warmup)
    return settings.min_lr_ratio + (1 - settings.min_lr_ratio) * 0.5 * (
        1 + math.cos(math.pi * progress)
    )


SCHEDULES = {"wsd": wsd, "cosine": cosine}
