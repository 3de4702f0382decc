"""`groundup.plan` and `groundup.decide` as Python sees them."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import groundup.decide
import groundup.plan


@pytest.mark.parametrize("package", [groundup.plan, groundup.decide])
def test_every_name_is_a_function_or_a_class_and_no_module_hides_it(package: object) -> None:
    names, path = package.__all__, package.__path__  # type: ignore[attr-defined]
    assert not {module.name for module in pkgutil.iter_modules(path)} & set(names)
    for name in names:
        assert callable(getattr(package, name))
        assert name in dir(package)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_importing_the_packages_costs_nothing() -> None:
    code = "import groundup.plan, groundup.decide, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"numpy", "scipy", "torch", "pydantic", "httpx2"} & set(loaded)


def test_a_plan_in_two_lines() -> None:
    chip = groundup.plan.find_chip("A100-SXM-80")
    took = groundup.plan.training_time(
        175e9, 300e9, chip, 1024, tflops_per_chip=140, recompute="full"
    )
    assert took.days == pytest.approx(34, rel=0.03)  # Narayanan et al. 2021, section 5.1
