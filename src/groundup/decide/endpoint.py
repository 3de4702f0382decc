"""One OpenAI-compatible endpoint, asked patiently: rate limits, retries, and no secret in a file.

A reply that says "later" (429, 408, 5xx), a dropped connection, a time-out and malformed JSON are
asked again, after the pause the server names or one that doubles; what can never succeed (401, 403,
404) ends the trial at once, and what the server finds wrong with one request (400, 413, 422) is
recorded for that request. Keys come from the environment and are sent to nobody but the endpoint:
in the clear only to this very machine.
"""

from __future__ import annotations

import ipaddress
import json
import os
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2

from groundup.decide.trial_candidates import TrialCandidate
from groundup.errors import ConfigError, InputError, Interrupted

LATER = {408, 409, 425, 429, 500, 502, 503, 504, 529}  # asked again
REFUSED = {400, 413, 422}  # this request alone is wrong
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 60.0
LARGEST_REPLY_BYTES = 8 * 2**20  # of one answer; a chat completion is kilobytes

Message = Mapping[str, str]


@dataclass(frozen=True)
class Reply:
    """One answer, and what it took."""

    text: str
    input_tokens: int | None  # as the endpoint counts; None where it does not say
    output_tokens: int | None
    seconds: float  # of the attempt that succeeded, waiting for the rate limit left out
    attempts: int


class RequestRefused(Exception):
    """The endpoint will never answer this one request; the text says what it objected to."""


