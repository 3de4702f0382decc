"""Where each artifact came from: one row an artifact, an arc from each input to what used it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from groundup.report.sources import Sources

ROW_PIXELS = 56
MARGIN = 110  # pixels left of the dots, for the arcs


@dataclass(frozen=True)
class Node:
    """One artifact (or the training run)."""

    name: str
    digest: str  # of its content
    place: str  # relative to the project
    inputs: tuple[str, ...]  # names of the stages it was made from
    others: tuple[tuple[str, str], ...]  # inputs from outside: name, hash


@dataclass(frozen=True)
class Drawing:
    """The rows, and the arcs as SVG paths; `height` in pixels."""

    nodes: list[Node]
    arcs: list[str]
    dots: list[int]
    width: int
    height: int


def lineage(sources: Sources, order: tuple[str, ...]) -> Drawing | None:
    """Draw the artifacts in the ``order`` of the stages; None if there are none."""
    found: dict[str, tuple[str, str, Mapping[str, Any]]] = {
        name: (
            artifact.content_hash,
            f"artifacts/{artifact.path.parent.name}/{artifact.path.name}",
            artifact.manifest.get("inputs") or {},
        )
        for name, artifact in sources.artifacts.items()
        if name != "pretrain"  # a run is no artifact folder; its record follows
    }
    if "plan" in found and "machine" in found and sources.plan.get("machine"):
        # Not in the plan's key, so that a project can move; but it was made from it.
        digest, place, inputs = found["plan"]
        found["plan"] = digest, place, {**inputs, "machine": found["machine"][0]}
    if sources.run:
        # The run's manifest is its run.json; without a list of inputs it came from plan and tokens.
        inputs = sources.run.get("inputs") or {
            name: found[name][0] for name in ("tokens", "plan") if name in found
        }
        digest = str(sources.run.get("final_hash") or "unfinished")
        found.setdefault("pretrain", (digest, f"runs/{sources.run_name}", inputs))
    names = [name for name in order if name in found]
    nodes = [_node(name, *found[name], names) for name in names]
    row = {node.name: number for number, node in enumerate(nodes)}
    arcs = [
        _arc(row[source], row[node.name])
        for node in nodes
        for source in node.inputs
        if row[source] < row[node.name]
    ]
    if not nodes:
        return None
    dots = [_centre(number) for number in range(len(nodes))]
    return Drawing(nodes, arcs, dots, MARGIN, ROW_PIXELS * len(nodes))


def _node(name: str, digest: str, place: str, inputs: Mapping[str, Any], names: list[str]) -> Node:
    return Node(
        name,
        digest,
        place,
        tuple(source for source in inputs if source in names),
        tuple((source, str(value)) for source, value in inputs.items() if source not in names),
    )


def _arc(first: int, last: int) -> str:
    """Half an ellipse from one row to a later one; the farther, the wider."""
    x, height = MARGIN - 14, (last - first) * ROW_PIXELS / 2
    width = min(height, 14 + 13 * (last - first))
    return f"M{x},{_centre(first)} A{width:g},{height:g} 0 0 0 {x},{_centre(last)}"


def _centre(row: int) -> int:
    return row * ROW_PIXELS + ROW_PIXELS // 2
