"""What travels between server and workers, and what is refused before it is read."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from groundup.train.asynchronous import wire
from groundup.train.asynchronous.wire import (
    TokenError,
    WireError,
    admit,
    introduce,
    new_token,
    pack,
    receive,
    send,
    unpack,
)

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    here, there = socket.socketpair()
    with here, there:
        yield here, there


class Aside:
    """Work in a thread, and its result or error."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work, self.found = work, list[object]()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        try:
            self.found.append(self.work())
        except WireError as error:
            self.found.append(error)

    def result(self) -> object:
        self.thread.join(10)
        return self.found[0]


def test_messages_and_tensors_arrive_as_they_were_sent(pair: Pair) -> None:
    here, there = pair
    tensors = {"a": torch.randn(3, 5), "b": torch.tensor([float("nan"), -0.0, 3e38])}
    said = {"kind": "push", "lease": 3, "loss": 0.1}
    sending = Aside(lambda: send(here, pack(said, tensors)))
    message, found = unpack(receive(there, 2**20))
    assert sending.result() is None
    assert message == said
    assert {name: t.numpy().tobytes() for name, t in found.items()} == {
        name: t.numpy().tobytes() for name, t in tensors.items()
    }


def test_a_long_frame_is_refused_before_it_is_read(pair: Pair) -> None:
    here, there = pair
    here.sendall((2**40).to_bytes(8, "big"))
    with pytest.raises(WireError, match=r"1,099,511,627,776 bytes is announced; 1,024"):
        receive(there, 1024)


@pytest.mark.parametrize(
    "garbage",
    [b"", b"GET / HTTP/1.1\r\n\r\n", bytes(64), b"\xff" * 100, pack({"no": "kind"}),
     (8).to_bytes(8, "little") + b"[[[[[[[["],
)  # fmt: skip
def test_what_is_no_message_is_named_so(garbage: bytes) -> None:
    with pytest.raises(WireError, match="not a message"):
        unpack(garbage)


def test_a_cut_message_is_none() -> None:
    whole = pack({"kind": "push"}, {"a": torch.zeros(100)})
    for length in range(0, len(whole), 7):
        with pytest.raises(WireError):
            unpack(whole[:length])


def test_both_sides_prove_the_token_and_never_send_it(pair: Pair) -> None:
    token, sent = new_token(), bytearray()
    here, there = pair
    between, beyond = socket.socketpair()

    def listen_in(one: socket.socket, other: socket.socket) -> None:
        while data := one.recv(4096):
            sent.extend(data)
            other.sendall(data)

    for ends in ((there, between), (between, there)):
        threading.Thread(target=listen_in, args=ends, daemon=True).start()
    admitting = Aside(lambda: admit(here, token))
    introduce(beyond, token)
    assert admitting.result() is None
    assert len(sent) == 4 * wire.NONCE_BYTES
    assert token.encode() not in sent
    assert bytes.fromhex(token) not in sent
    for each in (between, beyond):
        each.shutdown(socket.SHUT_RDWR)
        each.close()


def test_a_worker_with_another_token_is_told_so(pair: Pair) -> None:
    here, there = pair
    admitting = Aside(lambda: admit(here, new_token()))
    with pytest.raises(TokenError, match="wrong token"):
        introduce(there, new_token())
    assert isinstance(admitting.result(), TokenError)


def test_a_handshake_has_one_limit_however_many_bytes_come(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "HANDSHAKE_SECONDS", 0.3)
    here, there = pair
    began = time.monotonic()
    admitting = Aside(lambda: admit(here, new_token()))
    while admitting.thread.is_alive() and time.monotonic() - began < 5:
        there.sendall(b"x")  # 64 of them would take 6 s
        time.sleep(0.1)
    assert isinstance(admitting.result(), WireError)
    assert time.monotonic() - began < 3


def test_the_longest_frame_holds_all_weights_and_little_more() -> None:
    model = nn.ModuleList(nn.Linear(1, 1) for _ in range(2000))
    longest = pack({"kind": "weights"}, dict(model.named_parameters()))
    assert len(longest) < wire.frame_limit(model) < len(longest) + 3 * 2**20


def test_a_server_without_the_token_learns_nothing_it_could_use(pair: Pair) -> None:
    here, there = pair
    introducing = Aside(lambda: introduce(there, new_token()))
    here.sendall(bytes(32))
    proof = wire.exactly(here, 64, 5.0)[32:]
    here.sendall(proof)  # the worker's own proof sent back is not the server's
    assert isinstance(introducing.result(), TokenError)


def test_garbage_in_place_of_a_proof_is_a_wrong_token(pair: Pair) -> None:
    here, there = pair
    admitting = Aside(lambda: admit(here, new_token()))
    there.sendall(
        b"GET / HTTP/1.1\r\nHost: example.org\r\nUser-Agent: nobody-in-particular/1.0\r\n"
    )
    assert isinstance(admitting.result(), TokenError)


def test_a_peer_that_leaves_is_an_error_at_once(pair: Pair) -> None:
    here, there = pair
    there.close()
    with pytest.raises(WireError, match=r"closed the connection|connection is lost"):
        receive(here, 100)
