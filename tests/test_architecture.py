"""The house stands: every import goes down, none goes round, and the dry floors have no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import groundup

SOURCE = Path(groundup.__file__).parent

# The drawing of the house: the design's section 2, docs/architecture.md.
FLOORS = (
    {
        "errors",
        "units",
        "files",
        "progress",
        "section",
        "yaml12",
        "findings",
        "hardware",
        "intervals",
    },
    {"artifacts", "tables", "charts", "track"},
    {"architecture", "data"},
    {"plan", "tokenizer"},
    {"decide", "tokens", "model"},
    {"train"},
    {"evaluate", "tune"},
    {"align"},
    {
        "project",
        "recipes",
        "stages",
        "stages_work",
        "stages_named",
        "stages_identity",
        "stages_layout",
        "stages_emit",
        "stages_by_hand",
        "stages_data",
        "stages_plan",
        "stages_possible",
        "stages_ranks",
        "stages_pretrain",
        "stages_results",
        "stages_training",
        "stages_measure",
        "stages_worker",
        "stages_found",
        "stages_find",
        "search",
        "report",
        "serve",
        "find",
        "api",
        "reproduce",
    },
    {"cli", "__main__"},
)
# Neighbours on one floor that may use each other, each by name; floor 0 is one room.
NEIGHBOURS = {
    ("track", "artifacts"),  # a run's record is sealed like a manifest
    ("charts", "tables"),  # numbers are written one way
    ("project", "recipes"),
    ("stages", "project"),
    ("stages", "stages_work"),  # the graph names every stage
    ("stages", "stages_data"),
    ("stages", "stages_plan"),
    ("stages", "stages_possible"),
    ("stages_possible", "stages_plan"),
    ("stages", "stages_layout"),
    ("stages_emit", "stages_layout"),
    ("stages_layout", "stages_ranks"),
    ("stages_plan", "stages_ranks"),
    ("stages_pretrain", "stages_ranks"),
    ("stages_emit", "stages_plan"),
    ("stages_plan", "project"),
    ("stages_possible", "stages_found"),
    ("stages_possible", "stages_named"),
    ("stages_possible", "project"),
    ("stages_possible", "stages_layout"),
    ("stages", "stages_pretrain"),
    ("stages", "stages_results"),
    ("stages_work", "project"),
    ("stages", "stages_named"),
    ("stages_named", "project"),
    ("stages_named", "find"),
    ("stages_identity", "stages_named"),
    ("stages_identity", "stages_plan"),
    ("stages_identity", "stages_work"),
    ("stages_identity", "find"),
    ("stages_identity", "project"),
    ("stages_by_hand", "stages_identity"),
    ("stages_by_hand", "find"),
    ("stages_by_hand", "project"),
    ("stages_data", "stages_work"),
    ("stages_data", "find"),
    ("stages_plan", "stages_named"),
    ("stages_plan", "stages_work"),
    ("stages_layout", "stages_identity"),
    ("stages_emit", "project"),  # `launch --emit`, beside the graph
    ("stages_emit", "stages"),
    ("stages_emit", "stages_named"),
    ("stages_emit", "stages_work"),
    ("stages_layout", "stages_work"),
    ("stages_pretrain", "stages_identity"),
    ("stages_pretrain", "stages_layout"),
    ("stages_pretrain", "stages_work"),
    ("stages_pretrain", "stages_training"),  # its half that needs torch
    ("stages_results", "stages_work"),
    ("stages_results", "stages_training"),
    ("stages_results", "report"),  # the last stage writes it
    ("stages_training", "project"),
    ("stages_training", "stages_identity"),
    ("stages_found", "stages_named"),
    ("stages_found", "stages_work"),
    ("stages_plan", "stages_found"),
    ("stages_identity", "stages_found"),
    ("stages_find", "project"),  # `groundup find`, beside the graph
    ("stages_find", "stages"),
    ("stages_find", "stages_found"),
    ("stages_find", "stages_named"),
    ("stages_find", "stages_training"),
    ("stages_find", "stages_work"),
    ("stages_find", "find"),
    ("stages_worker", "project"),  # `groundup worker`
    ("stages_worker", "find"),
    ("stages_worker", "stages_identity"),
    ("stages_worker", "stages_named"),
    ("stages_worker", "stages_training"),
    ("stages_worker", "stages_work"),
    ("stages_measure", "project"),  # `plan --measure`, after the graph
    ("stages_measure", "stages"),
    ("stages_measure", "stages_plan"),
    ("stages_measure", "stages_work"),
    ("api", "project"),
    ("api", "stages"),
    ("api", "find"),
    ("reproduce", "project"),
    ("reproduce", "find"),
    ("reproduce", "stages"),
    ("reproduce", "stages_identity"),
    ("reproduce", "stages_named"),
    ("reproduce", "stages_pretrain"),
    ("reproduce", "stages_training"),
    ("reproduce", "stages_work"),
    ("__main__", "cli"),
}
DRY = ("architecture", "data", "plan", "decide", "project", "cli")  # start without torch


def test_every_part_has_a_floor() -> None:
    assert {unit(name) for name in MODULES if name != "groundup"} <= FLOOR.keys()


def test_imports_go_down_or_to_a_named_neighbour() -> None:
    wrong = [
        f"{module} (floor {FLOOR[unit(module)]}) imports {target} (floor {FLOOR[unit(target)]})"
        for module, target in edges(types=True)
        if unit(module) != unit(target)
        and FLOOR[unit(target)] >= FLOOR[unit(module)]
        and FLOOR[unit(module)] != 0
        and (unit(module), unit(target)) not in NEIGHBOURS
    ]
    assert not wrong, "\n".join(wrong)
    assert not [target for module, target in edges(types=True)
                if FLOOR[unit(module)] == 0 and FLOOR[unit(target)] > 0]  # fmt: skip


def test_no_imports_go_round() -> None:
    assert_no_cycle({(unit(module), unit(target)) for module, target in edges(types=True)})
    assert_no_cycle(set(edges(types=False)))


def test_the_front_door_imports_nothing_of_ours_before_it_is_asked() -> None:
    assert [node for node in runtime_imports(SOURCE / "__init__.py")
            if node.startswith("groundup")] == []  # fmt: skip


def test_dry_floors_and_every_config_start_without_torch() -> None:
    dry = [
        name for name in MODULES
        if name != "groundup.__main__"
        and (unit(name) in DRY or name.endswith(".config") or MODULES[name].name == "__init__.py")
    ]  # fmt: skip
    loaded = modules_after("\n".join(f"import {name}" for name in dry))
    assert not loaded & {"torch", "transformers"}


def test_the_project_file_needs_no_numbers_and_no_terminal() -> None:
    loaded = modules_after("import groundup.project, groundup.cli.show, groundup.cli.stages")
    assert not loaded & {"torch", "numpy", "pyarrow", "rich", "tokenizers", "plotly"}


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_imports_click_and_nothing_else_of_others(word: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "groundup", word],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stderr.splitlines()
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert "click" in loaded
    third_party = {"torch", "numpy", "pydantic", "rich", "pyarrow", "yaml", "regex", "tokenizers"}
    assert not loaded & third_party


# --- the import graph, read from the source -------------------------------------------------------


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(SOURCE.rglob("*.py"))}
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}


def unit(module: str) -> str:
    """``groundup.data.readers.text`` → ``data``; nothing for the package itself."""
    return module.split(".")[1] if "." in module else ""


def edges(*, types: bool) -> Iterator[tuple[str, str]]:
    """(module, module it imports) inside groundup, imports in functions too.

    The package's own ``__init__`` is left out on both sides: it holds the version number, and names
    that are looked up when asked for.
    """
    for module, path in MODULES.items():
        if module == "groundup":
            continue
        found = imports(ast.parse(path.read_text())) if types else runtime_imports(path)
        for target in found:
            while target not in MODULES and "." in target:
                target = target.rpartition(".")[0]  # `from module import name`
            if target.startswith("groundup.") and target != module:
                yield module, target


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def runtime_imports(path: Path) -> list[str]:
    """Without what stands under ``if TYPE_CHECKING:``."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = [ast.Pass()]
    return list(imports(tree))


def assert_no_cycle(pairs: set[tuple[str, str]]) -> None:
    graph: dict[str, set[str]] = {}
    for module, target in pairs:
        if module != target:
            graph.setdefault(module, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"imports go round: {' ← '.join(error.args[1])}")


def modules_after(code: str) -> set[str]:
    """Top-level modules loaded after ``code`` ran in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in done.stdout.split()}
