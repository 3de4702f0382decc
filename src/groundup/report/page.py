"""The report: one HTML file that opens from disk, and its numbers as JSON.

It is made from the files of a run afterwards, so training knows nothing of it. The page loads
nothing: plotly's script, style and data are inside, and its content policy forbids every request.
Texts of models, files and configurations are data: each is escaped where it enters the page, and
characters that would steer a terminal or the reading direction are written out (`_plain`). The same
sources give the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from groundup import charts
from groundup.artifacts import Artifact
from groundup.files import write_atomic, write_json
from groundup.report.compare import as_json, compare, said_of_run
from groundup.report.done import STAGES, headline, missing, stage_rows
from groundup.report.evaluation import bits_of, completions, evaluation, rates_of
from groundup.report.lineage import lineage
from groundup.report.sections import (
    data_tables,
    environment,
    exact_command,
    plan_section,
    resolved,
    samples,
    tokenizer_rows,
    training,
)
from groundup.report.sources import Sources, read_sources
from groundup.report.time_spent import time_spent
from groundup.tables import printable

TEMPLATES = Path(__file__).parent
# A number as people write it: 1,234 · 5.24M · 4 min 01 s · 1.2 GiB · 12% · 0.1 – 0.2; or nothing.
_ONE = r"[+-]?\$?\d[\d,.]*(?: ?(?:%|[A-Za-z]{1,4}))?(?: \d+ (?:min|s|h|d))?"
NUMBER = re.compile(rf"–?|{_ONE}(?: – {_ONE})?")
TEMPLATE, STYLE = "page.html.j2", "page.css"


def write_report(folder: Path, *, title: str, run: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Write ``report.html`` and ``report.json`` to ``folder``.

    Args:
        folder: where to; made if absent.
        title: the project's name.
        run: the training run's folder.
        artifacts: by stage: data, tokenizer, tokens, machine, plan, evaluate, export; what is
            absent is left out of the page, which says so.

    Raises:
        InputError: a file that is there cannot be read.
        StorageError: the disk is full or the folder is not writable.
    """
    sources = read_sources(run, artifacts)
    rows = compare(sources.predicted, sources.measured, sources.band)
    content = {
        "title": title,
        "headline": headline(sources),
        "comparison": rows,
        "compared_for": said_of_run(sources.predicted, run),
        "missing": missing(sources),
        "stages": stage_rows(sources),
        "training": training(sources),
        "time_spent": time_spent(sources),
        "evaluation": evaluation(sources),
        "samples": samples(sources),
        "completions": completions(sources),
        "data_tables": data_tables(sources),
        "tokenizer": tokenizer_rows(sources),
        "plan": plan_section(sources),
        "environment": environment(sources),
        "lineage": lineage(sources, STAGES),
        "resolved": resolved(sources),
        "exact_command": exact_command(sources),
        "run": {key: sources.run.get(key) for key in ("status", "finished_at", "final_hash")},
    }
    write_atomic(folder / "report.html", render(content))
    write_json(folder / "report.json", summary(title, sources, content))


def render(content: Mapping[str, Any]) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_plain,
    )
    style = (TEMPLATES / STYLE).read_text(encoding="utf-8") + charts.STYLE
    return environment.get_template(TEMPLATE).render(
        **content, numeric=numeric, style=Markup(style), plotly=Markup(charts.script())
    )


def _plain(value: Any) -> Any:
    """Every value on its way into the page: control characters written out, None as a dash."""
    if value is None:
        return "–"
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value, keep="\n\t")
    return value


def numeric(texts: list[list[str]]) -> list[bool]:
    """Which columns of a table's texts are numbers, and so stand right-aligned."""
    return [
        all(NUMBER.fullmatch(text) for text in column) and any(map(str.strip, column))
        for column in zip(*texts, strict=True)
    ]


def summary(title: str, sources: Sources, content: Mapping[str, Any]) -> dict[str, Any]:
    """``report.json``: the comparison and the headline numbers, for scripts."""
    return {
        "title": title,
        "run": sources.run_name,
        "status": sources.run.get("status"),
        "final_hash": sources.run.get("final_hash"),
        "comparison": as_json(content["comparison"]),
        "bits_per_byte": dict(bits_of(sources)),
        "parse_rates": {
            kind: {"rate": rate, "interval": list(interval)}
            for kind, rate, interval in rates_of(sources)
        },
        "missing": [name for name, _ in content["missing"]],
    }
