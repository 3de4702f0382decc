"""How the ranks find each other and leave each other notes: torch's key-value store, JSON values.

Every wait has an end: a rank that does not come is None, and the others go on without it.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Any

from torch.distributed import (  # type: ignore[attr-defined]
    DistError,
    DistStoreError,
    PrefixStore,
    Store,
    TCPStore,
)

from groundup.errors import UserError
from groundup.train.doctor.member import Member


class Meeting:
    """The store of one visit, as one process sees it.

    Args:
        store: shared by all ranks.
        me: this process.
    """

    def __init__(self, store: Store, me: Member) -> None:
        self.store, self.me = store, me

    def post(self, key: str, value: Any) -> None:
        """Leave ``value`` (plain JSON) under ``key`` for everybody.

        Raises:
            UserError: the store is gone.
        """
        try:
            self.store.set(key, json.dumps(value))
        except DistError as error:
            raise gone(self.me) from error

    def take(self, key: str, seconds: float) -> Any | None:
        """What stands under ``key``; None if nobody has written it within ``seconds``.

        Raises:
            UserError: the store is gone.
        """
        try:
            self.store.wait([key], timedelta(seconds=max(seconds, 0.01)))
            return json.loads(self.store.get(key))
        except DistStoreError:
            return None
        except DistError as error:
            raise gone(self.me) from error


def serve_or_connect(me: Member, seconds: float) -> Meeting:
    """Open the store that rank 0, or torchrun's agent, serves.

    Raises:
        UserError: the port is taken (rank 0), or nobody answers there.
    """
    try:
        return Meeting(open_store(me, seconds, serve=me.hosts_store), me)
    except DistError as error:
        if not me.hosts_store:
            raise gone(me) from error
        raise UserError(
            f"rank 0 cannot serve at {me.address}:{me.port}",
            where="MASTER_ADDR, MASTER_PORT",
            fix="name an address of this node and a port that is free",
        ) from error


def open_store(me: Member, seconds: float, serve: bool = False) -> Store:
    """One connection to the store; each thread that waits needs its own."""
    store = TCPStore(
        me.address, me.port, None, serve, timedelta(seconds=seconds), wait_for_workers=False
    )
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return PrefixStore(f"groundup-doctor/{attempt}", store)


def gone(me: Member) -> UserError:
    """The error of a rank that is left alone."""
    return UserError(
        f"rank 0 does not answer at {me.address}:{me.port}",
        where=f"rank {me.rank} on {me.host}",
        fix="see whether rank 0 runs, and whether MASTER_ADDR and MASTER_PORT lead to it",
    )
