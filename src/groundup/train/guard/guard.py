"""The guard of a run: judges every step before it is taken, and every state before it is saved.

A bad batch and damaged weights look alike from the loss: leaving batches out repairs no weights,
and going back wastes work where only a batch was bad. So on an alarm one fixed held-out batch, the
*probe*, is computed: it is as usual with healthy weights, and not with damaged ones.

A gradient norm that is high while the loss is not is a suspicion and no alarm, for good text does
that too, and what is applied is clipped. The probe decides; with healthy weights the step is taken.

Notable: what is decided depends on numbers alone that all processes share and a checkpoint holds,
and on no clock, so a resumed run decides as the uninterrupted one. Skipping is capped, as is going
back; in the end a run stops with a diagnosis rather than burn the machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from groundup.train.guard.config import GuardConfig
from groundup.train.guard.detector import Scores, plain, score
from groundup.train.guard.memory import GuardMemory

# → loss and gradient norm of the probe batch; the gradients of the step stay where they are
Probe = Callable[[], tuple[float, float]]

MAX_ENDLESS = 8  # batches in a row that are not finite, where nothing is repaired
RECENT_BATCHES = 1000  # `max_skipped_share` is a share of these
SLOWER_FROM = 3  # rewinds in a row from which the learning rate is lowered
# Of healthy weights the probe's gradient norm was seen to grow manyfold from one checkpoint to the
# next, early and at high rates, while its loss fell (docs/reliability.md). So it counts where the
# loss is half-way to its limit, and ten times as much where the loss did not fall: (share of the
# way from 1 to `probe_loss_ratio`, times `probe_grad_norm_ratio`).
GRAD_NORM_COUNTS = ((0.5, 1.0), (-0.1, 10.0))


@dataclass(frozen=True)
class Verdict:
    """What to do with a step.

    Attributes:
        action: apply the gradients; skip: leave the batch out; rewind: back to a checkpoint; stop.
        why: with the numbers; of an applied step empty unless it was an alarm.
        details: of the same, as JSON. Of a rewind also ``rewinds_in_a_row``, ``checkpoints_back``
            (1: the newest) and ``more_batches`` to leave out behind this one; of a stop ``fix``.
    """

    action: Literal["apply", "skip", "rewind", "stop"]
    why: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Hit:
    """An alarm: where it was, and why. No scores: it is not the step's numbers that raised it."""

    step: int
    cursor: int
    batch_size: int
    why: str
    details: Mapping[str, Any]
    scores: Scores | None = None


