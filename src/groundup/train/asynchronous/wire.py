"""What server and workers say to each other: frames of safetensors bytes over TCP, no pickle.

    server → worker   32 random bytes
    worker → server   32 random bytes and an HMAC over both, keyed with the shared token
    server → worker   an HMAC of its own; 32 zero bytes where the worker's was wrong

Until then nothing is read but those 64 bytes, and the token itself is never sent. After it each
frame is its length (8 bytes, big-endian) and a safetensors file, whose metadata hold the message as
JSON. A frame longer than the reader expects is refused before it is read.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import socket
import struct
import time
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

HANDSHAKE_SECONDS = 10.0  # for all of it
FRAME_SECONDS = 120.0  # without a byte, inside a frame
NONCE_BYTES = 32
REFUSED = bytes(NONCE_BYTES)
MAX_MESSAGE_BYTES = 2**20  # of a message; the longest holds a run's settings
HEADER_BYTES_PER_TENSOR = 512  # name, type, shape and place of each; usual ones need about 120
LENGTH = struct.Struct(">Q")
# A peer whose machine vanished is noticed after about a minute: idle, between probes, how many.
KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))

Message = Mapping[str, Any]


class WireError(Exception):
    """The other side is gone, or what it sent is none of what is spoken here."""


class TokenError(WireError):
    """The two sides do not have the same token."""


def new_token() -> str:
    """A secret that server and workers share."""
    return secrets.token_hex(32)


def pack(message: Message, tensors: Mapping[str, Tensor] | None = None) -> bytes:
    """One frame, without its length."""
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in (tensors or {}).items()}
    return safetensors.torch.save(held, metadata={"message": json.dumps(message)})


def frame_limit(model: nn.Module) -> int:
    """Bytes of the longest frame that server and workers of ``model`` send: all of its weights."""
    tensors = list(model.parameters())
    n_bytes = sum(each.numel() * each.itemsize for each in tensors)
    return n_bytes + len(tensors) * HEADER_BYTES_PER_TENSOR + MAX_MESSAGE_BYTES


def unpack(frame: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `pack` was given.

    Raises:
        WireError: it was not made by `pack`.
    """
    try:
        length = int.from_bytes(frame[:8], "little")
        message = json.loads(json.loads(frame[8 : 8 + length])["__metadata__"]["message"])
        tensors = safetensors.torch.load(frame)
    except (ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise WireError(f"not a message: {error}") from error
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        raise WireError("not a message: it has no kind")
    return message, tensors


def send(peer: socket.socket, frame: bytes) -> None:
    """Send one frame.

    Raises:
        WireError: the other side is gone.
    """
    try:
        peer.settimeout(FRAME_SECONDS)
        peer.sendall(LENGTH.pack(len(frame)))
        peer.sendall(frame)
    except OSError as error:
        raise WireError(f"the connection is lost: {error.strerror or error}") from error


def receive(peer: socket.socket, max_bytes: int, wait_seconds: float | None = None) -> bytes:
    """Receive one frame of at most ``max_bytes``.

    Args:
        wait_seconds: for its first byte; None: as long as the other side is there.

    Raises:
        WireError: the other side is gone or silent, or announces a longer frame.
    """
    (length,) = LENGTH.unpack(exactly(peer, LENGTH.size, wait_seconds))
    if length > max_bytes:
        raise WireError(f"a frame of {length:,} bytes is announced; {max_bytes:,} is the limit")
    return exactly(peer, length, FRAME_SECONDS)


def exactly(
    peer: socket.socket, n_bytes: int, wait_seconds: float | None, until: float | None = None
) -> bytes:
    """So many bytes.

    Args:
        wait_seconds: for each part of them; None: the first is waited for without a limit.
        until: on the monotonic clock, when all of them must be here; None: no limit.

    Raises:
        WireError: the other side is gone, silent or slow.
    """
    data, filled = BytesIO(bytes(n_bytes)), 0  # its value is given out without a copy
    try:
        with data.getbuffer() as view:
            peer.settimeout(wait_seconds if until is None else left_until(until))
            while filled < n_bytes:
                got = peer.recv_into(view[filled:])
                if not got:
                    raise WireError("the other side closed the connection")
                filled += got
                wait = FRAME_SECONDS if wait_seconds is None else wait_seconds
                peer.settimeout(wait if until is None else left_until(until))
    except OSError as error:
        raise WireError(f"the connection is lost: {error.strerror or error}") from error
    return data.getvalue()


def left_until(until: float) -> float:
    """Seconds until then; never 0, which would mean not to wait at all."""
    return max(1e-3, until - time.monotonic())


def admit(peer: socket.socket, token: str) -> None:
    """The server's half of the handshake.

    Raises:
        TokenError: the worker does not have the token; it is told so.
        WireError: it is gone, silent, or slower than the limit of the handshake.
    """
    mine, until = secrets.token_bytes(NONCE_BYTES), time.monotonic() + HANDSHAKE_SECONDS
    try:
        peer.settimeout(HANDSHAKE_SECONDS)
        peer.sendall(mine)
        answer = exactly(peer, 2 * NONCE_BYTES, HANDSHAKE_SECONDS, until)
        theirs, proof = answer[:NONCE_BYTES], answer[NONCE_BYTES:]
        known = hmac.compare_digest(proof, proof_of(token, "worker", mine, theirs))
        peer.sendall(proof_of(token, "server", mine, theirs) if known else REFUSED)
    except OSError as error:
        raise WireError(f"the connection is lost: {error.strerror or error}") from error
    if not known:
        raise TokenError("a wrong token")


def introduce(peer: socket.socket, token: str) -> None:
    """The worker's half of the handshake.

    Raises:
        TokenError: the server does not have this token.
        WireError: it is gone, silent, or no server of ours.
    """
    mine, until = secrets.token_bytes(NONCE_BYTES), time.monotonic() + HANDSHAKE_SECONDS
    theirs = exactly(peer, NONCE_BYTES, HANDSHAKE_SECONDS, until)
    try:
        peer.sendall(mine + proof_of(token, "worker", theirs, mine))
    except OSError as error:
        raise WireError(f"the connection is lost: {error.strerror or error}") from error
    answer = exactly(peer, NONCE_BYTES, HANDSHAKE_SECONDS, until)
    if not hmac.compare_digest(answer, proof_of(token, "server", theirs, mine)):
        raise TokenError("a wrong token" if answer == REFUSED else "it does not know the token")


def proof_of(token: str, who: str, server_nonce: bytes, worker_nonce: bytes) -> bytes:
    """What only somebody with the token can send, and only in this conversation."""
    said = who.encode() + server_nonce + worker_nonce
    return hmac.new(token.encode(), said, hashlib.sha256).digest()


def prepare(peer: socket.socket) -> None:
    """Small messages at once, and peers that vanished noticed."""
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE:
        if hasattr(socket, name):  # macOS names one of them otherwise
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
