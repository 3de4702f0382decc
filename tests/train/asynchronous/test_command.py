"""`groundup worker` and a project with a parameter server, as one would type them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from groundup.errors import ConfigError, InputError
from groundup.stages_worker import address_of, run_to_join, token_of
from groundup.train.config import PretrainConfig, bits_of, settle
from tests.projects import groundup, here, run_record, small_project

CHOICE = {
    "steps": 100, "device": "cpu", "precision": "fp32", "float32_matmul_precision": "highest",
    "attention": "bmm", "n_threads": 1, "evaluate_every": 10, "checkpoint_every": 10,
    "sample_every": 10,
}  # fmt: skip


def section(**asynchronous: Any) -> PretrainConfig:
    return PretrainConfig.model_validate({"asynchronous": asynchronous})


def key(config: PretrainConfig) -> dict[str, Any]:
    """What a run of this section is named after."""
    return bits_of(settle(config, CHOICE, context_length=16, seed=1).to_dict())


@pytest.mark.parametrize(
    ("name", "ordinary", "momentum", "rate"),
    [("sgd", "sgd", 0.0, None), ("momentum", "sgd", 0.9, None), ("adam", "adamw", 0.9, 0.004)],
)
def test_the_servers_optimizer_is_an_ordinary_one(
    name: str, ordinary: str, momentum: float, rate: float | None
) -> None:
    config = PretrainConfig.model_validate(
        {"learning_rate": rate, "asynchronous": {"kind": "parameter_server", "optimizer": name}}
    )
    settings = settle(config, CHOICE, context_length=16, seed=1)
    assert (settings.optimizer, settings.momentum) == (ordinary, momentum)
    assert settings.learning_rate > 0
    assert settings.learning_rate == (rate or settings.learning_rate)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"asynchronous": {"workers": 3}}, "workers goes with kind: parameter_server"),
        ({"asynchronous": {"kind": "local_sgd", "staleness_lr": True}}, "staleness_lr goes with"),
        ({"asynchronous": {"kind": "parameter_server", "sync_every": 5}}, "sync_every goes with"),
        ({"optimizer": "adamw", "asynchronous": {"kind": "parameter_server"}}, "leave that out"),
        ({"adam_learning_rate": 1, "asynchronous": {"kind": "parameter_server"}}, "learning_rate"),
        ({"batch_size_ramp": {"start": 4, "steps": 9},
          "asynchronous": {"kind": "parameter_server"}}, "batch_size_ramp does not go"),
        ({"changes": [{"at": 5, "learning_rate": 1.0}],
          "asynchronous": {"kind": "parameter_server"}}, "changes does not go"),
        ({"momentum": 0.5, "asynchronous": {"kind": "parameter_server"}}, "momentum goes with"),
        ({"compile": True, "asynchronous": {"kind": "parameter_server"}}, "compile does not go"),
        ({"offload_optimizer": True, "asynchronous": {"kind": "parameter_server"}},
         "offload_optimizer does not go"),
        ({"integrity": {"replay_every": 5}, "asynchronous": {"kind": "parameter_server"}},
         "replay_every does not go"),
        ({"ema_decay": 0.9, "asynchronous": {"kind": "local_sgd"}}, "ema_decay does not go"),
        ({"clip": "adaptive", "asynchronous": {"kind": "local_sgd"}}, "adaptive does not go"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_said(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PretrainConfig.model_validate(given)


def test_what_a_server_and_its_workers_do_is_taken() -> None:
    served = {"kind": "parameter_server", "optimizer": "momentum"}
    config = PretrainConfig.model_validate(
        {"asynchronous": served, "momentum": 0.5, "compile": False, "recompute": "full"}
    )
    settings = settle(config, CHOICE, context_length=16, seed=1)
    assert (settings.momentum, settings.recompute) == (0.5, "full")


def test_a_run_is_named_after_what_is_learnt_and_not_after_who_works() -> None:
    served = {"kind": "parameter_server"}
    assert "asynchronous" not in key(section())  # runs from before are found again
    assert key(section(**served)) == key(
        section(**served, workers=7, host="0.0.0.0", port=4000, lease_seconds=9)
    )
    assert key(section(**served)) != key(section(**served, max_staleness=3))
    assert key(section(kind="local_sgd")) != key(section(kind="local_sgd", outer_momentum=0.5))


def test_what_a_worker_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such run"):
        run_to_join(tmp_path, None)
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    assert run_to_join(tmp_path, "a") == run_to_join(tmp_path, None) == run
    with pytest.raises(InputError, match="no parameter server at work"):
        address_of(run)
    with pytest.raises(InputError, match="no token to join with"):
        token_of(run, None)
    (tmp_path / "secret").write_text("abc\n")
    assert token_of(run, tmp_path / "secret") == "abc"


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":1", "a:b", "a:70000"])
def test_an_address_is_a_host_and_a_port(tmp_path: Path, address: str) -> None:
    from groundup.cli.worker import read_address

    with pytest.raises(ConfigError, match="is no address"):
        read_address(address)
    assert read_address("[::1]:80") == ("::1", 80)


def test_a_worker_without_a_server_ends_with_code_2(tmp_path: Path) -> None:
    ended = here("worker", "--project", tmp_path)
    assert ended.code == 2
    assert "there is no such run" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.slow
def test_a_project_is_trained_by_its_workers_and_measured_as_ever(tmp_path: Path) -> None:
    project = small_project(tmp_path / "small")
    served = ("pretrain.asynchronous.kind=parameter_server", "pretrain.asynchronous.optimizer=adam",
              "pretrain.learning_rate=0.002")  # fmt: skip
    ended = groundup("evaluate", "--project", project, "--json", *served)
    assert ended.code == 0, ended.err
    record = run_record(project)
    assert record["status"] == "finished"
    assert record["steps"] == 12
    assert sum(record["asynchronous"]["updates"].values()) == 12
    assert set(record["asynchronous"]["updates"]) <= {"local 1", "local 2"}
    assert ended.json["status"] == "finished"
    assert ended.json["result"]
