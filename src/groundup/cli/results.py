"""The results of the stages as tables: all for a stage command, one screen for `groundup run`.

Heavy imports stand in the functions, so that a command's ``--help`` costs none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from groundup.tables import Table

LEFT = "What each step left"  # the one of the corpus's tables that says it in short


def overview(paths: Mapping[str, Path]) -> Iterator[Table]:
    """What each data step left, the plan's prediction, and prediction beside measurement.

    Args:
        paths: stage → its folder; a stage that has not been run, or has no record, is left out.
    """
    for stage, wanted in (("data", LEFT), ("plan", None), ("pretrain", None)):
        record, tables = RESULTS[stage]
        if stage in paths and record and (paths[stage] / record).is_file():
            found = tables(paths[stage])
            yield from [table for table in found if wanted in (None, table.title)][:1]


def headline(paths: Mapping[str, Path]) -> Iterator[str]:
    """What the model reached beside its yardsticks, the best first."""
    from groundup.evaluate.tables import OURS, name_of
    from groundup.files import read_json

    file = paths.get("evaluate", Path()) / "evaluation.json"
    if "evaluate" not in paths or not file.is_file():
        return
    found = read_json(file)
    measure = "bits per byte" if "bits_per_byte" in found else "nats a target"
    reached = dict(found.get("bits_per_byte") or found["as_trained"]["loss"])
    ours = reached.pop(OURS)
    others = sorted(reached.items(), key=lambda item: item[1])
    yardsticks = ", ".join(f"{name_of(kind)} {value:.3f}" for kind, value in others)
    yield f"{measure} on held-out text: {ours:.3f} ({name_of(OURS)}); {yardsticks}"


def _data_tables(folder: Path) -> list[Table]:
    from groundup.data.report_tables import corpus_tables
    from groundup.files import read_json
    from groundup.tables import Table

    return [Table(*table) for table in corpus_tables(read_json(folder / "report.json"))]


def _plan_tables(folder: Path) -> list[Table]:
    from groundup.files import read_json
    from groundup.plan.local.report import plan_tables
    from groundup.tables import Table

    return [Table(*table) for table in plan_tables(read_json(folder / "plan.json"))]


def _record_table(file: str, title: str) -> Callable[[Path], list[Table]]:
    """Tables of a JSON record without a printer of its own: one row a number."""

    def tables(folder: Path) -> list[Table]:
        from groundup.files import read_json
        from groundup.tables import Table

        rows = list(flatten(read_json(folder / file)))
        return [Table(title, ["measure", "value"], rows)]

    return tables


def flatten(record: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """The single values of nested dicts under dotted names; lists (samples) are left out."""
    if not isinstance(record, dict):
        return [] if isinstance(record, list) else [(prefix, record)]
    return [
        row
        for key, value in record.items()
        for row in flatten(value, f"{prefix}.{key}" if prefix else str(key))
    ]


def _evaluation_tables(folder: Path) -> list[Table]:
    from groundup.evaluate.tables import evaluation_tables
    from groundup.files import read_json

    return evaluation_tables(read_json(folder / "evaluation.json"))


def run_tables(folder: Path) -> list[Table]:
    """What the plan predicted of a finished run, beside what was measured."""
    from groundup.files import read_json
    from groundup.plan.local.ranks import comparable
    from groundup.report.compare import compare, compare_tables, said_of_run
    from groundup.tables import Table
    from groundup.track.run import EVENTS, read_lines

    record = read_json(folder / "run.json")
    predicted = comparable(record["predicted"], read_lines(folder / EVENTS))
    tables = compare_tables(compare(predicted, record["measured"], predicted["band"]))
    said = said_of_run(predicted, folder)
    return [*tables, Table("What the prediction is for", ["note"], [[said]])] if said else tables


def _nothing(folder: Path) -> list[Table]:
    """The table of stages says it all."""
    return []


# stage → (its JSON record, its tables)
RESULTS: dict[str, tuple[str | None, Callable[[Path], list[Table]]]] = {
    "data": ("report.json", _data_tables),
    "tokenizer": ("summary.json", _record_table("summary.json", "Tokenizer")),
    "plan": ("plan.json", _plan_tables),
    "pretrain": ("run.json", run_tables),
    "evaluate": ("evaluation.json", _evaluation_tables),
    "export": (None, _nothing),
    "report": (None, _nothing),
}
