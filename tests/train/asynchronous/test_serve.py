"""A run on a parameter server: its end, its samples, its checkpoints, and who may work on it."""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from groundup.errors import ConfigError, InputError, Interrupted
from groundup.track.run import newest_good_checkpoint, read_lines, read_run
from groundup.train.asynchronous.identity import hello
from groundup.train.asynchronous.listener import Listener, bound, listening
from groundup.train.asynchronous.serve import TOKEN_FILE, tended
from groundup.train.asynchronous.wire import introduce, new_token, pack, receive, send, unpack
from groundup.train.asynchronous.work import connected, say_hello, work
from groundup.train.checkpoint import load_model_weights
from groundup.train.distributed import ALONE
from groundup.train.fingerprint import fingerprint_of
from groundup.train.pretrain import pretrain
from tests.train.asynchronous.served import settings_of, train, work_of
from tests.train.small import SETTINGS, Tokens, job


def learnt(folder: Path) -> list[int]:
    """First samples of the batches that the run learnt from."""
    return [int(line["cursor"]) for line in read_lines(folder / "metrics.jsonl")]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    last = newest_good_checkpoint(folder / "checkpoints")
    assert last is not None
    return dict(load_model_weights(last).named_parameters())


def test_workers_compute_again_what_they_are_told_not_to_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        "groundup.train.asynchronous.work.recompute_blocks", lambda _, kind: asked.append(kind)
    )
    train(tmp_path / "run", replace(settings_of(steps=1), recompute="full"))
    assert asked == ["full"]


