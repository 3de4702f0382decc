"""Buy, adapt or train: the paper's three options, what each costs, trials of candidates. No torch.

decide               a ranking for your answers, with vetoes, reasons and costs
load_answers         from a file, or key=value
usage_cost, slide_table, cs2_table    the price book and the slides' tables
cost_of_ownership    training, use and people over time; break-even points
shortlist            candidates that fit the answers
run_trial            your own evaluation against endpoints
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from groundup.decide.answers import load_answers
    from groundup.decide.config import DecideConfig
    from groundup.decide.cs2 import cs2_table
    from groundup.decide.models import shortlist
    from groundup.decide.options import decide
    from groundup.decide.ownership import ownership as cost_of_ownership
    from groundup.decide.prices import slide_table, usage_cost
    from groundup.decide.trial import run_trial

# name → (module, its name there); imported when first used (PEP 562)
_LAZY = {
    "DecideConfig": ("config", "DecideConfig"),
    "cost_of_ownership": ("ownership", "ownership"),
    "cs2_table": ("cs2", "cs2_table"),
    "decide": ("options", "decide"),
    "load_answers": ("answers", "load_answers"),
    "run_trial": ("trial", "run_trial"),
    "shortlist": ("models", "shortlist"),
    "slide_table": ("prices", "slide_table"),
    "usage_cost": ("prices", "usage_cost"),
}
__all__ = [
    "DecideConfig",
    "cost_of_ownership",
    "cs2_table",
    "decide",
    "load_answers",
    "run_trial",
    "shortlist",
    "slide_table",
    "usage_cost",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'groundup.decide' has no attribute {name!r}")
    import importlib

    module, there = _LAZY[name]
    return getattr(importlib.import_module(f"groundup.decide.{module}"), there)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
