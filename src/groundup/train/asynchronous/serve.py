"""A run on a parameter server, from its folder's state to its last update.

One thread takes what the workers ask from one queue: hand out samples and weights, apply gradients
as they come, and between two of them do what the ordinary loop does between two steps: look at the
guard's verdict, write the log, evaluate, save. While it evaluates or saves, workers wait.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from groundup.errors import ConfigError
from groundup.files import write_atomic, write_json
from groundup.progress import say
from groundup.train import faults
from groundup.train.asynchronous.crew import Crew, crew_of
from groundup.train.asynchronous.identity import refusal
from groundup.train.asynchronous.layout import require_no_batch_norm
from groundup.train.asynchronous.listener import Listener, Request, listening
from groundup.train.asynchronous.server import ParameterServer, Pushed
from groundup.train.asynchronous.wire import frame_limit, new_token, pack
from groundup.train.config import Settings
from groundup.train.loop import Training, interrupted, keep, look, set_right
from groundup.train.parallel.model import gradient_norm
from groundup.train.state import RunState
from groundup.train.step import Gradients, apply_gradients

ADDRESS_FILE, TOKEN_FILE = "server.json", "server.token"  # in a run's folder, while it is served
LOOK_SECONDS = 0.2  # between two looks at signals, leases and local workers
FAREWELL_SECONDS = 5.0  # for workers to learn that it is over
LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost")


def serve(
    state: RunState,
    run: Training,
    fingerprint: Mapping[str, Any],
    worker_command: Sequence[str] | None,
) -> None:
    """Train from ``state.step`` to the last step with the workers that come.

    Args:
        fingerprint: of the run; a worker must bring the same.
        worker_command: starts a local worker; None: none are started.

    Raises:
        ConfigError: a run that no server can train; an address that cannot be had.
        RankFailedError: all local workers have failed, and no other is there.
        Interrupted, DivergedError, StorageError: see `loop.train`.
    """
    settings = run.changes.settings_after(state.step)
    require_servable(state, run)
    server = ParameterServer(state, settings)
    if state.asynchronous is None:
        state.asynchronous = server.record()
    run.recovery.begin(state)
    config, folder, token = server.config, run.log.run.folder, new_token()
    n_workers = 0 if worker_command is None else config.workers
    max_bytes = frame_limit(state.model)
    with (
        listening(
            config.host, config.port, token, lambda said: refusal(said, fingerprint), max_bytes
        ) as listener,
        announced(folder, listener.address, token),
        crew_of(
            worker_command or (), folder, n_workers, local_address(listener), token,
            settings.n_threads,
        ) as crew,
    ):  # fmt: skip
        host, port = listener.address
        run.log.shown.say(f"parameter server at {host}:{port}, {n_workers} workers started here")
        if config.host not in LOCAL_HOSTS:
            say("weights and gradients travel unencrypted: serve only a network that you trust")
        why = "interrupted"
        try:
            work_off(server, settings, run, listener, crew)
            why = "finished"
        finally:
            farewell(listener, crew, why)
    conclude(server, run, listener)


def require_servable(state: RunState, run: Training) -> None:
    """Refuse what several writers of one model cannot do.

    Raises:
        ConfigError: a batch norm, or changes on the way.
    """
    require_no_batch_norm(state.model)
    if run.changes.all:
        raise ConfigError(
            "settings cannot change on the way of a run with a parameter server",
            where="pretrain.changes",
            fix="leave the changes out (those given with --at are in the run's changes.json)",
        )


def work_off(
    server: ParameterServer, settings: Settings, run: Training, listener: Listener, crew: Crew
) -> None:
    """Answer requests until the last update is made and saved.

    Raises:
        Interrupted: asked to stop; saved first.
    """
    state, since, looked = server.state, time.perf_counter(), 0.0
    run.timer.at("workers")
    while state.step < settings.steps:
        if run.stop():
            save(server, settings, run, wait=True)
            said = f"stopped after step {state.step} of {settings.steps}, which is saved"
            raise interrupted(run, said)
        request = listener.next(LOOK_SECONDS)
        now = time.monotonic()
        if now - looked >= LOOK_SECONDS:
            look_around(server, run, listener, crew, now)
            looked = now
        pushed = None if request is None else answered(server, request, run)
        if pushed is None:
            continue
        if updated(server, settings, run, pushed, since):
            began = time.perf_counter()
            tended(server, settings, run)
            since = time.perf_counter()
            server.ledger.extend(since - began)
        run.timer.at("workers")


def look_around(
    server: ParameterServer, run: Training, listener: Listener, crew: Crew, now: float
) -> None:
    """See which leases have ended, and which workers of this machine."""
    for lease in server.ledger.lapse(now):
        told = {"worker": lease.worker, "samples": lease.range.cursor}
        run.log.run.event(server.state.step, "lease_ended", **told)
    crew.look(connected=len(listener.workers), updates=server.tally.updates)


def answered(server: ParameterServer, request: Request, run: Training) -> Pushed | None:
    """Answer one request; the gradient to be applied, if it brought one."""
    kind, worker = request.message["kind"], request.worker
    if kind == "fetch":
        request.answer(*server.fetch(worker, time.monotonic()))
    elif kind == "push":
        found = server.push(worker, request.message, request.tensors)
        why = found if isinstance(found, str) else ""
        request.answer(pack({"kind": "taken", "refused": why}))
        return None if isinstance(found, str) else found
    elif kind == "gone":
        returned = [each.cursor for each in server.ledger.leave(worker)]
        run.log.run.event(server.state.step, "worker_left", worker=worker, samples=returned)
    else:
        request.answer(pack({"kind": "end", "why": f"it does not know the request {kind!r}"}))
    return None


def updated(
    server: ParameterServer, settings: Settings, run: Training, pushed: Pushed, since: float
) -> bool:
    """Apply one gradient if the guard finds it good; whether it was applied."""
    state, cursor = server.state, pushed.lease.range.cursor
    run.timer.at("optimizer")
    norm = gradient_norm(state.model)
    found = Gradients(torch.tensor(pushed.loss, device=settings.device), norm)
    loss, grad_norm = found.numbers()
    run.timer.at("log")
    findings = run.checks.before_update(state)
    verdict = (
        run.recovery.of_corruption(findings, state)
        if findings
        else run.guard.judge(state.step, cursor, settings.batch_size, loss, grad_norm)
    )
    if verdict.action != "apply":
        set_right(verdict, state, settings, settings, run)
        if verdict.action == "rewind":
            begin_anew(server, run)
        return False
    if verdict.why:
        run.log.intervention("alarm", state, verdict)
    factor = run.guard.learning_rate_factor(state.step)
    factor *= server.learning_rate_factor(pushed.staleness)
    run.timer.at("optimizer")
    apply_gradients(state, settings, found, factor)
    run.timer.at("log")
    run.guard.accepted(loss, grad_norm)
    run.checks.after_update(state)
    faults.point("step", state.step)
    server.tally.applied(pushed.worker, pushed.staleness)
    seconds = time.perf_counter() - since
    more = {"cursor": cursor, "staleness": pushed.staleness}
    run.log.step(state, settings, loss, grad_norm, factor, seconds, more)
    return True


def tended(server: ParameterServer, settings: Settings, run: Training) -> None:
    """What an ordinary step ends with: evaluations, samples, checkpoints."""
    state = server.state
    last = state.step == settings.steps
    look(state, settings, run, last)
    if run.recovery.is_due(state.step) or last:
        save(server, settings, run, wait=last)


def save(server: ParameterServer, settings: Settings, run: Training, *, wait: bool) -> None:
    """Save the state with the ledger; where the guard goes back instead, begin anew from there."""
    state = server.state
    state.asynchronous = server.record()
    step = state.step
    keep(state, settings, settings, run, wait=wait)
    if state.step < step:
        begin_anew(server, run)


def begin_anew(server: ParameterServer, run: Training) -> None:
    """After a rewind: what was used up stays so, and no gradient of the old weights counts."""
    server.ledger.recall()
    server.forget_weights()
    server.state.asynchronous = server.record()
    run.recovery.save(server.state)


def farewell(listener: Listener, crew: Crew, why: str) -> None:
    """Tell the workers that it is over."""
    until = time.monotonic() + FAREWELL_SECONDS
    while time.monotonic() < until and (listener.workers or not crew.are_gone()):
        request = listener.next(LOOK_SECONDS)
        if request is not None and request.message["kind"] != "gone":
            request.answer(pack({"kind": "end", "why": why}))


def conclude(server: ParameterServer, run: Training, listener: Listener) -> None:
    """Write and say what came of the workers' gradients."""
    found = {**server.tally.summary(), "turned_away": listener.n_turned_away}
    run.log.run.event(server.state.step, "asynchronous", **found)
    run.log.run.update(asynchronous=found)
    updates = ", ".join(f"{name} {n:,}" for name, n in found["updates"].items())
    refused = ", ".join(f"{n:,} {why}" for why, n in found["refused"].items()) or "none"
    run.log.shown.say(
        f"staleness {found['mean_staleness']:.2f} in the mean, {found['max_staleness']} at most; "
        f"updates: {updates}; gradients refused: {refused}"
    )


def local_address(listener: Listener) -> str:
    """Where a process of this machine finds the server."""
    host, port = listener.address
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextmanager
def announced(folder: Path, address: tuple[str, int], token: str) -> Iterator[None]:
    """Address and token in the run's folder while the block runs; the token for its owner only."""
    write_json(folder / ADDRESS_FILE, {"host": address[0], "port": address[1]})
    write_atomic(folder / TOKEN_FILE, f"{token}\n", mode=0o600)
    try:
        yield
    finally:
        for name in (ADDRESS_FILE, TOKEN_FILE):
            with contextlib.suppress(OSError):
                (folder / name).unlink()