def test_a_server_is_not_profiled(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no steps of its own to profile"):
        pretrain(tmp_path / "run", Tokens(), replace(job(settings_of()), profile=True))


@pytest.mark.parametrize(
    ("optimizer", "ordinary", "momentum"),
    [("sgd", "sgd", 0.0), ("momentum", "sgd", 0.95), ("adam", "adamw", 0.0)],
)
def test_one_worker_gives_the_bits_of_the_synchronous_run(
    tmp_path: Path, optimizer: str, ordinary: str, momentum: float
) -> None:
    settings = settings_of(optimizer, ordinary, steps=6, momentum=momentum)
    train(tmp_path / "served", settings)
    alone = replace(settings, asynchronous=SETTINGS.asynchronous)
    pretrain(tmp_path / "alone", Tokens(), job(alone))
    served, plain = weights(tmp_path / "served"), weights(tmp_path / "alone")
    assert all(torch.equal(served[name], plain[name]) for name in plain)
    losses = [
        [line["loss"] for line in read_lines(tmp_path / name / "metrics.jsonl")]
        for name in ("served", "alone")
    ]
    assert losses[0] == losses[1]


def test_three_workers_learn_every_sample_once_and_the_record_says_how(tmp_path: Path) -> None:
    settings = settings_of(steps=24)
    settings = replace(settings, integrity={**settings.integrity, "checksum_every": 1})
    done = train(tmp_path / "run", settings, 3)
    assert sorted(learnt(tmp_path / "run")) == [4 * step for step in range(24)]
    record = read_run(tmp_path / "run") or {}
    found = record["asynchronous"]
    assert (record["status"], record["samples"]) == ("finished", 96)
    assert sum(found["updates"].values()) == sum(each.applied for each in done) == 24
    taus = [line["staleness"] for line in read_lines(tmp_path / "run" / "metrics.jsonl")]
    assert found["max_staleness"] == max(taus)
    assert found["mean_staleness"] == sum(taus) / 24
    assert {each.why for each in done} == {"finished"}
    assert not (tmp_path / "run" / TOKEN_FILE).exists()
    seconds = record["part_seconds"]
    assert set(seconds) == {"workers", "optimizer", "evaluate", "checkpoint", "log"}
    assert sum(seconds.values()) == pytest.approx(
        record["measured"]["duration_seconds"], rel=0.2, abs=0.1
    )


def greet(server: socket.socket, settings: Any, **about: Any) -> None:
    """Say hello as a worker of that run would, but for ``about``."""
    given = work_of(settings)
    said = hello("by hand", fingerprint_of(given.key, given.dataset, settings, ALONE))
    say_hello(server, {**said, **about})


def test_a_worker_that_leaves_over_its_samples_loses_none(tmp_path: Path) -> None:
    settings = settings_of(steps=8)

    def takes_and_leaves(address: tuple[str, int], token: str) -> None:
        with connected(address, token) as server:
            greet(server, settings)
            send(server, pack({"kind": "fetch"}))
            assert unpack(receive(server, 2**20))[0]["cursor"] == 0

    train(tmp_path / "run", settings, 2, before=takes_and_leaves)
    assert sorted(learnt(tmp_path / "run")) == [4 * step for step in range(8)]
    (left, *_) = [e for e in read_lines(tmp_path / "run" / "events.jsonl")
                  if e["event"] == "worker_left"]  # fmt: skip
    assert (left["worker"], left["samples"]) == ("by hand #1", [0])


def test_a_silent_worker_loses_its_samples_when_its_lease_ends(tmp_path: Path) -> None:
    settings = settings_of(steps=4, lease_seconds=0.5)
    peers = []

    def takes_and_is_silent(address: tuple[str, int], token: str) -> None:
        peer = connected(address, token)
        peers.append(peer)
        server = peer.__enter__()
        greet(server, settings)
        send(server, pack({"kind": "fetch"}))
        receive(server, 2**20)

    train(tmp_path / "run", settings, before=takes_and_is_silent)
    peers[0].__exit__(None, None, None)
    assert sorted(learnt(tmp_path / "run")) == [0, 4, 8, 12]
    assert "lease_ended" in {e["event"] for e in read_lines(tmp_path / "run" / "events.jsonl")}


@pytest.mark.slow
def test_workers_killed_in_the_middle_are_replaced_and_every_sample_is_learnt(
    tmp_path: Path,
) -> None:
    settings = settings_of(steps=10, workers=1)
    command = (
        sys.executable, "-m", "tests.train.asynchronous.member",
        json.dumps(settings.to_dict()), str(tmp_path / "died"),
    )  # fmt: skip
    pretrain(tmp_path / "run", Tokens(), replace(job(settings), worker_command=command))
    assert (tmp_path / "died").exists()
    assert sorted(learnt(tmp_path / "run")) == [4 * step for step in range(10)]
    record = read_run(tmp_path / "run") or {}
    assert record["asynchronous"]["updates"] == {"local 1": 10}


def test_a_run_goes_on_from_its_last_checkpoint_with_no_sample_lost(tmp_path: Path) -> None:
    settings = settings_of(steps=16)
    with pytest.raises(Interrupted, match="which is saved"):
        train(tmp_path / "run", settings, 2, until=6)
    assert (read_run(tmp_path / "run") or {})["status"] == "interrupted"
    done = train(tmp_path / "run", settings, 2)
    assert sorted(learnt(tmp_path / "run")) == [4 * step for step in range(16)]
    assert sum(each.applied for each in done) == 16 - 6
    record = read_run(tmp_path / "run") or {}
    assert sum(record["asynchronous"]["updates"].values()) == 16


def test_weights_that_change_between_two_updates_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = []

    def tended_and_spoilt(server: Any, *others: Any) -> None:
        tended(server, *others)
        if server.state.step == 6 and not spoilt:
            spoilt.append(next(server.state.model.parameters()))
            with torch.no_grad():
                spoilt[0].view(-1)[0] += 1

    monkeypatch.setattr("groundup.train.asynchronous.serve.tended", tended_and_spoilt)
    settings = settings_of(steps=8)
    settings = replace(settings, integrity={**settings.integrity, "checksum_every": 1})
    train(tmp_path / "run", settings)
    events = [e["event"] for e in read_lines(tmp_path / "run" / "events.jsonl")]
    assert "corruption" in events
    assert "rewound" in events
    assert learnt(tmp_path / "run")[:4] == [0, 4, 8, 12]
    assert (read_run(tmp_path / "run") or {})["status"] == "finished"


def test_the_token_is_for_its_owner_only(tmp_path: Path) -> None:
    modes = []

    def look(address: tuple[str, int], token: str) -> None:
        modes.append(stat.S_IMODE((tmp_path / "run" / TOKEN_FILE).stat().st_mode))
        assert len(bytes.fromhex(token)) == 32

    train(tmp_path / "run", settings_of(steps=2), before=look)
    assert modes == [0o600]


def test_who_may_not_work_is_told_why_and_the_run_goes_on(tmp_path: Path) -> None:
    settings = settings_of(steps=3)
    said: list[str] = []

    def others(address: tuple[str, int], token: str) -> None:
        other = replace(settings, beta2=0.5, seed=8)
        with pytest.raises(InputError) as wrong_token:
            work(address, new_token(), work_of(settings), name="a", n_threads=1)
        with pytest.raises(ConfigError) as wrong_run:
            work(address, token, work_of(other), name="b", n_threads=1)
        with connected(address, token) as server, pytest.raises(ConfigError) as wrong_code:
            greet(server, settings, code="0" * 64)
        with connected(address, token) as server, pytest.raises(ConfigError) as wrong_protocol:
            greet(server, settings, protocol=0)
        with connected(address, token) as server, pytest.raises(ConfigError) as malformed:
            greet(server, settings, fingerprint={"settings": [1]})
        found = (wrong_token, wrong_run, wrong_code, wrong_protocol, malformed)
        with connected(address, token) as server:
            greet(server, settings, name="\ud800\x1b[2J")
            send(server, pack({"kind": "push", "lease": [1], "loss": 1.0}))
            assert unpack(receive(server, 2**20))[0] == {"kind": "taken", "refused": "malformed"}
        said.extend(error.value.message for error in found)
        for garbage in (b"GET / HTTP/1.1\r\n\r\n" * 5, bytes(64)):
            with socket.create_connection(address, 5) as stranger:
                stranger.sendall(garbage)
        with socket.create_connection(address, 5) as admitted:
            introduce(admitted, token)
            admitted.sendall((2**62).to_bytes(8, "big"))  # a frame of 4 EiB
            assert admitted.recv(1) == b""

    train(tmp_path / "run", settings, before=others)
    assert said[0] == "the server and this worker do not have the same token: a wrong token"
    assert "beta2: 0.95 → 0.5; seed: 7 → 8" in said[1] or (
        "beta2: 0.95 → 0.5" in said[1] and "seed: 7 → 8" in said[1]
    )
    assert "its code is another" in said[2]
    assert "→ 000000000000" in said[2]
    assert "it speaks protocol 0, the server 1" in said[3]
    assert "what it says of its run is malformed" in said[4]
    record = read_run(tmp_path / "run") or {}
    assert record["asynchronous"]["turned_away"] == 8
    assert record["asynchronous"]["refused"] == {"malformed": 1}
    assert learnt(tmp_path / "run") == [0, 4, 8]


def until_closed(peer: socket.socket) -> None:
    """Read what the other side still says."""
    peer.settimeout(5)
    with contextlib.suppress(ConnectionResetError):
        while peer.recv(100):
            pass


def test_a_closed_port_is_closed_at_once() -> None:
    with listening("127.0.0.1", 0, new_token(), lambda said: "", 2**20) as listener:
        address = listener.address
        waiting = socket.create_connection(address, 5)
        assert len(waiting.recv(32)) == 32
    with waiting:
        until_closed(waiting)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)


