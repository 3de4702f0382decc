"""A small trial of one candidate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from groundup.decide.examples import Item, Prompt
from groundup.decide.trial import Outcome, run_trial
from groundup.decide.trial_candidates import TrialCandidate
from groundup.decide.trial_journal import ANSWERS
from groundup.decide.trial_plan import Settings

ITEMS = [Item(str(n), f"Question {n}", ("Paris",)) for n in range(12)]
ALONE = [Prompt("question", "")]
PLAIN = TrialCandidate(name="m", model="m")
PRICED = TrialCandidate(name="m", model="m", usd_per_million_input=1, usd_per_million_output=2)


def ask(
    folder: Path,
    candidate: TrialCandidate = PLAIN,
    settings: Settings | None = None,
    prompts: list[Prompt] = ALONE,
    shots: tuple[int, ...] = (0,),
    items: list[Item] = ITEMS,
) -> list[Outcome]:
    return run_trial(items, [candidate], prompts, shots, settings or Settings(), folder)


def journal(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / ANSWERS).read_text().splitlines()]
