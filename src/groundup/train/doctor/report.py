"""The doctor's findings as tables: a row a node, then what is wrong, the outlier by its name."""

from __future__ import annotations

from groundup.tables import Table
from groundup.train.doctor.result import Node, Result, Verdict

# heading → what the results' names begin with; the lowest of a node's devices is shown
COLUMNS = {
    "fp32 Gflop/s": "speed fp32",
    "bf16 Gflop/s": "speed bf16",
    "memory GB/s": "memory speed",
    "disk MB/s": "disk write",
    "fsync ms": "disk fsync",
    "clock ms": "clock offset",
    "network MB/s": "network bandwidth",
    "latency µs": "network latency",
}


def tables(verdict: Verdict) -> list[Table]:
    """The nodes; of one alone every check; and what is wrong."""
    made = [nodes_table(verdict)]
    if len(verdict.nodes) == 1:
        made.append(checks_table(verdict.nodes[0]))
    wrong = [(node, found) for node in verdict.nodes for found in problems(node)]
    if wrong:
        made.append(problems_table(wrong))
    return made


def nodes_table(verdict: Verdict) -> Table:
    """One row a node."""
    rows = [
        [node.host, node.state, len(node.ranks), *map(node.value, COLUMNS.values())]
        for node in verdict.nodes
    ]
    return Table("Nodes", ["node", "state", "ranks", *COLUMNS], rows)


def checks_table(node: Node) -> Table:
    """Every check of one node."""
    rows = [
        [found.name, found.state, found.value, found.unit, found.expected or found.why]
        for found in node.results
    ]
    return Table(f"Checks of {node.host}", ["check", "state", "value", "unit", "expected"], rows)


def problems(node: Node) -> list[Result]:
    """What is not ok, the worst first."""
    return [found for state in ("fail", "warn") for found in node.results if found.state == state]


def problems_table(wrong: list[tuple[Node, Result]]) -> Table:
    """What is wrong on which node."""
    rows = [[node.host, found.state, found.name, found.why] for node, found in wrong]
    return Table("What is wrong", ["node", "state", "check", "why"], rows)
