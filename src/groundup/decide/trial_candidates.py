"""Who is tried: models behind OpenAI-compatible endpoints, bought or served on this machine.

Addresses and keys come from environment variables, so that a file of candidates holds no secret.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from groundup.decide.yaml_file import located, read_file
from groundup.errors import ConfigError
from groundup.findings import check
from groundup.section import Section
from groundup.tables import printable
from groundup.yaml12 import dotted

LengthParameter = Literal["max_tokens", "max_completion_tokens"]


class TrialCandidate(Section):
    """One model at one endpoint."""

    name: str = Field(pattern=r"^[^\x00-\x1f]{1,80}$")
    """What the results call it."""
    model: str
    """What the endpoint calls it."""
    base_url: str | None = None
    """Address up to ``/v1``; null: from the environment variable ``base_url_env``."""
    base_url_env: str = "OPENAI_BASE_URL"
    """Environment variable with the address."""
    api_key_env: str | None = "OPENAI_API_KEY"
    """Environment variable with the key; null: none is sent. A server behind http:// may need
    none."""
    usd_per_million_input: float | None = Field(None, ge=0)
    """Price of a million input tokens; null: unknown."""
    usd_per_million_output: float | None = Field(None, ge=0)
    """Price of a million output tokens; null: unknown."""
    requests_per_minute: float | None = Field(None, gt=0)
    """Most requests begun in a minute; null: as many as are answered."""
    max_tokens_parameter: LengthParameter = "max_tokens"
    """What the endpoint calls the most tokens of an answer; the other name is tried by itself."""
    temperature: float | None = Field(0.0, ge=0, le=2)
    """0: the likeliest answer. Null: left out, as some models want it."""

    @property
    def is_priced(self) -> bool:
        """Whether both prices are known."""
        return self.usd_per_million_input is not None and self.usd_per_million_output is not None

    def usd(self, input_tokens: float, output_tokens: float) -> float | None:
        """US dollars of so many tokens; None without prices."""
        if self.usd_per_million_input is None or self.usd_per_million_output is None:
            return None
        return (
            input_tokens * self.usd_per_million_input + output_tokens * self.usd_per_million_output
        ) / 1e6


class CandidateFile(Section):
    """A file of candidates."""

    candidates: list[TrialCandidate] = Field(min_length=1)
    """At least one; names differ."""


def read_candidates(path: Path) -> list[TrialCandidate]:
    """The candidates of a YAML file.

    Raises:
        StorageError: it cannot be read.
        ConfigError: no such file, or everything that is wrong with it, each with its line.
    """
    document = read_file(path)
    raw = document.value if isinstance(document.value, dict) else {}
    checked, findings = check(CandidateFile, raw)
    problems = [*document.problems, *located(findings, document, path)]
    if problems or checked is None:
        raise ConfigError("not a file of candidates", problems=tuple(problems))
    require_names(checked.candidates)
    return checked.candidates


def named_candidate(name: str, requests_per_minute: float | None = None) -> TrialCandidate:
    """The model ``name`` at the endpoint of the environment.

    Raises:
        ConfigError: a name or rate that cannot be.
    """
    values = {"name": name, "model": name, "requests_per_minute": requests_per_minute}
    checked, findings = check(TrialCandidate, values)
    if checked is None:
        said = tuple(f"{dotted(key)}: {text}" for key, text in findings.items())
        raise ConfigError(f"no candidate {printable(name)!r}", problems=said)
    return checked


def require_names(candidates: list[TrialCandidate]) -> None:
    """Names are what results are told apart by.

    Raises:
        ConfigError: two candidates have one name.
    """
    names = [candidate.name for candidate in candidates]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"two candidates are called {', '.join(map(repr, twice))}")
