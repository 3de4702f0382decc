"""One OpenAI-compatible endpoint, asked patiently: rate limits, retries, dialects.

A reply that says "later" (429, 408, 5xx), a dropped connection, a time-out and malformed JSON are
asked again, after the pause the server names or one that doubles. What can never succeed (401, 403,
404) ends the candidate at once; what the server finds wrong with one request (400, 413, 422) is
recorded for that request. A model that knows no ``max_tokens`` or no ``temperature`` (newer ones
do not) is asked once more without, and from then on like that.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx2

from groundup.decide.endpoint_address import chat_url, headers, without_key
from groundup.decide.endpoint_replies import Reply, complaint, cut, read_reply, retry_after
from groundup.decide.trial_candidates import LengthParameter, TrialCandidate
from groundup.errors import InputError
from groundup.progress import say
from groundup.tables import printable

LATER = {408, 409, 425, 429, 500, 502, 503, 504, 529}  # asked again
REFUSED = {400, 413, 422}  # this request alone is wrong
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 60.0
WORTH_SAYING_SECONDS = 5.0  # a wait that somebody looking on should know of
LARGEST_REPLY_BYTES = 8 * 2**20  # of one answer; a chat completion is kilobytes

Message = Mapping[str, str]


class RequestRefused(Exception):
    """The endpoint will never answer this one request; the text says what it objected to."""


@dataclass(frozen=True)
class Dialect:
    """How length and temperature are named."""

    length: LengthParameter
    temperature: float | None  # None: left out

    def __str__(self) -> str:
        known = (
            "no temperature" if self.temperature is None else f"temperature {self.temperature:g}"
        )
        return f"{self.length} and {known}"

    def body(self, max_tokens: int) -> dict[str, Any]:
        """The fields of a request."""
        found: dict[str, Any] = {self.length: max_tokens}
        return found if self.temperature is None else found | {"temperature": self.temperature}

    def without(self, said: str) -> Dialect | None:
        """Another one, where a complaint names a parameter of this one."""
        if re.search(rf"(?<!\w){self.length}(?!\w)", said):
            other: LengthParameter = (
                "max_completion_tokens" if self.length == "max_tokens" else "max_tokens"
            )
            return replace(self, length=other)
        if self.temperature is not None and "temperature" in said:
            return replace(self, temperature=None)
        return None


class Pace:
    """No more than so many requests a minute, and none while the server asks for a pause."""

    def __init__(self, requests_per_minute: float | None) -> None:
        self.interval = 60 / requests_per_minute if requests_per_minute else 0.0
        self.next = 0.0

    async def wait(self) -> None:
        """Wait for this request's turn."""
        while (left := self.next - time.monotonic()) > 0:
            await asyncio.sleep(left)
        self.next = time.monotonic() + self.interval

    def pause(self, seconds: float, name: str) -> None:
        """Let nobody begin within ``seconds``."""
        until = time.monotonic() + seconds
        if seconds >= WORTH_SAYING_SECONDS and until > self.next + 1:
            say(f"{name}: waiting {seconds:.0f} s, as the server asks")
        self.next = max(self.next, until)


