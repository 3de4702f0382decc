"""What a run writes and shows while it trains, and its clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from groundup.progress import Progress
from groundup.tables import printable
from groundup.track.run import Bystander, Run
from groundup.train.breakdown import Stopwatch, added
from groundup.train.config import Settings
from groundup.train.guard.guard import Verdict
from groundup.train.heartbeat import Heart
from groundup.train.integrity.finding import Finding
from groundup.train.resources import peak_memory_bytes
from groundup.train.schedules import learning_rate_ratio
from groundup.train.state import RunState

Alert = Callable[[Mapping[str, Any]], None]


class Log:
    """The run's files, the progress on the screen, and who is told of alarms.

    Args:
        flops_per_token, matmul_flops_per_second: for the share of the machine's rate in use (MFU).
        alert: called with every event that somebody on watch should know of.
        timer: is told by the loop where the time goes.
    """

    def __init__(
        self,
        state: RunState,
        run: Run | Bystander,
        shown: Progress,
        device: str,
        flops_per_token: float,
        matmul_flops_per_second: float,
        alert: Alert,
        timer: Stopwatch | None = None,
    ) -> None:
        self.run, self.shown, self.device, self.alert = run, shown, device, alert
        self.flops_per_token = flops_per_token
        self.matmul_flops_per_second = matmul_flops_per_second
        self.began, self.elapsed_before = time.perf_counter(), state.elapsed_seconds
        self.timer = timer or Stopwatch()
        self._part_seconds, self._unwritten = dict(state.part_seconds), dict[str, float]()

    def step(
        self,
        state: RunState,
        settings: Settings,
        loss: float,
        grad_norm: float,
        factor: float,
        seconds: float,
        more: Mapping[str, float] | None = None,
    ) -> None:
        """Write the step that was just taken; ``factor`` is what the guard lowered its rate by.

        Args:
            more: figures beside the usual ones.
        """
        state.record_loss(state.step, loss)
        state.step_seconds += seconds
        tokens = settings.batch_size * settings.context_length
        rate = tokens / seconds
        mfu = rate * self.flops_per_token / self.matmul_flops_per_second
        self.run.log(
            state.step,
            {
                "loss": loss,
                "grad_norm": grad_norm,
                "learning_rate": settings.learning_rate
                * learning_rate_ratio(settings, state.step - 1)
                * factor,
                "tokens": state.tokens,
                "tokens_per_second": rate,
                "mfu": mfu,
                **(more or {}),
                **self._parts(),
            },
        )
        self.shown.advance(tokens, f"loss {loss:.3f}  {rate:,.0f} tok/s  MFU {mfu:.0%}")

    def intervention(self, kind: str, state: RunState, verdict: Verdict, **details: Any) -> None:
        """Write, show and pass on what the guard decided before step ``state.step + 1``."""
        told = {"cursor": state.cursor, "why": verdict.why, "details": verdict.details, **details}
        self.run.event(state.step, kind, **told)
        self.shown.say(f"step {state.step + 1}: {kind.replace('_', ' ')}: {verdict.why}")
        self.alert({"step": state.step, "event": kind, **told})

    def rewound(
        self, state: RunState, verdict: Verdict, from_step: int, from_tokens: int, checkpoint: str
    ) -> None:
        """The lines of the steps that were given up move aside, and it is said why."""
        state.n_abandoned = self.run.abandon(state.step, len(state.guard.rewinds))
        self.shown.advance(state.tokens - from_tokens)
        self.intervention(
            "rewound", state, verdict, from_step=from_step, to_step=state.step,
            checkpoint=checkpoint,
        )  # fmt: skip

    def news(self, state: RunState, heart: Heart) -> None:
        """Write what the watch over the ranks has seen: who is slow."""
        while not heart.news.empty():
            told = dict(heart.news.get())
            self.run.event(state.step, told.pop("kind"), **told)

    def corruption(self, state: RunState, findings: Iterable[Finding]) -> None:
        """Write, show and pass on that tensors are not what they must be."""
        for finding in findings:
            told = finding.details()
            self.run.event(state.step, "corruption", **told)
            self.shown.say(f"step {state.step + 1}: silent corruption: {finding}")
            self.alert({"step": state.step, "event": "corruption", **told})

    def changed(self, state: RunState, change: Mapping[str, Any]) -> None:
        """Write a change of settings that takes effect with the next step."""
        named = {name: value for name, value in change.items() if name not in ("at", "over")}
        self.run.event(state.step, "changed", changes=named, over=change["over"])
        told = ", ".join(f"{name} = {value}" for name, value in named.items())
        self.shown.say(f"step {state.step}: from here on {told}")

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write a validation result."""
        self.run.event(step, "evaluation", **metrics)
        others = (f", {value:.3f} {name.replace('_', ' ')}" for name, value in metrics.items())
        text = "".join(part for part, name in zip(others, metrics, strict=True) if name != "loss")
        self.shown.say(f"step {step}: validation loss {metrics['loss']:.3f}{text}")

    def sample(self, step: int, text: str) -> None:
        """Write and show a sample text."""
        self.run.event(step, "sample", text=text)
        line = printable(text.replace("\n", "↵"))
        self.shown.say(f"step {step} writes: {line[:160]}")

    def checkpoint(self, state: RunState) -> None:
        """Bring the clock up to date and the lines to the disk, before the state is saved."""
        self.clock(state)
        self.run.event(state.step, "checkpoint")
        self.run.flush()
        state.n_events = self.run.n_events

    def clock(self, state: RunState) -> None:
        """Bring what was measured up to this moment into the state."""
        state.elapsed_seconds = self.elapsed_before + time.perf_counter() - self.began
        state.peak_memory_bytes = max(state.peak_memory_bytes, peak_memory_bytes(self.device))
        self._take()
        state.part_seconds = dict(self._part_seconds)

    def _take(self) -> None:
        parts = self.timer.taken()
        self._part_seconds = added(self._part_seconds, parts)
        self._unwritten = added(self._unwritten, parts)

    def _parts(self) -> dict[str, float]:
        """Seconds by part since the last step was written, saves and looks behind it among them."""
        self._take()
        written, self._unwritten = self._unwritten, {}
        return {f"{part}_seconds": round(taken, 6) for part, taken in written.items()}
