"""Whether a worker would compute the same gradients: its run, its tokens and its code."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import groundup
from groundup.train.fingerprint import compare, written

PROTOCOL = 1
COMPUTING = ("architecture", "model", "tokens", "train")  # packages that gradients come from


@cache
def code_hash() -> str:
    """SHA-256 over the source of all that gradients depend on."""
    root, digest = Path(groundup.__file__).parent, hashlib.sha256()
    for package in COMPUTING:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root)} ".encode() + path.read_bytes())
    return digest.hexdigest()


def hello(name: str, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """What a worker says first."""
    return {
        "kind": "hello",
        "name": name,
        "protocol": PROTOCOL,
        "code": code_hash(),
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
    found = compare(fingerprint, theirs)
    differing = [written(each) for each in (*found.structural, *found.refused)]
    if differing:
        return f"its run is another (the server's → its own): {'; '.join(differing)}"
    if said.get("code") != code_hash():
        codes = f"{code_hash()[:12]} → {str(said.get('code'))[:12]}"
        return f"its code is another (the server's → its own): {codes}"
    return ""
