"""What a profiled step is spent on: operators gathered into kinds of work that have a name.

An operator's seconds are its own, without those of the operators it calls, so that kinds add up to
the whole. What Python does between operators is a kind too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from groundup.train.breakdown import OF_STEPS, PARTS

RANGE = "groundup: "  # begins the names of the parts in a trace
BETWEEN = "between operators"

# Kind → what the names of its operators, or of what calls them, have in them. The first that fits.
KINDS: dict[str, tuple[str, ...]] = {
    "head and loss": ("GradientInForward", "log_softmax", "nll_loss", "logsumexp", "SoftCap"),
    "attention": ("Strips", "scaled_dot_product", "flash", "bmm", "_softmax", "masked_fill"),
    "norms": ("layer_norm", "LayerNorm", "RmsNorm", "rms_norm", "batch_norm"),
    "activations": ("gelu", "relu", "Relu", "silu", "sigmoid"),
    "embeddings": ("embedding", "Embedding"),
    "linear layers": ("::mm", "addmm", "linear", "mkldnn"),
    "sums, products and copies": ("",),
}
OF_PARTS = {  # parts whose operators are one kind, whatever they are
    "data": "data",
    "optimizer": "optimizer",
    "log": "guard, checks and log",
}


@dataclass
class Cost:
    """One kind of work in the profiled steps.

    Attributes:
        seconds: of a step.
        parts: the same by part of the step.
        operators: its dearest, (name, seconds of a step).
    """

    kind: str
    seconds: float = 0.0
    parts: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    operators: dict[str, float] = field(default_factory=lambda: defaultdict(float))


def costs_of(
    events: Iterable[Any], n_steps: int, own_microseconds: Callable[[Any], float]
) -> list[Cost]:
    """The kinds of work of ``n_steps`` steps, the dearest first.

    Args:
        events: of `torch.profiler.profile.events`, with the ranges of the parts among them.
        own_microseconds: of an event, without those of what it calls.
    """
    found: dict[str, Cost] = {}
    for event in events:
        callers = [event.name, *callers_of(event)]
        part = next((name.removeprefix(RANGE) for name in callers if name.startswith(RANGE)), None)
        if part not in OF_STEPS:
            continue  # a save or a look between the steps, or the profiler's own
        kind = kind_of(callers, part)
        cost = found.setdefault(kind, Cost(kind))
        seconds = own_microseconds(event) / 1e6 / n_steps
        cost.seconds += seconds
        cost.parts[part] += seconds
        name = event.name if not event.name.startswith(RANGE) else "Python"
        cost.operators[name] += seconds
    return sorted(found.values(), key=lambda cost: -cost.seconds)


def callers_of(event: Any) -> list[str]:
    """Names of what called it, the nearest first."""
    names = []
    while (event := event.cpu_parent) is not None:
        names.append(event.name)
    return names


def kind_of(callers: Sequence[str], part: str) -> str:
    """The kind of an operator: by its part, its callers, and its own name, in this order."""
    if part in OF_PARTS:
        return OF_PARTS[part]
    if callers[0].startswith(RANGE):
        return BETWEEN
    # The whole chain first: a product inside of attention is attention.
    inside = [name for name in callers if not name.startswith(RANGE)]
    for kind, signs in KINDS.items():
        if kind == "linear layers":
            inside = inside[:1]  # every caller of a sum may be a linear layer's
        if any(sign in name for sign in signs for name in inside):
            return kind
    return BETWEEN


def said(costs: Sequence[Cost], most: int = 3) -> list[str]:
    """The dearest in words, each a line: share, milliseconds, where, and its dearest operator."""
    total = sum(cost.seconds for cost in costs)
    lines = []
    for number, cost in enumerate(costs[:most], 1):
        parts = ", ".join(
            f"{taken / cost.seconds:.0%} in {PARTS[part]}"
            for part, taken in largest(cost.parts, 2)
            if cost.seconds and taken / cost.seconds > 0.005
        )
        name, taken = largest(cost.operators, 1)[0]
        dearest = f"; {name} alone takes {taken / total:.0%}" if name != "Python" else ""
        lines.append(
            f"{number}. {cost.kind}: {cost.seconds / total:.0%} of a step, "
            f"{1000 * cost.seconds:.1f} ms ({parts}){dearest}"
        )
    return lines


def largest(seconds: Mapping[str, float], most: int) -> list[tuple[str, float]]:
    """The ``most`` largest, the largest first."""
    return sorted(seconds.items(), key=lambda item: -item[1])[:most]
