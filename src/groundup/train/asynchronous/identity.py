"""Whether a worker would compute the same gradients: its run, its tokens and its code."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from groundup.train.agreement import code_hash
from groundup.train.fingerprint import compare, written

PROTOCOL = 1


@cache
def own_code() -> str:
    """`code_hash` as it was when first asked: the files may change while a server runs."""
    return code_hash()


def hello(name: str, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """What a worker says first."""
    return {
        "kind": "hello",
        "name": name,
        "protocol": PROTOCOL,
        "code": own_code(),
        "fingerprint": fingerprint,
    }


def refusal(said: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> str:
    """Why a worker that says this may not work on the run of ``fingerprint``; empty: it may.

    How it rounds (another build, other threads) is its own business, as between any two machines.
    """
    if said.get("protocol") != PROTOCOL:
        return f"it speaks protocol {said.get('protocol')!r}, the server {PROTOCOL}"
    theirs = said.get("fingerprint")
    if not isinstance(theirs, dict):
        return "it says of no run what it would compute"
    try:
        found = compare(fingerprint, theirs)
    except (AttributeError, TypeError, RecursionError):
        return "what it says of its run is malformed"
    differing = [written(each) for each in (*found.structural, *found.refused)]
    if differing:
        return f"its run is another (the server's → its own): {'; '.join(differing)}"
    if said.get("code") != own_code():
        codes = f"{own_code()[:12]} → {str(said.get('code'))[:12]}"
        return f"its code is another (the server's → its own): {codes}"
    return ""