class Endpoint:
    """A candidate's endpoint, open.

    Args:
        candidate: where it is and what it is called there.
        timeout_seconds: for a whole answer, after which an attempt is given up.
        attempts: of each request, the first one included.

    Raises:
        ConfigError: no usable address, or no key in the environment variable it names.
    """

    def __init__(self, candidate: TrialCandidate, *, timeout_seconds: float, attempts: int) -> None:
        self.candidate, self.attempts = candidate, attempts
        self.timeout_seconds = timeout_seconds
        self.url = chat_url(candidate)
        self.pace = Pace(candidate.requests_per_minute)
        self.dialect = self.configured = Dialect(
            candidate.max_tokens_parameter, candidate.temperature
        )
        self.client = httpx2.AsyncClient(
            headers=headers(candidate),
            timeout=None,  # one deadline for the whole attempt is kept in `_post`
            limits=httpx2.Limits(max_connections=None),
        )

    async def ask(self, messages: Sequence[Message], *, max_tokens: int, key: str) -> Reply:
        """The endpoint's answer to a chat.

        Args:
            messages: with ``role`` and ``content``.
            max_tokens: most tokens of the answer.
            key: the same for the same request: servers that know ``Idempotency-Key`` do not bill a
                request twice whose answer was lost.

        Raises:
            RequestRefused: the endpoint objects to this request.
            InputError: it refuses all of them, or still fails after the last attempt.
        """
        dialect, tried = self.dialect, {self.dialect}
        attempt, problem = 0, ""
        while attempt < self.attempts:
            attempt += 1
            await self.pace.wait()
            body = {
                "model": self.candidate.model,
                "messages": [dict(message) for message in messages],
                **dialect.body(max_tokens),
            }
            begin = time.perf_counter()
            try:
                status, back, content = await self._post(body, self._key(key, dialect))
            except TimeoutError:
                problem = f"no whole answer within {self.timeout_seconds:g} s"
                await self._back_off(attempt, {})
                continue
            except httpx2.RequestError as error:
                problem = self._shown(f"{type(error).__name__}: {error}")
                await self._back_off(attempt, {})
                continue
            seconds = time.perf_counter() - begin
            if status == 200:
                try:
                    reply = read_reply(content, seconds, attempt)
                except ValueError as error:
                    problem = self._shown(f"malformed answer: {error}")
                    await self._back_off(attempt, {})
                    continue
                if dialect != self.dialect:
                    self.dialect = dialect
                    say(f"{self.candidate.name}: asked with {dialect}, as the server wants it")
                text = without_key(self.candidate, reply.text, is_reply=True)
                return replace(reply, text=text)
            said = complaint(content)
            problem = self._shown(f"HTTP {status}: {said}" if said else f"HTTP {status}")
            if status in REFUSED:
                other = dialect.without(said)
                if other is None or other in tried:
                    raise RequestRefused(problem)
                dialect, attempt = other, attempt - 1
                tried.add(other)
                continue
            if status not in LATER:
                if 300 <= status < 400:
                    problem = self._shown(f"HTTP {status}, a way to {back.get('location', '?')}")
                raise InputError(
                    f"the endpoint of {self.candidate.name!r} refuses: {problem}",
                    where=self.url,
                    fix=_advice(status, self.candidate),
                )
            await self._back_off(attempt, back)
        raise InputError(
            f"no answer from {self.candidate.name!r} after {_times(self.attempts)}: {problem}",
            where=self.url,
            fix="the same command asks only what is not answered yet, when the endpoint is back",
        )

    async def close(self) -> None:
        """Let go of the connections."""
        await self.client.aclose()

    async def _post(
        self, body: Mapping[str, Any], key: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and content; at most `LARGEST_REPLY_BYTES` are read.

        Raises:
            TimeoutError: not whole within the time, however it came.
        """
        told = {"Idempotency-Key": key}
        async with (
            asyncio.timeout(self.timeout_seconds),
            self.client.stream("POST", self.url, json=body, headers=told) as response,
        ):
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > LARGEST_REPLY_BYTES:
                    break
            return response.status_code, response.headers, bytes(content)

    def _key(self, key: str, dialect: Dialect) -> str:
        """One key for one body: a server may keep what it said to a key."""
        return key if dialect == self.configured else f"{key} {dialect}".replace(" ", "-")

    async def _back_off(self, attempt: int, back: Mapping[str, str]) -> None:
        """Wait as long as the server says, or twice as long as the last time with some chance."""
        if attempt == self.attempts:
            return
        pause = retry_after(back.get("retry-after", ""))
        if pause is None:
            longest = min(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1), LONGEST_PAUSE_SECONDS)
            pause = longest * random.uniform(0.5, 1)
        else:
            self.pace.pause(pause, self.candidate.name)  # holds for every request of ours
        await asyncio.sleep(pause)

    def _shown(self, text: str) -> str:
        """In one line, without the key (which is taken out before the line is cut)."""
        return cut(printable(without_key(self.candidate, " ".join(text.split()))))


def _times(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"


def _advice(status: int, candidate: TrialCandidate) -> str:
    if status in (401, 403):
        if candidate.api_key_env is None:
            return "it wants a key: give the candidate an api_key_env"
        return f"check the key in {candidate.api_key_env} and what it may use"
    if status == 404:
        return f"check the address (it should end in /v1) and the model's name {candidate.model!r}"
    if 300 <= status < 400:
        return "give the address it leads to, if you trust it: a key is not sent after a redirect"
    return "the endpoint is no OpenAI-compatible one, or wants something else"
