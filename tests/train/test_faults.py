import subprocess
import sys

import pytest

from groundup.errors import UserError
from groundup.train import faults


@pytest.mark.parametrize(
    ("text", "meaning"),
    [("", None), ("kill@step=37", ("step", 37)), ("kill@checkpoint=2", ("checkpoint", 2))],
)
def test_a_fault_is_read(text, meaning):
    assert faults.requested(text) == meaning


@pytest.mark.parametrize(
    "text", ["kill", "kill@step", "kill@step=-1", "stop@step=1", " kill@step=1"]
)
def test_what_is_no_fault_is_refused_with_the_forms_there_are(text):
    with pytest.raises(UserError, match="is not a fault") as caught:
        faults.requested(text)
    assert "kill@step=N or kill@checkpoint=N" in caught.value.fix


@pytest.mark.parametrize(
    ("fault", "survived"), [("", 6), ("kill@checkpoint=2", 1), ("kill@step=40", 3)]
)
def test_a_process_dies_at_the_place_asked_for_and_nowhere_else(fault, survived):
    """Checkpoints are counted as they come; steps have their own number, resumed or not."""
    program = (
        "from groundup.train.faults import point\n"
        "for n in range(3): point('checkpoint'); print(n, flush=True)\n"
        "for n in (39, 40, 41): point('step', n); print(n, flush=True)\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", program],
        env={"GROUNDUP_FAULT": fault, "PYTHONPATH": ":".join(sys.path)},
        stdout=subprocess.PIPE,
        check=False,
    )
    lines = len(child.stdout.splitlines())
    assert child.returncode == (-9 if fault else 0)
    assert lines == (4 if fault == "kill@step=40" else survived)


@pytest.mark.parametrize(
    ("environment", "meant"),
    [
        ({}, True),
        ({"RANK": "1"}, True),
        ({"RANK": "1", "GROUNDUP_FAULT_RANK": "1"}, True),
        ({"RANK": "0", "GROUNDUP_FAULT_RANK": "1"}, False),
        ({"RANK": "1", "GROUNDUP_FAULT_RANK": "1", "TORCHELASTIC_RESTART_COUNT": "1"}, False),
    ],
)
def test_a_fault_hits_the_rank_it_is_for_and_only_in_the_first_start(
    monkeypatch, environment, meant
):
    for name in ("RANK", "GROUNDUP_FAULT_RANK", "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert faults.is_meant() == meant
