"""What a trial asks: candidates × prompts × numbers of shots × items, each request with its hash.

What a request is, is its hash (endpoint, model, chat, length, temperature): a changed prompt asks
anew, an unchanged one never.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from groundup.decide.endpoint_address import base_url
from groundup.decide.examples import Item, Prompt, messages
from groundup.decide.marking import Match, numbers
from groundup.decide.trial_candidates import TrialCandidate, require_names
from groundup.decide.trial_journal import Answer
from groundup.errors import ConfigError
from groundup.files import hash_json

TEMPLATE_TOKENS = 16  # a chat's own tokens per message, beyond its text: generous
MOST_AT_A_TIME = 256  # requests: more is no trial but an attack


@dataclass(frozen=True)
class Settings:
    """How the trial asks.

    Raises:
        ConfigError: a number that makes no sense.
    """

    max_tokens: int = 64
    match: Match = "exact"
    max_usd: float | None = None
    concurrency: int = 4
    attempts: int = 6
    timeout_seconds: float = 60.0  # for a whole answer
    retry_refused: bool = False  # ask again what an endpoint has refused

    def __post_init__(self) -> None:
        for name in ("max_tokens", "concurrency", "attempts"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be at least 1")
        if self.concurrency > MOST_AT_A_TIME:
            raise ConfigError(
                f"concurrency is {self.concurrency}, but must be at most {MOST_AT_A_TIME}"
            )
        for name in ("timeout_seconds", "max_usd"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} is {value}, but must be a number above 0")


@dataclass(frozen=True)
class Try:
    """One candidate with one prompt and one number of shots."""

    candidate: TrialCandidate
    prompt: Prompt
    n_shots: int


@dataclass(frozen=True)
class Request:
    """One question of one try, and its identity."""

    candidate: TrialCandidate
    chat: list[dict[str, str]]
    max_tokens: int

    @cached_property
    def key(self) -> str:
        """The hash of all that the answer depends on."""
        one = self.candidate
        # How the endpoint wants length to be called changes no answer.
        return hash_json([base_url(one), one.model, self.chat, self.max_tokens, one.temperature])

    @cached_property
    def most_usd(self) -> float:
        """What it can cost at most: no token is shorter than a byte of text."""
        size = sum(len(turn["content"].encode()) + TEMPLATE_TOKENS for turn in self.chat)
        return self.candidate.usd(size, self.max_tokens) or 0.0

    def usd(self, answer: Answer) -> float | None:
        """The price of an answer; its worst case where the endpoint does not count tokens."""
        if answer.reply is None or not self.candidate.is_priced:
            return None
        if answer.input_tokens is None or answer.output_tokens is None:
            return self.most_usd
        return self.candidate.usd(answer.input_tokens, answer.output_tokens)


@dataclass(frozen=True)
class Plan:
    """A trial before it is asked."""

    tries: list[Try]
    items: list[Item]  # to be marked, the same of every try
    requests: list[list[Request]]  # of every try, for every item
    settings: Settings

    @cached_property
    def distinct(self) -> dict[str, Request]:
        """Every request once, by key."""
        return {request.key: request for request in chain.from_iterable(self.requests)}


def plan_trial(
    items: Sequence[Item],
    candidates: Sequence[TrialCandidate],
    prompts: Sequence[Prompt],
    shots: Sequence[int],
    settings: Settings,
    examples: Sequence[Item] | None = None,
) -> Plan:
    """What is to be asked.

    Args:
        items: the evaluation.
        candidates: models to try, with different names.
        prompts: instructions to try, with different names, in the order of effort.
        shots: numbers of worked examples to try.
        settings: how to ask.
        examples: where shots are taken from, in order; None sets the first items of the evaluation
            aside for all tries, so that every try is marked on the same items.

    Raises:
        ConfigError: nothing to try, names that are not different, not enough examples, an item
            that no reply can answer, or a cap without prices.
    """
    require_names(list(candidates))
    names = [prompt.name for prompt in prompts]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise ConfigError(
            f"two prompts are called {', '.join(map(repr, twice))}" if twice else "no prompt to try"
        )
    scored, shown = set_aside(items, shots, examples)
    _require_numbers(scored, settings)
    _require_prices(candidates, settings)
    tries = [
        Try(candidate, prompt, n)
        for candidate in candidates
        for prompt in prompts
        for n in sorted(set(shots))
    ]
    requests = [
        [
            Request(one.candidate, messages(one.prompt, item, shown[: one.n_shots]),
                    settings.max_tokens)
            for item in scored
        ]
        for one in tries
    ]  # fmt: skip
    return Plan(tries, scored, requests, settings)


def set_aside(
    items: Sequence[Item], shots: Sequence[int], examples: Sequence[Item] | None
) -> tuple[list[Item], list[Item]]:
    """The items to mark, and the examples to show.

    Raises:
        ConfigError: no number of shots, a negative one, or more than there are examples.
    """
    if not shots or min(shots) < 0:
        raise ConfigError(f"shots are {list(shots)}, but must be numbers of at least 0")
    most = max(shots)
    if examples is None:
        scored, shown = list(items[most:]), list(items[:most])
    else:
        ids = {item.question for item in examples}
        scored, shown = [item for item in items if item.question not in ids], list(examples)
    if len(shown) < most or not scored:
        raise ConfigError(
            f"{most} shots need {most} examples and something left to mark; there are "
            f"{len(shown)} examples and {len(scored)} items",
            fix="give fewer shots, or more examples",
        )
    return scored, shown


def _require_numbers(items: Sequence[Item], settings: Settings) -> None:
    if settings.match != "number":
        return
    for item in items:
        if not item.choices and not any(map(numbers, item.expected)):
            raise ConfigError(
                f"the last number is to be compared, but {item.expected[0]!r} holds none",
                where=f"item {item.id}",
                fix="give --match exact or contains, or a number as what is expected",
            )


def _require_prices(candidates: Sequence[TrialCandidate], settings: Settings) -> None:
    unpriced = [candidate.name for candidate in candidates if not candidate.is_priced]
    if settings.max_usd is not None and unpriced:
        raise ConfigError(
            f"a cap on the cost needs prices, and {unpriced[0]!r} has none",
            fix="give usd_per_million_input and usd_per_million_output (0 for your own server)",
        )
