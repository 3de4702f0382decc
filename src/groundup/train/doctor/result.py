"""What the doctor finds: results, the nodes they belong to, and the verdict on all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

State = Literal["ok", "warn", "fail"]
WORSE: Mapping[State, int] = {"ok": 0, "warn": 1, "fail": 2}


@dataclass(frozen=True)
class Result:
    """One thing looked at on one node.

    Attributes:
        name: what, and of which device: ``speed bf16 cuda:0``.
        state: ``fail`` leaves the node out.
        value, unit: what was measured; None: not measured, and ``why`` says why not.
        expected: what it should be, in words.
        why: what is wrong, in words; empty where nothing is.
    """

    name: str
    state: State
    value: float | str | None = None
    unit: str = ""
    expected: str = ""
    why: str = ""

    def worse(self, state: State, why: str, expected: str | None = None) -> Self:
        """A copy with a worse state; a better one changes nothing."""
        if WORSE[state] <= WORSE[self.state]:
            return self
        return replace(self, state=state, why=why, expected=expected or self.expected)


def not_measured(name: str, why: str) -> Result:
    """A thing that cannot be looked at here: no fault of the node."""
    return Result(name, "ok", why=f"not measured: {why}")


@dataclass(frozen=True)
class Node:
    """One host with what its ranks found.

    Attributes:
        host: its name.
        ranks: of the processes that reported from it, or should have.
        results: of all of them.
        links: of each of its ranks to others: peer's host, latency in seconds, bytes per second.
    """

    host: str
    ranks: tuple[int, ...]
    results: tuple[Result, ...]
    links: tuple[Mapping[str, Any], ...] = ()

    @property
    def state(self) -> State:
        """The worst of its results."""
        return max((result.state for result in self.results), key=WORSE.__getitem__, default="ok")

    @property
    def reasons(self) -> list[str]:
        """Why it is left out."""
        return [f"{found.name}: {found.why}" for found in self.results if found.state == "fail"]

    def value(self, name: str) -> float | str | None:
        """The lowest number (or the first text) among the results that begin with ``name``."""
        found = [result.value for result in self.results if result.name.startswith(name)]
        numbers = [value for value in found if isinstance(value, float | int)]
        texts = [value for value in found if isinstance(value, str)]
        return min(numbers) if numbers else texts[0] if texts else None

    def with_results(self, results: Sequence[Result]) -> Self:
        """The same node with other results."""
        return replace(self, results=tuple(results))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "ranks": list(self.ranks), "state": self.state}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The node that `to_dict` wrote."""
        results = tuple(Result(**result) for result in record["results"])
        return cls(record["host"], tuple(record["ranks"]), results, tuple(record["links"]))


@dataclass(frozen=True)
class Verdict:
    """All nodes of a visit, in the order of their first rank."""

    nodes: tuple[Node, ...]

    @property
    def failed(self) -> list[Node]:
        """The nodes that should be left out."""
        return [node for node in self.nodes if node.state == "fail"]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "status": "fail" if self.failed else "ok",
            "nodes": [node.to_dict() for node in self.nodes],
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The verdict that `to_dict` wrote."""
        return cls(tuple(Node.from_dict(node) for node in record["nodes"]))
