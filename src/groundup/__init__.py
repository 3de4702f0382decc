"""groundup: train a large language model from the ground up."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# OpenMP reads this when torch is loaded. Its threads otherwise spin while they wait for each other:
# beside one busy process on two cores that made small products 3 to 5 times slower
# (docs/experiments.md), and on a quiet machine it gains nothing that could be measured.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from groundup.api import load_model, load_tokenizer, run
    from groundup.project import Project, load_project

__version__ = "0.1.0"
__all__ = ["Project", "__version__", "load_model", "load_project", "load_tokenizer", "run"]

# Imported when first used (PEP 562), so that `import groundup` costs nothing.
_LAZY = {
    "Project": "groundup.project",
    "load_project": "groundup.project",
    "load_model": "groundup.api",
    "load_tokenizer": "groundup.api",
    "run": "groundup.api",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'groundup' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
