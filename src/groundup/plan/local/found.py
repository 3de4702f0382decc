"""What a finder has measured, in the plan: critical batch size, rate, micro-batch. No torch.

With a batch of B rows, and a critical one of C, training to a given loss takes 1 + C/B times the
fewest steps and 1 + B/C times the fewest tokens (McCandlish et al. 2018, equations 2.4 and 2.7,
averaged over training; C grows while the loss falls). At B = C both are twice the least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from groundup.units import format_bytes, format_count

FAR = 2.0  # a batch further than this factor from the critical one is worth a word
NAMES = {
    "batch_size": "micro-batch", "learning_rate": "learning rate",
    "noise_scale": "critical batch size",
}  # fmt: skip


def steps_factor(batch_rows: float, critical_rows: float) -> float:
    """Steps to a given loss over those of an endless batch."""
    return 1 + critical_rows / batch_rows


def tokens_factor(batch_rows: float, critical_rows: float) -> float:
    """Tokens to a given loss over those of the smallest batch."""
    return 1 + batch_rows / critical_rows


def batch_advice(batch_rows: int, critical_rows: float | None) -> str:
    """What the critical batch size says of the chosen one, in a sentence.

    Args:
        critical_rows: None where the gradient did not show through the noise.
    """
    if critical_rows is None:
        return (
            "the gradient did not show through the noise: the critical batch is far above "
            f"{batch_rows} rows; measure more batches to see where"
        )
    steps, tokens = (
        f"{factor(batch_rows, critical_rows):.2f}" for factor in (steps_factor, tokens_factor)
    )
    says = f"{steps} times the fewest steps and {tokens} times the fewest tokens"
    if batch_rows * FAR < critical_rows:
        return (
            f"{says}; a larger batch costs few tokens, and saves steps where more devices share it"
        )
    if batch_rows > FAR * critical_rows:
        return f"{says}; a smaller batch saves tokens, and costs few steps"
    return f"{says}; near the best of both"


def found_table(
    found: Mapping[str, Any], choice: Mapping[str, Any]
) -> tuple[str, list[str], list[list[str]]]:
    """Title, columns and rows: each finding beside what the plan makes of it.

    Args:
        found: what the plan keeps under that name: ``findings`` by kind, the values ``used``, and
            why others are ``unused`` or ``ignored``, by kind.
        choice: the plan's.
    """
    rows = []
    for kind, name in NAMES.items():
        finding = found["findings"].get(kind)
        if finding is None:
            continue
        match kind:
            case "batch_size":
                value = f"{finding['suggested']['micro_batch_size']} rows"
                value += f" ({finding['tokens_per_second']:,.0f} tokens/s, "
                value += f"{format_bytes(finding['peak_memory_bytes'])})"
                says = _use(found, kind, finding["suggested"])
            case "learning_rate":
                rates = finding["suggested"]
                if not rates:
                    rows.append([name, "none", "the sweep did not find one"])
                    continue
                value = ", ".join(f"{rate:.3g}" for rate in rates.values())
                says = _use(found, kind, rates)
            case _:
                value = interval_text(finding)
                says = f"batch_size {choice['batch_size']}: " + batch_advice(
                    choice["batch_size"], finding["rows"]
                )
        rows.append([name, value, says])
    rows += [[NAMES[kind], "", f"not used: {why}"] for kind, why in found["ignored"].items()]
    return "Found by measurement", ["quantity", "found", "in this plan"], rows


def interval_text(finding: Mapping[str, Any]) -> str:
    """``41 rows (30 to 62), 41.0k tokens``."""
    if finding["rows"] is None:
        return "too large to see"
    text = f"{finding['rows']:,.1f} rows"
    if finding["interval"] is not None:
        low, high = finding["interval"]
        text += f" ({_bound(low)} to {_bound(high)})"
    return f"{text}, {format_count(finding['tokens'])} tokens"


def _bound(value: float | None) -> str:
    return "more" if value is None else f"{value:,.1f}"


def _use(found: Mapping[str, Any], kind: str, suggested: Mapping[str, Any]) -> str:
    if kind in found["unused"]:
        return str(found["unused"][kind])
    taken = [f"{name} {found['used'][name]:.3g}" for name in suggested if name in found["used"]]
    return f"used: {', '.join(taken)}"


def found_notes(found: Mapping[str, Any], choice: Mapping[str, Any]) -> Sequence[str]:
    """The same as sentences."""
    _, _, rows = found_table(found, choice)
    return [f"{name}: {value + '; ' if value else ''}{says}" for name, value, says in rows]
