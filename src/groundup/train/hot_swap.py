"""What a change of settings does to a run at work: new optimizers, another activation, other data.

Momenta are carried over: AdamW's first moment (with its bias taken out) and Muon's momentum are the
same average of gradients, and SGD's momentum is that average times 1 / (1 - momentum). What the new
optimizer has and the old one had not (AdamW's second moment, all of Adafactor's) starts anew, and
`changes.Change.over` lets the learning rate rise meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from groundup.errors import ConfigError
from groundup.model.blend import blend_activation
from groundup.train.changes import (
    FILE,
    Change,
    given_by_hand,
    held,
    in_order,
    record,
    settings_after,
    write,
)
from groundup.train.config import Settings
from groundup.train.log import Log
from groundup.train.optimizers.adafactor import Adafactor
from groundup.train.optimizers.adamw import LeanAdamW
from groundup.train.optimizers.groups import build_optimizers
from groundup.train.optimizers.muon import Muon
from groundup.train.optimizers.sgd import SGD
from groundup.train.parallel.model import blueprints
from groundup.train.state import RunState

IN_OPTIMIZERS = (  # settings that an optimizer is built from
    "optimizer", "learning_rate", "adam_learning_rate", "embedding_learning_rate", "weight_decay",
    "momentum", "nesterov", "beta1", "beta2",
)  # fmt: skip


class Changes:
    """The changes of one run, and when each takes effect.

    Args:
        settings, activation: those that the run began with.
        scheduled: of the project file.
        sources: those that the run draws from by a mixture; none where it has none.
        folder: the run's, where changes by hand are; None: there are none.
        writes: whether this process may settle in the file when a late change takes effect.
    """

    def __init__(
        self,
        settings: Settings,
        activation: str,
        scheduled: Iterable[Change] = (),
        sources: Iterable[str] = (),
        folder: Path | None = None,
        *,
        writes: bool = True,
    ) -> None:
        self.first, self.activation, self.scheduled = settings, activation, list(scheduled)
        self.sources, self.folder, self.writes = set(sources), folder, writes
        self.by_hand: list[Change] = []
        self.seen_at = 0  # modification of the file when it was last read, ns
        self.made_at = -1  # step whose changes were made last
        self.reload()

    @property
    def all(self) -> list[Change]:
        """Scheduled and by hand, by step."""
        return in_order([*self.scheduled, *self.by_hand])

    def reload(self) -> None:
        """Read what was given by hand."""
        if self.folder is not None:
            self.seen_at = modified(self.folder)
            self.by_hand = given_by_hand(self.folder)

    def settle(self, step: int, known: int) -> None:
        """Let those that come too late, beyond the first ``known``, take effect at ``step``.

        It is written down before anybody acts on it: a resumed run must do the same.
        """
        if self.folder is None or not self.writes:
            return
        with held(self.folder):
            asked = given_by_hand(self.folder)
            settled = [
                late(change, step) if number >= known and change.at < step else change
                for number, change in enumerate(asked)
            ]
            if settled != asked:
                write(self.folder, settled)
            self.reload()

    def noticed(self, step: int) -> float:
        """How many changes by hand the writing process knows; it looks for new ones.

        A new change takes effect before step ``step + 1`` (from 0) at the earliest.
        """
        if self.folder is None or not self.writes:
            return 0.0
        if modified(self.folder) != self.seen_at:
            self.settle(step + 1, len(self.by_hand))
        return float(len(self.by_hand))

    def heard(self, n_by_hand: float) -> None:
        """Learn of changes that the writing process has noticed, and of no others yet."""
        if self.folder is not None and n_by_hand > len(self.by_hand):
            self.by_hand = given_by_hand(self.folder)[: int(n_by_hand)]

    def settings_after(self, step: int) -> Settings:
        """The settings in force for step ``step``, counted from 1."""
        return settings_after(self.first, self.all, step)

    def factor(self, step: int) -> float:
        """What the learning rate of a step (from 0) is multiplied by after a new optimizer."""
        factor = 1.0
        for change in self.all:
            done = step - change.at
            if change.optimizer is not None and 0 <= done < change.over:
                factor *= (done + 1) / (change.over + 1)
        return factor

    def prepare(self, state: RunState, step: int) -> None:
        """Make ``state`` ready to take up what was saved after ``step`` steps."""
        state.optimizers = build_optimizers(state.model, self.settings_after(step))
        self.blend(state, step - 1)
        self.made_at = -1

    def take_effect(self, state: RunState, settings: Settings, log: Log) -> Settings:
        """The settings of the next step, its changes made.

        Raises:
            ConfigError: the model or its data cannot be changed that way.
        """
        due = [change for change in self.all if change.at == state.step]
        if self.made_at == state.step:  # the batch after it was left out: made already
            due = []
        self.made_at = state.step
        for change in due:
            before = settings
            settings = settings_after(settings, [change], state.step + 1)
            if any(getattr(settings, name) != getattr(before, name) for name in IN_OPTIMIZERS):
                state.optimizers = migrated(state, settings)
            if change.mixture is not None:
                require_sources(change, self.sources)
                state.mixtures.append({"cursor": state.cursor, "weights": change.mixture})
                state.guard.learn_anew()  # other text has other losses
            log.changed(state, record(change))
        self.blend(state, state.step)
        return settings

    def blend(self, state: RunState, step: int) -> None:
        """Give the networks the activation of step ``step``, from 0."""
        before, after, share = self.activation, None, 0.0
        for change in self.all:
            if change.activation is not None and change.at <= step:
                before, after = after or before, change.activation
                share = min(1.0, (step - change.at + 1) / (change.over + 1))
        now: dict[str, Any] | None = (
            None if after is None else {"before": before, "after": after, "share": share}
        )
        if now != state.activation:
            undo: dict[str, Any] = {"before": before, "after": before, "share": 1.0}
            for model in blueprints(state.model):
                blend_activation(model, **(now or undo))
            state.activation = now
            state.guard.learn_anew()  # another network has other losses


def late(change: Change, step: int) -> Change:
    """A change whose step is behind, for ``step``; an end that is behind is the next step."""
    steps = None if change.steps is None else max(change.steps, step + 1)
    return change.model_copy(update={"at": step, "steps": steps})


def require_sources(change: Change, sources: set[str]) -> None:
    """Check that a new mixture is one of the same sources.

    Raises:
        ConfigError: it is not.
    """
    named = set(change.mixture or ())
    if named == sources:
        return
    known = f"names {', '.join(sorted(sources))}" if sources else "has no mixture"
    raise ConfigError(
        f"the change at {change.at} mixes {', '.join(sorted(named))}, but the run {known}",
        where="mixture of a change",
        fix="give a weight above 0 to each source that data.mixture draws from"
        if sources
        else "set data.mixture: what is drawn by weights from the start can change them later",
    )


def modified(folder: Path) -> int:
    """When ``changes.json`` was last written, ns; 0: it is not there."""
    try:
        return (folder / FILE).stat().st_mtime_ns
    except OSError:
        return 0


@torch.no_grad()
def migrated(state: RunState, settings: Settings) -> list[torch.optim.Optimizer]:
    """Optimizers by ``settings`` with the states of the present ones, as far as they have them."""
    before = {
        parameter: (optimizer, optimizer.state[parameter], group)
        for optimizer in state.optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter in optimizer.state
    }
    optimizers = build_optimizers(state.model, settings)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter in before:
                    made = state_for(optimizer, group, *before[parameter])
                    if made:
                        optimizer.state[parameter] = made
    return optimizers


def state_for(
    new: torch.optim.Optimizer,
    new_group: Any,
    old: torch.optim.Optimizer,
    values: Any,
    old_group: Any,
) -> dict[str, Any]:
    """One parameter's state in the terms of the new optimizer; nothing where it begins anew."""
    if type(new) is type(old):
        forgets = isinstance(new, SGD) and not new_group["momentum"]
        return {} if forgets else dict(values)
    mean = mean_gradient(old, values, old_group)
    if mean is None or isinstance(new, Adafactor):
        return {}
    if isinstance(new, Muon):
        return {"momentum_buffer": mean.to(new.kept)}
    if isinstance(new, SGD):
        momentum = new_group["momentum"]
        return {"momentum_buffer": (mean / (1 - momentum)).to(new.dtype)} if momentum else {}
    # As after one step: the first division by 1 - beta1 gives the momentum as it is.
    beta1, beta2 = new_group["betas"]
    kept = torch.bfloat16 if isinstance(new, LeanAdamW) else mean.dtype
    return {
        "step": torch.ones((), dtype=torch.float32, device=mean.device),
        "exp_avg": (mean * (1 - beta1)).to(kept),
        "exp_avg_sq": (mean.square() * (1 - beta2)).to(kept),
    }


def mean_gradient(optimizer: torch.optim.Optimizer, values: Any, group: Any) -> Tensor | None:
    """The running mean of gradients that a state holds, fp32; None: it holds none."""
    if isinstance(optimizer, Adafactor):
        return None
    if isinstance(optimizer, Muon | SGD):
        kept: Tensor = values["momentum_buffer"].float()
        return kept * (1 - group["momentum"]) if isinstance(optimizer, SGD) else kept
    first: Tensor = values["exp_avg"].float()  # its start at zero made good
    return first / (1 - group["betas"][0] ** float(values["step"]))
