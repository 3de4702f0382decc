"""Several ranks on this machine, by torchrun: what can be known to go wrong is refused before it.

More processes than GPUs, GPUs of different kinds, a layout that is not of this many processes, a
port that somebody else has: each would else come from a dozen processes at once, or as a hang.
"""

from __future__ import annotations

import errno
import os
import socket

from groundup.errors import ConfigError, InputError
from groundup.hardware import visible_gpus

LEAST_PORT, MOST_PORT = 1, 65535


def require_devices(device: str, n_ranks: int) -> None:
    """Check that every rank can have a GPU of its own, all of one kind; on a CPU there is no limit.

    Args:
        device: ``pretrain.device``: auto, cpu or cuda.

    Raises:
        ConfigError: there are too few GPUs, or different ones.
    """
    gpus = usable_gpus()
    if device == "cpu" or (device == "auto" and not gpus):
        return
    if n_ranks > len(gpus):
        s = "" if len(gpus) == 1 else "s"
        raise ConfigError(
            f"{n_ranks} ranks, and {len(gpus)} GPU{s} on this machine",
            where="--ranks",
            fix=f"--ranks {len(gpus)}, or pretrain.device=cpu" if gpus else "pretrain.device=cpu",
        )
    kinds = sorted(set(gpus))
    if len(kinds) > 1 and n_ranks > 1:
        counted = ", ".join(f"{gpus.count(kind)} {kind}" for kind in kinds)
        raise ConfigError(
            f"the GPUs of this machine are of different kinds: {counted}",
            where="CUDA_VISIBLE_DEVICES",
            fix="name those of one kind: all ranks wait for the slowest, and round differently",
        )


def usable_gpus() -> list[str]:
    """Names of the GPUs as the driver lists them, those that `CUDA_VISIBLE_DEVICES` leaves.

    CUDA counts by itself unless told to count like the driver, and then a choice by number cannot
    be followed here: all that are left bear the name of the first.
    """
    gpus, chosen = visible_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return gpus
    words = [word.strip() for word in chosen.split(",")]
    named = []
    for word in words:  # CUDA stops at the first that it does not know
        if word.isdecimal() and int(word) < len(gpus):
            named.append(gpus[int(word)])
        elif word.startswith(("GPU-", "MIG-")):
            named.append(gpus[0] if gpus else word)
        else:
            break
    if os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
        return named
    return [named[0]] * len(named) if named else []


def meeting_place(address: str) -> str:
    """``HOST:PORT`` for torchrun, tried; empty (torchrun finds a free port) stays empty.

    Raises:
        InputError: it is no address, none of this machine's, or something else has the port.
    """
    if not address:
        return ""
    host, colon, port_text = address.rpartition(":")
    host = host.strip("[]")
    port = int(port_text) if port_text.isdecimal() else 0
    if not (colon and host and LEAST_PORT <= port <= MOST_PORT):
        raise InputError(
            f"{address!r} is no address", where="--address", fix="write HOST:PORT, 127.0.0.1:29400"
        )
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise InputError(
            f"the name {host!r} is not known: {error.strerror or error}",
            where="--address",
            fix="name an address of this machine, such as 127.0.0.1",
        ) from error
    family, kind, protocol, _, where = found[0]
    with socket.socket(family, kind, protocol) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as torch's store does
        try:
            tried.bind(where)
            tried.listen()
        except OSError as error:
            raise InputError(
                unbound(error, host, port), where="--address", fix=way_out(error)
            ) from error
    return address


def unbound(error: OSError, host: str, port: int) -> str:
    """Why an address cannot be had."""
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} of {host} is in use by another program"
        case errno.EADDRNOTAVAIL:
            return f"{host} is no address of this machine"
        case errno.EACCES:
            return f"port {port} is kept for the system"
    return f"{host}:{port} cannot be bound: {error.strerror}"


def way_out(error: OSError) -> str:
    """What to do about it."""
    match error.errno:
        case errno.EADDRINUSE:
            return "take another port; without --address a free one is found"
        case errno.EADDRNOTAVAIL:
            return "`ip addr` lists those there are; without --address it is 127.0.0.1"
        case errno.EACCES:
            return "take one of 1024 or more"
    return "leave --address out: a free port of 127.0.0.1 is found"