class Pace:
    """No more than so many requests a minute, and none while the server asks for a pause."""

    def __init__(self, requests_per_minute: float | None, stop: threading.Event) -> None:
        self.interval = 60 / requests_per_minute if requests_per_minute else 0.0
        self.stop, self.next, self.lock = stop, 0.0, threading.Lock()

    def wait(self) -> None:
        """Wait for this request's turn.

        Raises:
            Interrupted: the trial is being stopped.
        """
        while True:
            with self.lock:
                left = self.next - time.monotonic()
                if left <= 0:
                    self.next = time.monotonic() + self.interval
                    break
            self.sleep(left)
        self.sleep(0)

    def pause(self, seconds: float) -> None:
        """Let nobody begin within ``seconds``."""
        with self.lock:
            self.next = max(self.next, time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """Sleep, unless the trial is stopped.

        Raises:
            Interrupted: it is.
        """
        if self.stop.wait(max(seconds, 0)):
            raise Interrupted("the trial was stopped")


class Endpoint:
    """A candidate's endpoint, open.

    Args:
        candidate: where it is and what it is called there.
        timeout_seconds: without a byte, after which an attempt is given up.
        attempts: of each request, the first one included.
        stop: set when the trial is to end.

    Raises:
        ConfigError: no usable address, or no key in the environment variable it names.
    """

    def __init__(
        self,
        candidate: TrialCandidate,
        *,
        timeout_seconds: float,
        attempts: int,
        stop: threading.Event,
    ) -> None:
        self.candidate, self.attempts = candidate, attempts
        self.url = f"{base_url(candidate).rstrip('/')}/chat/completions"
        self.pace = Pace(candidate.requests_per_minute, stop)
        self.client = httpx2.Client(
            headers=_headers(candidate, self.url), timeout=httpx2.Timeout(timeout_seconds)
        )

    def ask(self, messages: Sequence[Message], *, max_tokens: int, key: str) -> Reply:
        """The endpoint's answer to a chat, at temperature 0.

        Args:
            messages: with ``role`` and ``content``.
            max_tokens: most tokens of the answer.
            key: the same for the same request: servers that know ``Idempotency-Key`` do not bill a
                request twice whose answer was lost.

        Raises:
            RequestRefused: the endpoint objects to this request.
            InputError: it refuses all of them, or still fails after the last attempt.
            Interrupted: the trial is being stopped.
        """
        body = {
            "model": self.candidate.model,
            "messages": [dict(message) for message in messages],
            "max_tokens": max_tokens,
            "temperature": 0,
        }
        problem = ""
        for attempt in range(1, self.attempts + 1):
            self.pace.wait()
            begin = time.perf_counter()
            try:
                status, headers, content = self._post(body, key)
            except httpx2.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
                self._back_off(attempt, {})
                continue
            seconds = time.perf_counter() - begin
            if status == 200:
                try:
                    return _read(content, seconds, attempt)
                except ValueError as error:
                    problem = f"malformed answer: {error}"
                    self._back_off(attempt, {})
                    continue
            problem = f"HTTP {status}: {_complaint(content)}"
            if status in REFUSED:
                raise RequestRefused(problem)
            if status not in LATER:
                raise InputError(
                    f"the endpoint of {self.candidate.name!r} refuses: {problem}",
                    where=self.url,
                    fix=_advice(status, self.candidate),
                )
            self._back_off(attempt, headers)
        raise InputError(
            f"no answer from {self.candidate.name!r} after {self.attempts} attempts: {problem}",
            where=self.url,
            fix="the same command asks only what is not answered yet, when the endpoint is back",
        )

    def close(self) -> None:
        """Let go of the connections."""
        self.client.close()

    def _post(self, body: Mapping[str, Any], key: str) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and content; at most `LARGEST_REPLY_BYTES` are read."""
        headers = {"Idempotency-Key": key}
        with self.client.stream("POST", self.url, json=body, headers=headers) as response:
            content = bytearray()
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > LARGEST_REPLY_BYTES:
                    break
            return response.status_code, response.headers, bytes(content)

    def _back_off(self, attempt: int, headers: Mapping[str, str]) -> None:
        """Wait as long as the server says, or twice as long as the last time with some chance."""
        if attempt == self.attempts:
            return
        pause = _retry_after(headers.get("retry-after", ""))
        if pause is None:
            longest = min(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1), LONGEST_PAUSE_SECONDS)
            pause = longest * random.uniform(0.5, 1)
        else:
            self.pace.pause(pause)  # its limit holds for every request of ours
        self.pace.sleep(pause)


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
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{url!r} is no http address", where=where, fix="write https://…/v1")
    if parts.username or parts.password:
        raise ConfigError(
            "the address holds a password", where=where, fix="put the key into api_key_env"
        )
    if parts.scheme == "http" and _api_key(candidate) and not _is_this_machine(parts.hostname):
        raise ConfigError(
            f"the key of {candidate.name!r} would be sent unencrypted to {parts.hostname}",
            where=where,
            fix="use https://, or unset the key",
        )
    return url


def _headers(candidate: TrialCandidate, url: str) -> dict[str, str]:
    key = _api_key(candidate)
    if key is None and not _is_this_machine(urlsplit(url).hostname or ""):
        raise ConfigError(
            f"no key for {candidate.name!r}: the variable {candidate.api_key_env} is not set",
            where=f"candidate {candidate.name}",
            fix=f"export {candidate.api_key_env}=…",
        )
    if key is not None and not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"the key in {candidate.api_key_env} holds characters that no header can carry",
            where=f"candidate {candidate.name}",
        )
    return {"Authorization": f"Bearer {key}"} if key else {}


def _api_key(candidate: TrialCandidate) -> str | None:
    return os.environ.get(candidate.api_key_env, "").strip() or None


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(content: bytes, seconds: float, attempts: int) -> Reply:
    """The answer in a chat completion.

    Raises:
        ValueError: it is none.
    """
    try:
        found = json.loads(content)
        text = found["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__} {error}") from error
    if text is None:  # a model may stop before its first word
        text = ""
    if not isinstance(text, str):
        raise ValueError("its content is no text")
    usage = found.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    return Reply(
        text,
        _count(counts.get("prompt_tokens")),
        _count(counts.get("completion_tokens")),
        seconds,
        attempts,
    )


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _complaint(content: bytes) -> str:
    """What an error's body says, in one line."""
    text = content.decode("utf-8", "replace")
    try:
        found = json.loads(text)
        error = found.get("error", found)
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, AttributeError, RecursionError):
        pass
    text = " ".join(text.split())
    return text if len(text) <= 200 else f"{text[:199]}…"


def _retry_after(value: str) -> float | None:
    """Seconds of a ``Retry-After`` header; None where there is none (or only a date)."""
    try:
        seconds = float(value)
    except ValueError:
        return None
    return min(seconds, 600.0) if seconds >= 0 else None


def _advice(status: int, candidate: TrialCandidate) -> str:
    if status in (401, 403):
        return f"check the key in {candidate.api_key_env} and what it may use"
    if status == 404:
        return f"check the address (it should end in /v1) and the model's name {candidate.model!r}"
    return "the endpoint is no OpenAI-compatible one, or wants something else"
