"""A worker: fetch weights and samples, compute gradients, push them, again.

A gradient is a function of the weights, the seed and the samples' numbers, whoever computes it: the
random draws of a worker (dropout) start anew with each range.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import sleep
from typing import Any

import torch
from torch import Tensor

from groundup.architecture.config import ModelConfig
from groundup.errors import ConfigError, InputError, RankFailedError
from groundup.tokens.dataset import TokenDataset
from groundup.train.asynchronous.identity import hello
from groundup.train.asynchronous.wire import (
    HANDSHAKE_SECONDS,
    MAX_MESSAGE_BYTES,
    TokenError,
    WireError,
    frame_limit,
    introduce,
    pack,
    prepare,
    receive,
    send,
    unpack,
)
from groundup.train.batch import counts_of
from groundup.train.config import Settings
from groundup.train.distributed import ALONE
from groundup.train.fingerprint import fingerprint_of
from groundup.train.objective import Objective
from groundup.train.parallel.recompute import recompute_blocks
from groundup.train.resources import pick_device, use
from groundup.train.start import untrained
from groundup.train.state import RunState, seed_everything
from groundup.train.step import drop_gradients, gradients


@dataclass(frozen=True)
class Work:
    """What a worker must have: the run as the server has it.

    Attributes:
        key, settings, objective: as in `job.Job`.
    """

    key: Mapping[str, Any]
    settings: Settings
    objective: Objective
    dataset: TokenDataset


@dataclass
class Done:
    """What a worker has done.

    Attributes:
        applied, refused: gradients.
        why: it ended.
    """

    applied: int = 0
    refused: int = 0
    why: str = ""


def work(
    address: tuple[str, int],
    token: str,
    given: Work,
    *,
    name: str,
    n_threads: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Done:
    """Work for the server at ``address`` until it says that it is over, or ``stop``.

    Args:
        n_threads: in place of the run's.

    Raises:
        InputError: there is no server, or the token is not the server's.
        ConfigError: the server finds that this worker has another run, other tokens or other code.
        RankFailedError: the server is gone.
        UserError: the run is on a GPU, and there is none here.
    """
    settings = given.settings
    pick_device(settings.device)
    use(n_threads or settings.n_threads, settings.float32_matmul_precision)
    model = untrained(ModelConfig.from_dict(given.key["model"]), settings).to(settings.device)
    recompute_blocks(model, settings.recompute)
    state, max_bytes = RunState(model, []), frame_limit(model)
    fingerprint = fingerprint_of(given.key, given.dataset, settings, ALONE)
    done = Done()
    with connected(address, token) as server:
        say_hello(server, hello(name, fingerprint))
        while not stop():
            answer, _ = asked(server, pack({"kind": "fetch"}), max_bytes)
            if answer["kind"] == "end":
                done.why = str(answer["why"])
                break
            if answer["kind"] == "wait":
                sleep(float(answer["seconds"]))
                continue
            _, weights = unpack(receive(server, max_bytes))
            loss, found = computed(state, weights, answer, given)
            said = {"kind": "push", "lease": answer["lease"], "loss": loss}
            answer, _ = asked(server, pack(said, found), max_bytes)
            if answer["kind"] == "end":
                done.why = str(answer["why"])
                break
            done.refused += bool(answer["refused"])
            done.applied += not answer["refused"]
    return done


def computed(
    state: RunState, weights: Mapping[str, Tensor], lease: Mapping[str, Any], given: Work
) -> tuple[float, dict[str, Tensor]]:
    """Loss (nats per target) and gradients of a range of samples at these weights."""
    settings, cursor, size = given.settings, int(lease["cursor"]), int(lease["size"])
    with torch.no_grad():
        for name, parameter in state.model.named_parameters():
            parameter.copy_(weights[name])
    digest = hashlib.sha256(f"{settings.seed} {cursor}".encode()).digest()
    seed_everything(int.from_bytes(digest[:7]))
    whole = given.objective.batch_at(
        given.dataset, settings.seed, cursor, size, settings.context_length
    )
    batch, counts = whole.to(settings.device), counts_of(whole).to(settings.device)
    drop_gradients(state)
    loss = gradients(state, settings, batch, counts, given.objective.loss).loss.item()
    named = state.model.named_parameters()
    return loss, {name: p.grad for name, p in named if p.grad is not None}


@contextmanager
def connected(address: tuple[str, int], token: str) -> Iterator[socket.socket]:
    """A connection to the server, which has proved that it knows the token.

    Raises:
        InputError: there is no server, or the token is not its own.
        RankFailedError: it went away during the block.
    """
    host, port = address
    where = f"{host}:{port}"
    try:
        server = socket.create_connection(address, HANDSHAKE_SECONDS)
    except OSError as error:
        raise InputError(
            f"there is no parameter server: {error.strerror or error}",
            where=where,
            fix="start it with `groundup pretrain` and pretrain.asynchronous.kind: "
            "parameter_server; it says its address",
        ) from error
    with server:
        prepare(server)
        try:
            introduce(server, token)
        except TokenError as error:
            raise InputError(
                f"the server and this worker do not have the same token: {error}",
                where=where,
                fix="give the one in server.token of the run's folder",
            ) from error
        except WireError as error:
            raise InputError(f"this is no parameter server: {error}", where=where) from error
        try:
            yield server
        except WireError as error:
            raise RankFailedError(
                f"the parameter server is gone: {error}",
                where=where,
                fix="start it again; then this worker can join again",
            ) from error


def say_hello(server: socket.socket, said: Mapping[str, Any]) -> None:
    """Say who we are, and be let in.

    Raises:
        ConfigError: it does not want us.
    """
    answer, _ = asked(server, pack(said), MAX_MESSAGE_BYTES)
    if answer["kind"] != "welcome":
        host, port = server.getpeername()[:2]
        raise ConfigError(
            f"the server refuses this worker: {answer.get('why')}",
            where=f"{host}:{port}",
            fix="give this worker the server's project file, tokens and version of groundup",
        )


def asked(
    server: socket.socket, frame: bytes, max_bytes: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Send a frame and wait for the answer, as long as the server is there."""
    send(server, frame)
    return unpack(receive(server, max_bytes))
