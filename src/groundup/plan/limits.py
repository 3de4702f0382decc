"""What a plan may be asked about: sizes that are positive, finite and of this world.

The limits are far outside anything built (the largest published run has some 1e13 tokens and 1e26
FLOPs); beyond them a number is a slip of the keyboard and every law a fantasy.
"""

from __future__ import annotations

import math

from groundup.errors import InputError
from groundup.units import format_count

PARAMETERS = (1e3, 1e16)
TOKENS = (1e3, 1e20)
FLOPS = (1e7, 1e37)


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
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} is {value:g}, but must be a number greater than zero", where=name)
    return value


def require_count(value: int, name: str) -> int:
    """``value``, if it is a whole number of at least 1.

    Raises:
        InputError: it is not.
    """
    if isinstance(value, bool) or value != int(value) or value < 1:
        raise InputError(f"{name} is {value}, but must be a whole number of at least 1", where=name)
    return int(value)


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
