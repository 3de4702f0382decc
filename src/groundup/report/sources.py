"""Everything a report is made from, read once: the run's record and what each stage wrote.

Whatever is absent is None or empty; the sections that need it are left out and the page says so.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundup.artifacts import Artifact
from groundup.files import read_json
from groundup.plan.local.ranks import comparable
from groundup.track.run import ABANDONED, EVENTS, METRICS, read_lines

Record = Mapping[str, Any]

# stage → the file in which it says what it did
RECORDS = {
    "data": "report.json",
    "tokenizer": "summary.json",
    "tokens": "index.json",
    "machine": "machine.json",
    "plan": "plan.json",
    "evaluate": "evaluation.json",
}


@dataclass(frozen=True)
class Sources:
    """The run and the stages' records; a record that was not made is empty."""

    run_name: str
    run: Record
    metrics: list[dict[str, Any]]
    events: list[dict[str, Any]]
    abandoned: list[dict[str, Any]]
    artifacts: Mapping[str, Artifact]
    data: Record
    tokenizer: Record
    tokens: Record
    machine: Record
    plan: Record
    evaluate: Record

    @property
    def predicted(self) -> Record:
        """What was predicted, as the run recorded it before its first step."""
        found = self.run.get("predicted") or self.plan.get("predicted") or {}
        return comparable(found, self.events)

    @property
    def measured(self) -> Record:
        """What the run measured, under the same keys."""
        return self.run.get("measured") or {}

    @property
    def band(self) -> Mapping[str, Any]:
        """Low and high end of some predictions."""
        return self.predicted.get("band") or self.plan.get("band") or {}

    @property
    def choice(self) -> Record:
        """Size and steps that the plan chose."""
        return self.plan.get("choice") or {}

    def happened(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind, in order."""
        return [event for event in self.events if event.get("event") == kind]

    @property
    def trained_tokens(self) -> float:
        """Tokens trained on so far; before the first step, those that are planned."""
        found = self.metrics[-1] if self.metrics else self.choice
        return float(found.get("tokens", 0))

    def tokens_at(self, step: int) -> float:
        """Training tokens seen after ``step``; steps that were not logged count as the mean one."""
        place = bisect_right(self.metrics, step, key=lambda line: int(line["step"]))
        before = self.metrics[place - 1] if place else {"tokens": 0, "step": 0}
        last = self.metrics[-1] if self.metrics else {"tokens": 0, "step": 1}
        per_step = last["tokens"] / last["step"]
        return float(before["tokens"] + (step - before["step"]) * per_step)


def read_sources(run: Path, artifacts: Mapping[str, Artifact]) -> Sources:
    """Read what there is.

    Raises:
        InputError: a file that is there is not JSON.
    """
    records = {name: _record(artifacts.get(name), file) for name, file in RECORDS.items()}
    path = run / "run.json"
    return Sources(
        run_name=run.name,
        run=read_json(path) if path.exists() else {},
        metrics=[line for line in read_lines(run / METRICS) if line.get("tokens")],
        events=list(read_lines(run / EVENTS)),
        abandoned=list(read_lines(run / ABANDONED)),
        artifacts=artifacts,
        **records,
    )


def _record(artifact: Artifact | None, file: str) -> Record:
    if artifact is None or not (artifact.path / file).exists():
        return {}
    record: Record = artifact.json(file)
    return record
