"""The section ``pretrain.guard``: when a step counts as an alarm, and what is then done."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

from groundup.section import Section
from groundup.units import Count


class GuardConfig(Section):
    """What watches loss and gradient norm of every step before the step is taken."""

    model_config = ConfigDict(hide_input_in_errors=True)  # an address holds a secret

    policy: Literal["off", "warn", "skip", "rewind"] = "rewind"
    """off: stop at the first loss or gradient that is not finite; warn: say it and go on; skip:
    leave the batch out; rewind: leave out a bad batch, and go back before damaged weights."""
    window: Annotated[Count, Field(ge=8)] = 128
    """Accepted steps whose median and spread tell what is usual."""
    armed_after: Annotated[Count, Field(ge=8)] = 64
    """Accepted steps before the first alarm."""
    loss_threshold: float = Field(6.0, gt=0)
    """Alarm where the loss is so many robust standard deviations above the median."""
    grad_norm_threshold: float = Field(8.0, gt=0)
    """Alarm where the logarithm of the gradient norm is so many above its median. With policy
    rewind up to twice as many make the guard compute its probe, and are no alarm by themselves."""
    probe_loss_ratio: float = Field(1.2, gt=1)
    """The weights count as damaged where the probe's loss is so many times that of the last good
    checkpoint."""
    probe_grad_norm_ratio: float = Field(3.0, gt=1)
    """The same for the probe's gradient norm, where its loss is half-way to that limit; ten times
    it where the loss at least did not fall."""
    max_skips: Annotated[Count, Field(ge=1)] = 32
    """Batches left out in a row before the weights count as damaged all the same."""
    max_skipped_share: float = Field(0.05, gt=0, le=1)
    """Share of the last 1,000 batches that may be left out before they do."""
    max_rewinds: Annotated[Count, Field(ge=1)] = 3
    """Rewinds close after one another before the run stops with a diagnosis."""
    rewind_within: Annotated[Count, Field(ge=1)] = 50
    """Steps within which one rewind counts as close after another."""
    lr_factor: float = Field(0.5, gt=0, le=1)
    """Times the learning rate after the third rewind close after another; 1: never lowered."""
    lr_steps: Annotated[Count, Field(ge=1)] = 200
    """Steps for which it is lowered."""
    alert_command: list[str] | None = None
    """Program and arguments started at every alarm, with the event as JSON on standard input."""
    alert_webhook: str | None = None
    """Address that every alarm is posted to as JSON; of the address only the host is logged."""

    @field_validator("alert_webhook")
    @classmethod
    def _posted_to(cls, address: str | None) -> str | None:
        if address is not None:
            host_of(address)
        return address

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.armed_after > self.window:
            raise ValueError(f"armed_after {self.armed_after} is more than window {self.window}")
        if self.alert_command is not None and not self.alert_command:
            raise ValueError("alert_command names no program")
        return self


def host_of(address: str) -> str:
    """The part of an address of http or https that may be written down.

    Raises:
        ValueError: it is no such address.
    """
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port  # a port that is no number is found when asked for
    except ValueError:
        host = None
    odd = any(character.isspace() or not character.isprintable() for character in address)
    if host and parts.scheme in ("http", "https") and not odd:
        return host
    raise ValueError(
        "is no address of http or https (it is not shown: it may hold a secret); "
        "write it like https://hooks.example.org/path"
    ) from None
