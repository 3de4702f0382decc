"""What comes back from an endpoint: an answer, a complaint, a wish to wait."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

MOST_TOKENS = 10**9  # of one answer that are believed
LONGEST_WAIT_SECONDS = 600.0  # that a server is granted
LONGEST_COMPLAINT = 200  # characters


@dataclass(frozen=True)
class Reply:
    """One answer, and what it took."""

    text: str
    finish_reason: str | None  # "stop", or "length" where it was cut off
    input_tokens: int | None  # as the endpoint counts; None where it does not say
    output_tokens: int | None
    seconds: float  # of the attempt that succeeded, waiting for the rate limit left out
    attempts: int


def read_reply(content: bytes, seconds: float, attempts: int) -> Reply:
    """The answer in a chat completion.

    Raises:
        ValueError: it is none.
    """
    try:
        found = json.loads(content)
        choice = found["choices"][0]
        text = choice["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__} {error}") from error
    if text is None:  # a model may stop, or be stopped, before its first word
        text = ""
    if not isinstance(text, str):
        raise ValueError("its content is no text")
    reason = choice.get("finish_reason")
    usage = found.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    return Reply(
        text,
        reason[:40] if isinstance(reason, str) else None,
        _count(counts.get("prompt_tokens")),
        _count(counts.get("completion_tokens")),
        seconds,
        attempts,
    )


def complaint(content: bytes) -> str:
    """What an error's body says, in one line of any length."""
    text = content.decode("utf-8", "replace")
    try:
        found = json.loads(text)
        error = found.get("error", found)
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, AttributeError, RecursionError):
        pass
    return " ".join(text.split())


def cut(text: str) -> str:
    """``text`` at a length that can be shown."""
    return text if len(text) <= LONGEST_COMPLAINT else f"{text[: LONGEST_COMPLAINT - 1]}…"


def retry_after(value: str) -> float | None:
    """Seconds of a ``Retry-After`` header, given as a number or a date; None where there is none.

    Source: RFC 9110, section 10.2.3.
    """
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        seconds = max((date - datetime.now(UTC)).total_seconds(), 0.0)
    return min(seconds, LONGEST_WAIT_SECONDS) if seconds >= 0 else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None
