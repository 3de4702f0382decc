"""The server's ear: a thread for each worker, and one queue of what they ask.

The threads only read, check and write; whoever takes from the queue is alone with the weights.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from groundup.errors import ConfigError
from groundup.tables import printable
from groundup.train.asynchronous.wire import (
    HANDSHAKE_SECONDS,
    MAX_MESSAGE_BYTES,
    WireError,
    admit,
    pack,
    prepare,
    receive,
    send,
    unpack,
)

MAX_CONNECTIONS = 1024  # with the token
MAX_STRANGERS = 64  # that have not shown the token yet, which takes a worker milliseconds
CLOSE_SECONDS = 1.0  # for the thread that accepts to notice that the port is closed
PAUSE_SECONDS = 0.1  # after a connection that could not be taken: no descriptor may be free


@dataclass(frozen=True)
class Request:
    """What a worker asks.

    Attributes:
        worker: its name, of no other connection.
        message: ``kind`` is fetch, push, or gone where it has left.
        tensors: gradients by parameter.
    """

    worker: str
    message: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    _answer: queue.SimpleQueue[Sequence[bytes]] = field(default_factory=queue.SimpleQueue)

    def answer(self, *frames: bytes) -> None:
        """Send these to the worker."""
        self._answer.put(frames)

    def wait(self) -> Sequence[bytes]:
        """In the connection's thread: the frames of the answer."""
        return self._answer.get()


class Listener:
    """An open port.

    Args:
        refusal: a worker's hello → why it may not work here; empty: it may.
        max_bytes: of one message.

    Attributes:
        address: host and port that workers connect to.
        n_turned_away: connections without the token, or that spoke something else.
    """

    def __init__(
        self,
        listening: socket.socket,
        token: str,
        refusal: Callable[[Mapping[str, Any]], str],
        max_bytes: int,
    ) -> None:
        self.address: tuple[str, int] = listening.getsockname()[:2]
        self.n_turned_away = 0
        self._listening, self._token, self._refusal = listening, token, refusal
        self._max_bytes = max_bytes
        self._requests: queue.Queue[Request] = queue.Queue()
        self._strangers: dict[socket.socket, None] = {}  # the oldest first
        self._peers: set[socket.socket] = set()
        self._workers: set[str] = set()
        self._lock, self._numbers = threading.Lock(), itertools.count(1)
        self._closing = threading.Event()
        self._accepting = threading.Thread(target=self._accept, name="accept workers", daemon=True)
        self._accepting.start()

    def next(self, seconds: float) -> Request | None:
        """The next request; None if there is none for so long."""
        try:
            return self._requests.get(timeout=seconds)
        except queue.Empty:
            return None

    @property
    def workers(self) -> frozenset[str]:
        """Those that are connected, and were let in."""
        with self._lock:
            return frozenset(self._workers)

    def close(self) -> None:
        """Close the port and every connection."""
        self._closing.set()
        shut(self._listening)  # a thread that waits in accept would keep the port open
        self._listening.close()
        self._accepting.join(CLOSE_SECONDS)
        with self._lock:
            peers = [*self._strangers, *self._peers]
        for peer in peers:
            shut(peer)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                peer, _ = self._listening.accept()
            except OSError:
                self._closing.wait(PAUSE_SECONDS)
                continue
            with self._lock:
                if len(self._strangers) >= MAX_STRANGERS:
                    oldest = next(iter(self._strangers))
                    del self._strangers[oldest]
                    shut(oldest)
                self._strangers[peer] = None
            try:
                threading.Thread(target=self._converse, args=[peer], daemon=True).start()
            except RuntimeError:  # no thread is to be had
                with self._lock:
                    self._strangers.pop(peer, None)
                peer.close()
                self._closing.wait(PAUSE_SECONDS)

    def _converse(self, peer: socket.socket) -> None:
        """One connection, from its handshake to its end."""
        name = ""
        try:
            with peer:
                name = self._welcome(peer)
                while True:
                    message, tensors = unpack(receive(peer, self._max_bytes))
                    if message["kind"] == "gone":
                        raise WireError("that is for us to say")
                    request = Request(name, message, tensors)
                    self._requests.put(request)
                    for frame in request.wait():
                        send(peer, frame)
        except (WireError, OSError):
            if not name:
                with self._lock:
                    self.n_turned_away += 1
        finally:
            with self._lock:
                self._strangers.pop(peer, None)
                self._peers.discard(peer)
                self._workers.discard(name)
            if name:
                self._requests.put(Request(name, {"kind": "gone"}, {}))

    def _welcome(self, peer: socket.socket) -> str:
        """Handshake and hello; the worker's name.

        Raises:
            WireError: it may not work here.
        """
        prepare(peer)
        admit(peer, self._token)
        with self._lock:
            is_full = len(self._peers) >= MAX_CONNECTIONS
            self._strangers.pop(peer, None)
            self._peers.add(peer)
        hello, _ = unpack(receive(peer, MAX_MESSAGE_BYTES, HANDSHAKE_SECONDS))
        why = "it has no room for more workers" if is_full else self._refusal(hello)
        if why:
            send(peer, pack({"kind": "refused", "why": why}))
            raise WireError(why)
        send(peer, pack({"kind": "welcome"}))
        with self._lock:
            name = f"{printable(str(hello.get('name', 'worker'))[:64])} #{next(self._numbers)}"
            self._workers.add(name)
        return name


def shut(peer: socket.socket) -> None:
    """Wake whoever waits for ``peer``; it is theirs to close."""
    with contextlib.suppress(OSError):
        peer.shutdown(socket.SHUT_RDWR)


@contextmanager
def listening(
    host: str, port: int, token: str, refusal: Callable[[Mapping[str, Any]], str], max_bytes: int
) -> Iterator[Listener]:
    """A `Listener` that is closed after the block.

    Raises:
        ConfigError: the port is in use, or there is no such address here.
    """
    listener = Listener(bound(host, port), token, refusal, max_bytes)
    try:
        yield listener
    finally:
        listener.close()


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ConfigError: the port is in use or not allowed, or there is no such address here.
    """
    where = f"pretrain.asynchronous: {host}:{port}"
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(
            f"{host!r} is no address", where=where, fix="set pretrain.asynchronous.host"
        ) from error
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind(address)
        opened.listen()
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} is in use",
                where=where,
                fix="set pretrain.asynchronous.port to another, or to 0 for any that is free",
            ) from error
        if error.errno == errno.EACCES:
            raise ConfigError(
                f"port {port} is not allowed",
                where=where,
                fix="set pretrain.asynchronous.port to 1024 or above",
            ) from error
        raise ConfigError(
            f"cannot listen at {host}: {error.strerror}",
            where=where,
            fix="set pretrain.asynchronous.host to an address of this machine",
        ) from error
    return opened
