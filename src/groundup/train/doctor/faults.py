"""Sick nodes on purpose, so that anyone can see the doctor find them.

``GROUNDUP_DOCTOR_FAULT=gemm@node-b,slow@node-c``: on the host named, ``gemm`` (a wrong value in a
product), ``slow`` (a tenth of the speed), ``memory`` (a wrong bit), ``disk`` (a wrong byte),
``hang`` (the process stops for ever), ``absent`` (it never comes).
"""

from __future__ import annotations

import os

from groundup.errors import UserError

FAULTS = ("gemm", "slow", "memory", "disk", "hang", "absent")


def asked(fault: str, host: str) -> bool:
    """Whether ``fault`` is asked for on ``host``.

    Raises:
        UserError: GROUNDUP_DOCTOR_FAULT is no list of faults.
    """
    wanted = [word for word in os.environ.get("GROUNDUP_DOCTOR_FAULT", "").split(",") if word]
    pairs = [tuple(word.split("@", 1)) for word in wanted]
    for pair in pairs:
        if len(pair) != 2 or pair[0] not in FAULTS:
            raise UserError(
                f"GROUNDUP_DOCTOR_FAULT: {'@'.join(pair)!r} is no fault",
                fix=f"write FAULT@HOST with one of {', '.join(FAULTS)}, or unset it",
            )
    return (fault, host) in pairs