def test_strangers_take_no_worker_his_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groundup.train.asynchronous.listener.MAX_STRANGERS", 3)
    monkeypatch.setattr("groundup.train.asynchronous.listener.MAX_CONNECTIONS", 1)
    token = new_token()
    with (
        listening("127.0.0.1", 0, token, lambda said: "", 2**20) as listener,
        contextlib.ExitStack() as opened,
    ):
        strangers = [
            opened.enter_context(socket.create_connection(listener.address, 5)) for _ in range(5)
        ]
        with connected(listener.address, token) as worker:
            say_hello(worker, hello("first", {}))
            for stranger in strangers[:2]:  # the oldest had to go
                until_closed(stranger)
            with connected(listener.address, token) as other, pytest.raises(ConfigError) as full:
                say_hello(other, hello("second", {}))
            assert "no room for more workers" in full.value.message


class Exhausted:
    """A port of a process that has no descriptor left; it counts how often it was asked."""

    def __init__(self) -> None:
        self.n_asked = 0

    def accept(self) -> Any:
        self.n_asked += 1
        raise OSError(errno.EMFILE, "Too many open files")

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 1

    def shutdown(self, how: int) -> None: ...

    def close(self) -> None: ...


def test_without_descriptors_the_port_is_asked_now_and_then() -> None:
    port: Any = Exhausted()
    listener = Listener(port, new_token(), lambda said: "", 2**20)
    time.sleep(0.15)
    listener.close()
    assert 1 <= port.n_asked <= 3


def test_no_server_is_an_error_with_its_place() -> None:
    with bound("127.0.0.1", 0) as free:
        address = free.getsockname()
    with pytest.raises(InputError, match="no parameter server") as error:
        work(address, new_token(), work_of(settings_of()), name="a")
    assert error.value.where == f"127.0.0.1:{address[1]}"


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with bound("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} is in use") as error:
            pretrain(tmp_path / "run", Tokens(), job(settings_of(port=port)))
    assert "pretrain.asynchronous.port" in (error.value.fix or "")


@pytest.mark.parametrize(
    ("host", "said"),
    [("192.0.2.1", "cannot listen at 192.0.2.1"), ("no.such.host.invalid", "is no address")],
)
def test_an_address_that_cannot_be_bound_is_named(host: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        bound(host, 0)
