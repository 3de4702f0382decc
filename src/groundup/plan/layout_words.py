"""The search's result in words: where the winner's time goes, and what the next one does worse."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from groundup.plan.communication import sums_in_fp32
from groundup.plan.hardware import Chip
from groundup.plan.memory import USABLE
from groundup.units import format_count

if TYPE_CHECKING:
    from groundup.plan.layout import RankedLayout


def describe(layout: Any) -> str:
    """A layout in one line: ``dp 16, tp 8, pp 8 with 3 virtual stages, ZeRO 1, ...``."""
    parts = [f"{name} {getattr(layout, name)}" for name in ("dp", "tp", "pp")]
    if layout.virtual_stages > 1:
        parts[-1] += f" with {layout.virtual_stages} virtual stages"
    if layout.cp > 1:
        parts.append(f"cp {layout.cp}")
    if layout.sequence_parallel:
        parts[1] += " with sequence parallelism"
    parts.append(f"ZeRO {layout.zero}")
    parts.append(f"micro-batch {layout.micro_batch_size}")
    parts.append(f"{'no' if layout.recompute == 'none' else layout.recompute} recomputation")
    return ", ".join(parts)


def memory_command(
    model: str,
    layout: Any,
    *,
    context_length: int,
    precision: str,
    optimizer: str = "adamw",
    flash_attention: bool = True,
) -> str:
    """The command that prints the bytes which the search counts for a layout."""
    options: dict[str, object] = {
        "--model": model,
        "--dp": layout.dp,
        "--tp": layout.tp,
        "--pp": layout.pp,
        "--cp": layout.cp,
        "--vpp": layout.virtual_stages,
        "--zero": layout.zero,
        "--micro-batch": layout.micro_batch_size,
        "--recompute": layout.recompute,
        "--seq": context_length,
        "--precision": precision,
        "--optimizer": optimizer,
    }
    flags = ["--sequence-parallel"] * layout.sequence_parallel
    flags += ["--fp32-gradients"] * bool(sums_in_fp32(layout.zero))
    flags += ["--no-flash"] * (not flash_attention)
    sizes = ("--dp", "--tp", "--pp", "--cp", "--vpp", "--micro-batch")  # 1 where they are not given
    words = [
        str(w) for pair in options.items() for w in pair if pair[0] not in sizes or pair[1] != 1
    ]
    return shlex.join(["groundup", "plan", "memory", *words, *flags])


def explain(
    ranked: Sequence[RankedLayout],
    chip: Chip,
    considered: int,
    fitting: int,
    caveats: Sequence[str] = (),
) -> str:
    """Bubble, exposed communication, recomputation and memory of the first; why not the second."""
    best = ranked[0]
    assert chip.memory_bytes is not None
    exposed = best.exposed_communication_fraction
    kinds = sorted((kind for kind in exposed if exposed[kind] >= 5e-4), key=lambda k: -exposed[k])
    by_kind = ", ".join(f"{kind} {exposed[kind]:.1%}" for kind in kinds)
    spare = (USABLE - best.memory_fraction) * chip.memory_bytes / 2**30
    sentences = [
        f"Fastest of {fitting:,} layouts that fit, of {considered:,} considered: {describe(best)}.",
        f"A step takes {best.step_seconds:.3g} s: {format_count(best.tokens_per_second)} tokens/s, "
        f"MFU {best.mfu:.1%} ({best.mfu_low:.1%} to {best.mfu_high:.1%}), HFU {best.hfu:.1%}.",
        *(f"{text[0].upper()}{text[1:]}." for text in caveats),
        f"The pipeline's bubble takes {best.bubble_fraction:.1%} of it: "
        f"{_passes(best)} beside the {best.n_micro_batches} of its micro-batches."
        if best.pp > 1
        else "There is no pipeline, so no bubble.",
        f"Communication that nothing hides takes {sum(exposed.values()):.1%}"
        + (f": {by_kind}." if by_kind else "."),
        f"Recomputation takes {best.recompute_fraction:.1%}."
        if best.recompute_fraction
        else "Nothing is computed again.",
        f"The fullest device fills {best.memory_fraction:.0%} of its memory, {spare:.1f} GiB under "
        f"the limit of {USABLE:.0%}.",
    ]
    if len(ranked) > 1:
        sentences.append(_why_not(best, ranked[1]))
    return " ".join(sentences)


def _passes(layout: RankedLayout) -> str:
    """The bubble in passes of a stage: (p - 1) / v."""
    v = f" / {layout.virtual_stages}" if layout.virtual_stages > 1 else ""
    return f"{layout.pp - 1}{v} passes of a stage"


def _why_not(best: RankedLayout, other: RankedLayout) -> str:
    """What costs the runner-up most, by the model's own seconds."""
    slower = best.model_mfu / other.model_mfu - 1
    costs, its = _seconds(best), _seconds(other)
    worst = max(costs, key=lambda name: its[name] - costs[name])
    if slower < 5e-4:
        return f"The next, {describe(other)}, is as fast."
    text = f"The next, {describe(other)}, is {slower:.1%} slower"
    text += f": its {worst} take {its[worst]:.3g} s instead of {costs[worst]:.3g} s"
    if slower < 0.05:
        text += "; the prediction is not that exact, so try both"
    return text + "."


def _seconds(layout: RankedLayout) -> dict[str, float]:
    """Where the step goes, in words."""
    parts = {
        "bubbles": layout.bubble_fraction,
        "recomputed passes": layout.recompute_fraction,
        **{
            f"exposed {kind} collectives" if kind != "pipeline" else "exposed pipeline sends": share
            for kind, share in layout.exposed_communication_fraction.items()
        },
    }
    parts["kernels"] = 1 - sum(parts.values())
    seconds = layout.step_seconds * layout.mfu / layout.model_mfu
    return {name: share * seconds for name, share in parts.items()}
