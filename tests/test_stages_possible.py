"""What no training could do is said as soon as the project is read: no stage runs, nothing starts.

The figures are those of divisibility: 6 heads over 4 processes, 4 layers in 8 stages, rows of 100
tokens in 2 × 4 pieces.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from groundup import stages
from groundup.errors import ConfigError
from groundup.hardware import available_cores
from groundup.project import load_project
from groundup.train.launch import supervise
from tests.cli.command import groundup, project_in

SIZES = "model:\n  family: llama\n  n_layers: 4\n  d_model: 96\n  n_heads: 6\n  d_ff: 256\n"
TEXT = f"project:\n  name: p\n{SIZES}  context_length: 100\npretrain:\n  steps: 4\n  device: cpu\n"
Refused = Callable[..., None]


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """No stage, no doctor, no torchrun."""

    def ran(*given: object) -> None:
        raise AssertionError("something ran before the mistake was said")

    for stage in stages.STAGES:
        monkeypatch.setitem(stages.STAGES, stage, ran)
    for name in ("require_ready", "prepare", "supervise"):
        monkeypatch.setattr(supervise, name, ran)
    monkeypatch.setattr(stages, "finished", lambda project, stage: None)


OPEN = ("model={family: llama, context_length: 100}", "plan.budget=1h")

IMPOSSIBLE = [
    (("pretrain.layout.tp=4",), 4, "4 processes cannot share 6 of model.n_heads", "set it to 2"),
    (("pretrain.layout.pp=8",), 8, "4 layers do not go round 8 stages", "set pp to 4"),
    (
        ("pretrain.layout.pp=2", "pretrain.layout.vpp=4", "pretrain.layout.schedule=interleaved"),
        2, "4 layers do not go round 8 stages", "model.n_layers to 8",
    ),
    (("pretrain.layout.cp=4",), 4, "rows of 100 tokens do not divide", "length that does is 96"),
    (("model.family=t5", "pretrain.layout.pp=2", "pretrain.objective.kind=span_corruption"), 2,
     "an encoder-decoder is not cut into stages", "set pp to 1"),
    (("model.family=t5", "pretrain.layout.cp=2", "pretrain.objective.kind=span_corruption"), 2,
     "an encoder-decoder: its source", "use dp_shard"),
    (("pretrain.layout.tp=3",), 2, "tp 3 does not come to 2", "start 3"),
    (("pretrain.batch_size=2",), 4, "4 processes share a batch of 2 rows", "set it to 4"),
    (("pretrain.asynchronous.kind=parameter_server", "pretrain.optimizer=muon"), 2,
     "the parameter server is one process", "groundup worker"),
    (("pretrain.asynchronous.kind=local_sgd", "pretrain.layout.tp=2"), 2,
     "a replica of local_sgd is one process", "dp_replicate to 2"),
    (("pretrain.compile=cuda_graphs", "pretrain.device=auto"), 2,
     "FSDP puts them together elsewhere", "one process"),
    # What the plan is to choose suits the layout; what the file has must still fit it.
    ((*OPEN, "pretrain.layout.cp=4"), 4, "rows of 100 tokens", "is 96"),
]  # fmt: skip


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(("overrides", "n_ranks", "said", "fix"), IMPOSSIBLE)
def test_it_is_said_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    overrides: tuple[str, ...], n_ranks: int, said: str, fix: str,
) -> None:  # fmt: skip
    project = project_in(tmp_path, TEXT)
    launched = groundup(capsys, "launch", "local", "--ranks", n_ranks, project, *overrides)
    written = groundup(capsys, "launch", "slurm", "--nproc-per-node", n_ranks, project, *overrides)
    for done in (launched, written):
        assert (done.code, done.out) == (2, "")
        assert done.err.count(said) == 1, done.err
        if done is launched or "come to" not in said:  # slurm's own numbers: test_launch
            assert fix in done.err
    assert not (tmp_path / "launch").exists()
    # torchrun -m groundup pretrain: a rank of it, which has met the others
    monkeypatch.setattr(stages, "require_agreement", lambda project: None)
    monkeypatch.setattr(stages, "processes", lambda: (n_ranks, n_ranks))
    begun = groundup(capsys, "pretrain", "--project", project, *overrides)
    assert begun.code == 2
    assert begun.err.count(said) == 1, begun.err


@pytest.mark.parametrize(
    ("overrides", "n_ranks"),
    [
        (("pretrain.layout.tp=2",), 2),
        (("pretrain.layout={pp: 2, tp: 2, cp: 2}", "pretrain.micro_batch_size=8"), 8),
        (("pretrain.layout=auto",), 5),
        (("pretrain.layout.planned=true", "pretrain.layout.tp=2"), 6),
        ((*OPEN, "pretrain.layout.tp=8"), 8),
        ((*OPEN, "pretrain.layout.pp=8", "pretrain.micro_batch_size=1"), 8),
        (("pretrain.asynchronous.kind=parameter_server",), 1),
        (("pretrain.asynchronous.kind=local_sgd", "pretrain.layout.dp_replicate=4"), 4),
    ],
)
def test_what_can_be_trained_is_let_through(
    tmp_path: Path, overrides: tuple[str, ...], n_ranks: int
) -> None:
    project = load_project(project_in(tmp_path, TEXT), overrides=overrides)
    stages.require_trainable(project, n_ranks, n_ranks)


def test_a_run_of_many_processes_is_read_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = load_project(project_in(tmp_path, TEXT), overrides=["pretrain.layout.tp=2"])
    with pytest.raises(ConfigError, match="tp 2 does not come to 1 process"):
        stages.require_trainable(project, 1, 1)
    monkeypatch.setattr(stages, "finished", lambda project, stage: stage)
    stages.require_trainable(project, 1, 1)


def test_a_fixed_part_of_an_automatic_layout_must_fit(tmp_path: Path) -> None:
    given = ["pretrain.layout.planned=true", "pretrain.layout.dp_shard=2"]
    project = load_project(project_in(tmp_path, TEXT), overrides=given)
    stages.require_trainable(project, 4, 4)  # another axis may have the other 2
    with pytest.raises(ConfigError, match="no layout of 5 processes has it") as caught:
        stages.require_trainable(project, 5, 5)
    assert "start 4" in str(caught.value)


@pytest.mark.usefixtures("nothing_runs")
def test_the_servers_address_is_tried_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = project_in(tmp_path, TEXT)
    server = "pretrain.asynchronous.kind=parameter_server"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        wrong = {
            f"pretrain.asynchronous.port={port}": f"port {port} is in use",
            "pretrain.asynchronous.host=192.0.2.1": "cannot listen at 192.0.2.1",  # RFC 5737
        }
        for override, said in wrong.items():
            for command in (("pretrain", "--project", project), ("launch", "local", project)):
                done = groundup(capsys, *command, server, override)
                assert done.code == 2
                assert done.err.count(said) == 1, done.err


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("command", ["plan", "pretrain"])
def test_nothing_to_offload(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:  # fmt: skip
    project = project_in(tmp_path, TEXT)
    monkeypatch.setattr("groundup.train.resources.pick_device", lambda wanted: "cpu")
    for device in ("cpu", "auto"):
        words = (f"pretrain.device={device}", "pretrain.offload_optimizer=true")
        done = groundup(capsys, command, "--project", project, *words)
        assert done.code == 2
        assert "offload_optimizer frees a GPU's memory" in done.err
        assert "failed" not in done.err


def test_what_is_odd_is_said_once_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cores = available_cores()
    given = [f"pretrain.n_threads={cores + 1}", "pretrain.asynchronous.kind=local_sgd"]
    project = load_project(project_in(tmp_path, TEXT), overrides=given)
    stages.say_what_is_odd(project, 1, trains=True)
    threads, replica = capsys.readouterr().err.splitlines()
    assert f"n_threads is {cores + 1}, and there " in threads
    assert f"{cores} core" in threads
    assert "one replica" in replica
    stages.say_what_is_odd(project, 2, trains=True)
    assert "replica" not in capsys.readouterr().err
    usual = load_project(tmp_path, overrides=[f"pretrain.n_threads={cores}"])
    stages.say_what_is_odd(usual, 1, trains=True)
    assert capsys.readouterr().err == ""
