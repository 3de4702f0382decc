"""Whatever instant a save is cut off at, a valid checkpoint is left: benchmarks/crash_points.py."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from benchmarks import crash_points
from benchmarks.crash_points import (
    CONTROL,
    SCENARIOS,
    Call,
    Scenario,
    replay_kills,
    replay_power_losses,
)

OURS = [scenario for scenario in SCENARIOS if scenario is not CONTROL]


@pytest.mark.parametrize("scenario", OURS, ids=lambda scenario: scenario.name)
def test_a_kill_after_any_call_leaves_the_old_checkpoint_or_the_new(
    scenario: Scenario, tmp_path: Path
) -> None:
    found = replay_kills(scenario, tmp_path)
    assert found.failures == []
    assert found.points >= 25
    assert set(found.left) == {"old", "new"}
    assert found.damaged_in_sight == 0


@pytest.mark.parametrize("scenario", OURS[::2], ids=lambda scenario: scenario.name)
def test_a_power_loss_after_any_call_leaves_the_old_checkpoint_or_the_new(
    scenario: Scenario, tmp_path: Path
) -> None:
    """Of what was not fsynced contents may be missing or zeroed, and names may be older."""
    found = replay_power_losses(scenario, tmp_path)
    assert found.failures == []
    assert found.points >= 400
    assert set(found.left) == {"old", "new"}
    assert found.damaged_in_sight == 0


def test_a_save_in_place_is_found_out(tmp_path: Path) -> None:
    assert replay_kills(CONTROL, tmp_path).failures


@pytest.mark.parametrize("forgotten", ["files", "folders"])
def test_a_save_that_forgets_to_fsync_is_found_out(
    forgotten: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one of them the new checkpoint can be seen while a part of it is not on the disk."""
    real = crash_points.recorded

    def forgetful(scenario: Scenario, folder: Path) -> tuple[list[Call], Path]:
        calls, start = real(scenario, folder)
        suffixes = ("",) if forgotten == "folders" else (".safetensors", ".json")
        return [
            call for call in calls
            if call.name != "fsync" or Path(call.path).suffix not in suffixes
        ], start  # fmt: skip

    monkeypatch.setattr(crash_points, "recorded", forgetful)
    found = replay_power_losses(OURS[0], tmp_path)
    assert found.damaged_in_sight
    assert found.failures


@pytest.mark.slow
@pytest.mark.parametrize("scenario", OURS, ids=lambda scenario: scenario.name)
def test_a_process_killed_as_it_enters_any_call_leaves_a_valid_checkpoint(
    scenario: Scenario, tmp_path: Path
) -> None:
    """Every openat, write, fsync, rename, … of a real save, by strace."""
    if shutil.which("strace") is None:
        if os.environ.get("GROUNDUP_REQUIRE_STRACE") == "1":
            pytest.fail("strace is not there, and GROUNDUP_REQUIRE_STRACE=1 asks for it")
        pytest.skip("strace is not there")
    found = crash_points.kill_by_strace(scenario, tmp_path)
    assert found.failures == []
    assert found.points >= 40
    assert set(found.left) == {"old", "new"}
