"""Worlds of real processes, each told who it is as by torchrun.

One process imports torch and forks the ranks of each world: the imports take longer than the work.
"""

import faulthandler
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

WAIT_SECONDS = 120  # for a world
GRACE_SECONDS = 10  # for the other ranks, once one has failed


def worlds(calls, folder):
    """Run them; `answers`. A failure of one rank is an error.

    Args:
        calls: (size, "module:function", arguments as JSON) of each world.
    """
    words = [sys.executable, "-W", "error", "-m", "tests.train.distributed.world"]
    done = subprocess.run(
        [*words, json.dumps(calls), str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return answers(calls, folder)


def answers(calls, folder):
    """What each rank of each world gave: [world][rank]."""
    return [
        [json.loads(answer(folder, world, rank).read_text()) for rank in range(size)]
        for world, (size, *_) in enumerate(calls)
    ]


def answer(folder, world, rank):
    return folder / f"{world}-{rank}.json"


def serve(calls, folder):
    """Run every world; the number of ranks that failed."""
    importlib.import_module("groundup.train.pretrain")
    (folder / "imported.json").write_text(json.dumps(sorted(sys.modules)))
    import torch
    import torch._dynamo
    import torch.distributed.fsdp

    assert torch.get_num_threads() == 1, "a fork would lose the others"
    for _, function, _ in calls:
        importlib.import_module(function.partition(":")[0])
    return sum(run(calls, world, folder) for world in range(len(calls)))


def run(calls, world, folder):
    size, function, arguments = calls[world]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    agent = forked(keep_store, port)
    ranks = dict.fromkeys(
        [forked(be, rank, size, port, function, arguments, answer(folder, world, rank))
         for rank in range(size)]
    )  # fmt: skip
    until = time.monotonic() + WAIT_SECONDS
    while None in ranks.values() and time.monotonic() < until:
        time.sleep(0.02)
        for pid in [pid for pid, status in ranks.items() if status is None]:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                ranks[pid] = status
        if any(ranks.values()):
            until = min(until, time.monotonic() + GRACE_SECONDS)
    for pid in [agent, *(pid for pid, status in ranks.items() if status is None)]:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return sum(status != 0 for status in ranks.values())


def forked(work, *arguments):
    pid = os.fork()
    if pid == 0:
        try:
            work(*arguments)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid


def keep_store(port):
    """What torchrun's agent does for its processes."""
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
    while store:
        time.sleep(60)


def be(rank, size, port, function, arguments, file):
    faulthandler.dump_traceback_later(WAIT_SECONDS - 10)
    place = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": size,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "TORCHELASTIC_USE_AGENT_STORE": True,
        "TORCHELASTIC_RESTART_COUNT": 0,
    }
    os.environ.update({name: str(value) for name, value in place.items()})
    module, _, name = function.partition(":")
    file.write_text(json.dumps(getattr(importlib.import_module(module), name)(*arguments)))


if __name__ == "__main__":
    sys.exit(serve(json.loads(sys.argv[1]), Path(sys.argv[2])))
