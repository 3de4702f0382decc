"""Who this process is among the ranks, from the environment that torchrun sets."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass

from groundup.errors import InputError
from groundup.train.processes import told_number

HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")  # RFC 1123, and Slurm's underscores


@dataclass(frozen=True)
class Member:
    """One process of the visit.

    Attributes:
        rank, size: its number, and how many there are.
        host: the name its node goes by.
        address, port: of rank 0's store (torchrun's ``MASTER_ADDR``, ``MASTER_PORT``).
        hosts_store: whether this process serves the store; torchrun's agent does where there is
            one.
    """

    rank: int
    size: int
    host: str
    address: str = ""
    port: int = 0
    hosts_store: bool = False


def member() -> Member:
    """Who this process is, from ``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR`` and ``MASTER_PORT``.

    Raises:
        InputError: one of them is missing or no number.
    """
    size = told_number("WORLD_SIZE", 1)
    if size == 1:
        return Member(0, 1, host_name(0))
    rank, port = told_number("RANK"), told_number("MASTER_PORT")
    if not 0 <= rank < size:
        raise InputError(f"RANK is {rank}, but WORLD_SIZE is {size}", fix="start it by torchrun")
    agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    address = os.environ.get("MASTER_ADDR", "localhost")
    return Member(rank, size, host_name(rank), address, port, rank == 0 and not agent)


def host_name(rank: int) -> str:
    """The node's name: ``GROUNDUP_HOST``, else the system's.

    ``{rank}`` in ``GROUNDUP_HOST`` stands for the rank: several nodes played on one machine.

    Raises:
        InputError: it is no host name.
    """
    name = os.environ.get("GROUNDUP_HOST", "").replace("{rank}", str(rank)) or socket.gethostname()
    if not HOST_NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is no host name", where="GROUNDUP_HOST", fix="letters, digits, ``._-``"
        )
    return name
