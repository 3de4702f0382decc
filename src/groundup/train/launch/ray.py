"""The job as a Python file for Ray Train: `python FILE` on a node of the cluster runs it.

Ray places one worker a rank and gives it a GPU; each worker starts `groundup pretrain` as a process
of its own, told who it is as by torchrun, since Ray's worker has a process group already. When the
worker goes, so does the process, after saving. The file keeps the budget of failures as the other
forms do: a new checkpoint renews it, and a mistake of the user's (exit code 2) ends it.
API: https://docs.ray.io/en/latest/train/api (Ray 2.60): TorchTrainer, ScalingConfig, FailureConfig.
"""

from __future__ import annotations

import json

from groundup.train.launch.job import Job

FILE = '''\
"""{title} by Ray Train; written by `groundup launch ray`. Run it on a node of the cluster."""

import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PYTHON = {python}
PROJECT = {project}
PLAN = {plan}
PRETRAIN = {pretrain}
N_RANKS = {n_ranks}
USE_GPU = {use_gpu}
MAX_RESTARTS = {max_restarts}
GRACE_SECONDS = {grace_seconds}
ENDED = "groundup ended with code "
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def die_with_worker():
    """SIGTERM when Ray ends the worker: training saves, then ends."""
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGTERM)


def meeting_place(context):
    """Address and free port of rank 0, told to all through the group that Ray has made."""
    import torch.distributed

    told = [None]
    if context.get_world_rank() == 0:
        with socket.socket() as free:
            free.bind(("", 0))
            told = [(os.environ["MASTER_ADDR"], free.getsockname()[1])]
    torch.distributed.broadcast_object_list(told, src=0)
    return told[0]


def train():
    """One rank."""
    import ray.train

    context = ray.train.get_context()
    address, port = meeting_place(context)
    place = {{
        "RANK": context.get_world_rank(),
        "WORLD_SIZE": context.get_world_size(),
        "LOCAL_RANK": 0 if os.environ.get("CUDA_VISIBLE_DEVICES", "").isdecimal()
        else context.get_local_rank(),
        "LOCAL_WORLD_SIZE": context.get_local_world_size(),
        "MASTER_ADDR": address,
        "MASTER_PORT": port,
    }}
    told = {{**os.environ, **{{name: str(value) for name, value in place.items()}}}}
    child = subprocess.Popen([PYTHON, *PRETRAIN], env=told, preexec_fn=die_with_worker)
    try:
        code = child.wait()
    finally:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
    if code:
        raise RuntimeError(ENDED + str(code))


def checkpoints():
    """All checkpoints of the project's runs."""
    return set(Path(PROJECT).glob("runs/*/checkpoints/step-*"))


def main():
    """Plan, then train until it is done or has failed too often; the exit code."""
    import ray
    import ray.train
    from ray.train.torch import TorchTrainer

    planned = subprocess.run([PYTHON, *PLAN], stdout=subprocess.DEVNULL, check=False).returncode
    if planned:
        return planned
    ray.init(ignore_reinit_error=True)
    failures = 0
    while True:
        seen = checkpoints()
        trainer = TorchTrainer(
            train,
            scaling_config=ray.train.ScalingConfig(num_workers=N_RANKS, use_gpu=USE_GPU),
            run_config=ray.train.RunConfig(
                name={name}, failure_config=ray.train.FailureConfig(max_failures=0)
            ),
        )
        try:
            trainer.fit()
            return 0
        except KeyboardInterrupt:
            return 130
        except Exception as error:
            codes = set(map(int, re.findall(ENDED + r"(-?\\d+)", str(error))))
        for final in (2, 130):
            if final in codes:
                return final
        failures = 1 if checkpoints() - seen else failures + 1
        if failures > MAX_RESTARTS:
            print("error: training failed", failures, "times without a new checkpoint",
                  file=sys.stderr)
            return 1
        print("training ended with", sorted(codes) or "no code", "; restart", failures, "of",
              MAX_RESTARTS, file=sys.stderr)
        time.sleep(2**failures)


if __name__ == "__main__":
    sys.exit(main())
'''


def script(job: Job, python: str) -> str:
    """The file's text.

    Args:
        job: its folder is reached under this path from every node.
        python: the interpreter that has groundup, on every node.
    """
    return FILE.format(
        title=job.name,
        name=json.dumps(job.name),
        python=json.dumps(python),
        project=json.dumps(str(job.folder)),
        plan=json.dumps([*job.groundup("plan"), "--json"]),
        pretrain=json.dumps(job.groundup("pretrain")),
        n_ranks=job.max_nodes * job.processes,
        use_gpu=job.gpus > 0,
        max_restarts=job.max_restarts,
        grace_seconds=job.grace_seconds,
    )
