"""What a plan may be asked about: sizes that are positive, finite and of this world.

The limits are far outside anything built (the largest published run has some 1e13 tokens and 1e26
FLOPs); beyond them a number is a slip of the keyboard and every law a fantasy.
"""

from __future__ import annotations

import math
import numbers

from groundup.errors import InputError
from groundup.units import format_count

PARAMETERS = (1e3, 1e16)
TOKENS = (1e3, 1e20)
FLOPS = (1e7, 1e37)
CHIPS = 10_000_000  # the largest clusters have some 1e5
CHIP_HOURS = 1e12  # a million chips for a century
CONTEXT = 1_000_000_000  # tokens of a sequence; models read some 1e7
GUESSING_LOSS = 20 * math.log(2)  # nats of guessing one of 2^20 tokens; no vocabulary has more


def require_parameters(value: float, name: str = "params") -> float:
    """``value``, a number of parameters.

    Raises:
        InputError: it is not positive, not finite or absurd.
    """
    return _require(value, name, PARAMETERS)


def require_tokens(value: float, name: str = "tokens") -> float:
    """``value``, a number of tokens; see `require_parameters`."""
    return _require(value, name, TOKENS)


def require_flops(value: float, name: str = "flops") -> float:
    """``value``, a number of floating-point operations; see `require_parameters`."""
    return _require(value, name, FLOPS)


def require_positive(value: float, name: str) -> float:
    """``value``, if it is finite and greater than zero.

    Raises:
        InputError: it is not.
    """
    _require_number(value, name)
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} is {value:g}, but must be a number greater than zero", where=name)
    return value


def require_count(value: int, name: str) -> int:
    """``value``, if it is a whole number of at least 1.

    Raises:
        InputError: it is not.
    """
    _require_number(value, name)
    if not math.isfinite(value) or value != int(value) or value < 1:
        raise InputError(f"{name} is {value}, but must be a whole number of at least 1", where=name)
    return int(value)


def require_chips(value: int, name: str = "n_chips") -> int:
    """``value``, a number of chips; see `require_count`.

    Raises:
        InputError: it is no whole number of at least 1, or absurd.
    """
    return _require_at_most(value, name, CHIPS)


def require_chip_hours(value: float, name: str = "chip-hours") -> float:
    """``value``, chips × hours.

    Raises:
        InputError: it is not positive, not finite or absurd.
    """
    return require_up_to(value, name, CHIP_HOURS)


def require_up_to(value: float, name: str, most: float) -> float:
    """``value``, if it is greater than zero and at most ``most``.

    Raises:
        InputError: it is not.
    """
    require_positive(value, name)
    if value > most:
        raise InputError(
            f"{name} is {value:g}, more than can be planned ({most:g})",
            where=name,
            fix="check the unit",
        )
    return value


def require_context(value: int, name: str = "context_length") -> int:
    """``value``, the tokens of a sequence; see `require_chips`."""
    return _require_at_most(value, name, CONTEXT)


def require_planned(value: float, name: str, law: str) -> float:
    """``value``, an answer of ``law`` for its params, tokens or flops.

    Raises:
        InputError: it is absurd: what was asked lies beyond what any law can say.
    """
    low, high = {"params": PARAMETERS, "tokens": TOKENS, "flops": FLOPS}[name]
    if not low <= value <= high:
        raise InputError(
            f"{law} answers with {value:.3g} {name}, outside what can be planned "
            f"({low:.0e} to {high:.0e})",
            where=name,
            fix="ask within what is built: 1e17 to 1e27 FLOPs",
        )
    return value


def _require_number(value: object, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InputError(
            f"{name} is {value!r}, which is no number", where=name, fix="write 7e9 for 7B"
        )


def _require_at_most(value: int, name: str, most: int) -> int:
    count = require_count(value, name)
    if count > most:
        raise InputError(
            f"{name} is {format_count(count)}, more than can be planned ({most:,})", where=name
        )
    return count


def _require(value: float, name: str, limits: tuple[float, float]) -> float:
    require_positive(value, name)
    low, high = limits
    if not low <= value <= high:
        raise InputError(
            f"{name} is {format_count(value)}, outside what can be planned "
            f"({low:.0e} to {high:.0e})",
            where=name,
            fix="check the unit: 7B is 7e9",
        )
    return value
