"""Where a candidate is and what it is told: address and key, from the environment.

A key is sent to nobody but the endpoint, in the clear only to this very machine, and is taken out
of everything the endpoint says before it is shown or written.
"""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import quote, urlsplit

import httpx2

from groundup.decide.trial_candidates import TrialCandidate
from groundup.errors import ConfigError
from groundup.tables import printable

SURELY_SECRET = 12  # characters; a shorter one ("EMPTY") may stand in an honest reply


def base_url(candidate: TrialCandidate) -> str:
    """The candidate's address: as given, or from the environment variable it names.

    Raises:
        ConfigError: there is none, it is no http address, or a key would travel in the clear.
    """
    where = f"candidate {candidate.name}"
    url = candidate.base_url or os.environ.get(candidate.base_url_env, "")
    if not url:
        raise ConfigError(
            f"no address for {candidate.name!r}: the variable {candidate.base_url_env} is not set",
            where=where,
            fix=f"export {candidate.base_url_env}=https://…/v1, or give the candidate a base_url",
        )
    if not _is_address(url):
        raise ConfigError(
            f"{printable(url)!r} is no http address", where=where, fix="write https://…/v1"
        )
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ConfigError(
            "the address holds a password", where=where, fix="put the key into api_key_env"
        )
    host = parts.hostname or ""
    if parts.scheme == "http" and api_key(candidate) and not _is_this_machine(host):
        raise ConfigError(
            f"the key of {candidate.name!r} would be sent unencrypted to {host}",
            where=where,
            fix="use https://, or send no key: unset it, or give the candidate api_key_env: null",
        )
    return url


def chat_url(candidate: TrialCandidate) -> str:
    """Where its chats are answered.

    Raises:
        ConfigError: as `base_url`.
    """
    parts = urlsplit(base_url(candidate))
    return parts._replace(path=f"{parts.path.rstrip('/')}/chat/completions", fragment="").geturl()


def headers(candidate: TrialCandidate) -> dict[str, str]:
    """What every request carries.

    Raises:
        ConfigError: no key for an encrypted address, or one that no header can carry.
    """
    key, parts = api_key(candidate), urlsplit(base_url(candidate))
    needed = parts.scheme == "https" and candidate.api_key_env is not None
    if key is None and needed and not _is_this_machine(parts.hostname or ""):
        raise ConfigError(
            f"no key for {candidate.name!r}: the variable {candidate.api_key_env} is not set",
            where=f"candidate {candidate.name}",
            fix=f"export {candidate.api_key_env}=…, or give the candidate api_key_env: null",
        )
    if key is not None and not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"the key in {candidate.api_key_env} holds characters that no header can carry",
            where=f"candidate {candidate.name}",
        )
    return {"Authorization": f"Bearer {key}"} if key else {}


def api_key(candidate: TrialCandidate) -> str | None:
    """The key, or None."""
    if candidate.api_key_env is None:
        return None
    return os.environ.get(candidate.api_key_env, "").strip() or None


def without_key(candidate: TrialCandidate, text: str, *, is_reply: bool = False) -> str:
    """``text`` with the key taken out; of a reply only where it can be nothing else."""
    key = api_key(candidate)
    if key is None or (is_reply and len(key) < SURELY_SECRET):
        return text
    return text.replace(key, "[key]").replace(quote(key, safe=""), "[key]")


def _is_address(url: str) -> bool:
    if not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        httpx2.URL(url)  # refuses what it could not ask
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (ValueError, httpx2.InvalidURL):
        return False


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
