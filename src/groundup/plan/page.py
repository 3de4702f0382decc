"""A page of planning or deciding: one HTML file with text, notes, charts and tables in sections.

It opens from disk and loads nothing: plotly's script, style and data are inside, and its content
policy forbids every request. Texts are data and are escaped. The same content gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundup.charts import STYLE, script
from groundup.files import write_atomic
from groundup.tables import Table, printable

HERE = Path(__file__).parent
# A cell that is a number to people: ~1,234 · 5.24M · $12.2M · 41.6 × · 12% · 0.1 – 0.2; or nothing.
_ONE = r"~?[+-]?\$?\d[\d,.]*(?:e[+-]?\d+)?(?: ?(?:%|×|[A-Za-z]{1,5}))?"
_NUMBER = re.compile(rf"–?|{_ONE}(?: – {_ONE})?")


@dataclass(frozen=True)
class Section:
    """One part of a page."""

    title: str
    text: Sequence[str] = ()  # paragraphs
    charts: Sequence[str] = ()  # from `groundup.charts`
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()  # what the reader should know before believing it


def write_page(path: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write the page and return its path; its folder is made if absent.

    Args:
        path: of the file.
        title: above everything.
        sections: in order.

    Raises:
        StorageError: the folder is a file or not writable, or the disk is full.
    """
    write_atomic(path, render(title, sections))
    return path


def render(title: str, sections: Sequence[Section]) -> str:
    """The page as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def plain(value: Any) -> Any:
        """Control characters written out; what is markup is ours."""
        if isinstance(value, str) and not isinstance(value, Markup):
            return printable(value, keep="\n\t")
        return value

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=plain,
    )
    content = [
        {
            "title": section.title,
            "text": section.text,
            "notes": section.notes,
            "charts": [Markup(chart) for chart in section.charts],
            "tables": [(table, table.texts(), _numbers(table)) for table in section.tables],
        }
        for section in sections
    ]
    has_charts = any(section.charts for section in sections)
    return environment.get_template("page.html.j2").render(
        title=title,
        sections=content,
        style=Markup((HERE / "page.css").read_text(encoding="utf-8") + STYLE),
        plotly=Markup(script()) if has_charts else "",
    )


def _numbers(table: Table) -> list[bool]:
    """Which columns stand right-aligned: those whose texts are all numbers."""
    return [
        all(_NUMBER.fullmatch(text) for text in column) and any(map(str.strip, column))
        for column in zip(*table.texts(), strict=True)
    ] or [False] * len(table.columns)