class Guard:
    """Judges the steps of one run.

    Args:
        memory: belongs to the run's state; changed in place.
        probe: computes the probe batch with the weights as they are.
    """

    def __init__(self, config: GuardConfig, memory: GuardMemory, probe: Probe) -> None:
        self.config, self.memory, self.probe = config, memory, probe

    def judge(
        self, step: int, cursor: int, batch_size: int, loss: float, grad_norm: float
    ) -> Verdict:
        """What to do with a batch whose gradients are computed and not applied yet.

        Args:
            step: optimizer steps done.
            cursor: the batch's first sample.
            loss, grad_norm: over all processes; before clipping.
        """
        self.memory.n_batches += 1
        seen = score(self.config, self.memory.losses, self.memory.grad_norms, loss, grad_norm)
        reasons = seen.suspicions if self.config.policy == "rewind" else seen.reasons
        if not reasons:
            return Verdict("apply")
        details = {**seen.details(), "samples": [cursor, cursor + batch_size]}
        hit = Hit(step, cursor, batch_size, "; ".join(reasons), details, seen)
        answers = {"off": _off, "warn": _warn, "skip": _skip, "rewind": _rewind}
        return answers[self.config.policy](self, hit)

    def accepted(self, loss: float, grad_norm: float) -> None:
        """Take in a step that was applied; an alarm stays out of what is usual.

        Where steps are applied through alarm after alarm (policy warn) the level has moved, and
        what is usual is learnt anew.
        """
        config, memory = self.config, self.memory
        memory.skips_in_a_row = 0
        seen = score(config, memory.losses, memory.grad_norms, loss, grad_norm)
        was_cleared = config.policy == "rewind" and seen.is_only_suspicious(config)
        if not seen.reasons or was_cleared:
            memory.alarms_in_a_row = 0
            memory.remember(loss, grad_norm, config.window)
            return
        memory.alarms_in_a_row += 1
        if memory.alarms_in_a_row >= config.armed_after:
            memory.learn_anew()

    def before_checkpoint(self, step: int, *, is_regular: bool = True) -> Verdict:
        """Whether the weights are good enough to be gone back to.

        Args:
            is_regular: the checkpoint of a run that nobody interrupted too; only of those the
                probe's numbers are remembered, so that an interruption changes no decision.
        """
        health = self.check_health()
        policy, details = self.config.policy, health.details()
        if not health.problem:
            if is_regular:
                self.memory.probe = [health.loss, health.grad_norm]
            return Verdict("apply")
        why = f"before the checkpoint of step {step} {health.problem}"
        if policy == "rewind":
            return self._back(Hit(step, -1, 0, why, details), "")
        if math.isfinite(health.loss) and math.isfinite(health.grad_norm):
            return Verdict("apply", why, details)
        return Verdict("stop", f"{why}; policy {policy} repairs no weights", {**details, **FIX})

    def damaged(self, step: int, cursor: int, why: str) -> Verdict:
        """Go back because the weights are known to be damaged, whatever the losses say."""
        return self._back(Hit(step, cursor, 0, why, {}), "")

    def learning_rate_factor(self, step: int) -> float:
        """What the learning rate of ``step`` is multiplied by."""
        return self.config.lr_factor if step < self.memory.slow_until else 1.0

    def rewound(
        self,
        restored: GuardMemory,
        before: GuardMemory,
        from_step: int,
        to_step: int,
        cursor: int,
        why: str,
    ) -> None:
        """Go on with the memory of a checkpoint, and with what was tried since.

        Args:
            restored: as the checkpoint holds it; what is usual, and the probe, are taken from it.
            before: as it was at the alarm; what was left out and gone back over stays known.
            cursor: the first sample that is used next.
        """
        in_a_row = self.rewinds_in_a_row(from_step) + 1
        furthest = max([from_step, *(each["furthest_step"] for each in before.rewinds[-1:])])
        rewind = {
            "from_step": from_step, "to_step": to_step, "cursor": cursor,
            "batch": before.n_batches, "in_a_row": in_a_row,
            "furthest_step": furthest if in_a_row > 1 else from_step, "why": why,
        }  # fmt: skip
        restored.skips, restored.n_batches = before.skips, before.n_batches
        restored.rewinds = [*before.rewinds, rewind]
        restored.skips_in_a_row = restored.alarms_in_a_row = 0
        slow_until = to_step + self.config.lr_steps if in_a_row >= SLOWER_FROM else 0
        restored.slow_until = max(before.slow_until, slow_until)
        self.memory = restored

    def rewinds_in_a_row(self, step: int) -> int:
        """Rewinds that an alarm at ``step`` is close after: the run has not come far beyond them.

        Measured from where the earlier alarm was, not from the checkpoint: otherwise a checkpoint
        far behind would be gone back to for ever.
        """
        if not self.memory.rewinds:
            return 0
        last = self.memory.rewinds[-1]
        is_close = step <= last["furthest_step"] + self.config.rewind_within
        return int(last["in_a_row"]) if is_close else 0

    def check_health(self) -> Health:
        """Compute the probe and compare it with that of the last good checkpoint."""
        loss, grad_norm = self.probe()
        return Health(loss, grad_norm, self.memory.probe, self.config)

    def may_skip(self) -> bool:
        """Whether one more batch may be left out."""
        memory = self.memory
        since = max([0, *(each["batch"] for each in memory.rewinds[-1:])])
        since = max(since, memory.n_batches - RECENT_BATCHES)
        recent = sum(each["batch"] > since for each in memory.skips)
        return (
            memory.skips_in_a_row < self.config.max_skips
            and recent < self.config.max_skipped_share * RECENT_BATCHES
        )

    def _leave_out(self, hit: Hit, why: str, details: Mapping[str, Any]) -> Verdict:
        memory = self.memory
        memory.skips_in_a_row += 1
        skip = {"step": hit.step, "cursor": hit.cursor, "samples": hit.batch_size,
                "batch": memory.n_batches, "why": why}  # fmt: skip
        memory.skips = [*memory.skips, skip]
        return Verdict("skip", why, {**details, "skips_in_a_row": memory.skips_in_a_row})

    def _back(self, hit: Hit, why: str) -> Verdict:
        why = f"{hit.why}; {why}" if why else hit.why
        config, in_a_row = self.config, self.rewinds_in_a_row(hit.step) + 1
        details = {**hit.details, "rewinds_in_a_row": in_a_row}
        if in_a_row > config.max_rewinds:
            return Verdict("stop", f"{why}; {self._tried(in_a_row - 1)}", {**details, **FIX})
        details |= {
            "checkpoints_back": in_a_row,
            "more_batches": (in_a_row - 1) * config.rewind_within,
            "learning_rate_factor": config.lr_factor if in_a_row >= SLOWER_FROM else 1.0,
        }
        return Verdict("rewind", why, details)

    def _tried(self, n: int) -> str:
        rewinds = self.memory.rewinds[-n:]
        ways = ", ".join(f"from step {each['from_step']} to {each['to_step']}" for each in rewinds)
        slower = (
            f", the last time with {self.config.lr_factor:g} of the learning rate"
            if n >= SLOWER_FROM and self.config.lr_factor < 1
            else ""
        )
        return (
            f"already gone back {ways}, each time past the batches used until then{slower}: "
            "neither a batch nor one damage is the cause"
        )


