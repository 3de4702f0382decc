"""Tests with small and read-only disks need the right to mount one."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def no_mounts() -> NoReturn:
    """Skip the test, or fail it where GROUNDUP_REQUIRE_MOUNTS says that mounting must work."""
    if os.environ.get("GROUNDUP_REQUIRE_MOUNTS") == "1":
        pytest.fail("no disk can be mounted here, and GROUNDUP_REQUIRE_MOUNTS=1 asks for it")
    pytest.skip("mounting a disk needs more rights than this process has")