@dataclass(frozen=True)
class Health:
    """The probe's numbers, and those of the last good checkpoint (None: there is none)."""

    loss: float
    grad_norm: float
    good: list[float] | None
    config: GuardConfig

    @property
    def problem(self) -> str:
        """What is wrong with the weights, in words; empty if nothing."""
        if not (math.isfinite(self.loss) and math.isfinite(self.grad_norm)):
            return (
                f"the weights are damaged: on the probe the loss is {self.loss:.4g} and the "
                f"gradient norm {self.grad_norm:.4g}"
            )
        if self.good is None:
            return ""
        loss_ratio = self.loss / max(self.good[0], 1e-30)
        norm_ratio = self.grad_norm / max(self.good[1], 1e-30)
        is_steep = any(
            loss_ratio - 1 > share * (self.config.probe_loss_ratio - 1)
            and norm_ratio > times * self.config.probe_grad_norm_ratio
            for share, times in GRAD_NORM_COUNTS
        )
        if loss_ratio <= self.config.probe_loss_ratio and not is_steep:
            return ""
        return (
            f"the weights are damaged: the probe's loss {self.loss:.4g} is {loss_ratio:.2f} times "
            f"that of the last good checkpoint (limit {self.config.probe_loss_ratio:g}), its "
            f"gradient norm {self.grad_norm:.4g} {norm_ratio:.2f} times (limit "
            f"{self.config.probe_grad_norm_ratio:g})"
        )

    def details(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "probe": [plain(self.loss), plain(self.grad_norm)],
            "good_probe": self.good,
        }


FIX = {
    "fix": "lower pretrain.learning_rate or grad_clip and start again; look at the samples named "
    "(groundup data trace); if they are good text, test this machine's memory (groundup doctor)"
}


def _off(guard: Guard, hit: Hit) -> Verdict:
    """Never apply what is not finite; `score` raises no other alarm here."""
    return Verdict("stop", f"{hit.why}, and the guard is off", {**hit.details, **FIX})


def _warn(guard: Guard, hit: Hit) -> Verdict:
    """Say it; leave out only what is not finite."""
    if hit.scores is not None and hit.scores.is_finite:
        return Verdict("apply", hit.why, hit.details)
    if guard.memory.skips_in_a_row + 1 >= MAX_ENDLESS:
        why = f"{hit.why}, as in the {MAX_ENDLESS - 1} batches before it: the weights are damaged"
        return Verdict("stop", why, {**hit.details, **FIX})
    return guard._leave_out(hit, hit.why, hit.details)


def _skip(guard: Guard, hit: Hit) -> Verdict:
    """Leave it out, unless that has been tried too often."""
    if guard.may_skip():
        return guard._leave_out(hit, hit.why, hit.details)
    return Verdict("stop", f"{hit.why}; {_too_many(guard)}", {**hit.details, **FIX})


def _rewind(guard: Guard, hit: Hit) -> Verdict:
    """Let the probe tell a bad batch from damaged weights."""
    health = guard.check_health()
    only_suspicious = hit.scores is not None and hit.scores.is_only_suspicious(guard.config)
    if only_suspicious and not health.problem:
        return Verdict("apply")
    hit = replace(hit, details={**hit.details, **health.details()})
    if not health.problem and guard.may_skip():
        why = f"{hit.why}; the probe is as usual, so it is the batch"
        return guard._leave_out(hit, why, hit.details)
    return guard._back(hit, health.problem or _too_many(guard))


def _too_many(guard: Guard) -> str:
    return (
        f"{guard.memory.skips_in_a_row} batches in a row were left out already (limit "
        f"{guard.config.max_skips}, and {guard.config.max_skipped_share:.0%} of the last "
        f"{RECENT_BATCHES:,}): batches cannot be the cause"
    )
