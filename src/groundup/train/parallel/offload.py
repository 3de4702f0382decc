"""The optimizer and its states in the processor's memory: for a GPU that is too small.

FSDP2's offloading; the idea is ZeRO-Offload's (Ren et al. 2021, arXiv:2101.06840). Weights,
gradients and states lie in the processor's memory; the GPU gets the weights of a block when it
runs, and gives its gradients away after the backward pass. The processor computes the update.

Notable: FSDP2 needs a mesh, so a process alone is a mesh of one.
"""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING

import torch

from groundup.errors import ConfigError
from groundup.train.asynchronous.local_sgd import is_local
from groundup.train.config import Settings

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import OffloadPolicy


def require_offload_possible(settings: Settings) -> None:
    """Check that there is something to offload, and a way to.

    Raises:
        ConfigError: training is on a CPU, or each replica of local SGD has its own optimizer.
    """
    if not settings.offload_optimizer:
        return
    if settings.device == "cpu":
        raise nothing_to_offload()
    if is_local(settings):
        raise ConfigError(
            "the replicas of local SGD keep whole optimizers, which are not offloaded",
            where="pretrain.offload_optimizer",
            fix="leave it out, or train synchronously",
        )


def nothing_to_offload() -> ConfigError:
    """The error of a CPU that is to offload."""
    return ConfigError(
        "offload_optimizer frees a GPU's memory, and this training is on a CPU: there is "
        "nothing to offload",
        where="pretrain.offload_optimizer",
        fix="leave it out, or train on a GPU",
    )


def offload_policy(settings: Settings) -> OffloadPolicy:
    """What FSDP2 is told: where the pieces of weights, gradients and states lie."""
    from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy

    if not settings.offload_optimizer:
        return OffloadPolicy()
    return CPUOffloadPolicy(pin_memory=settings.device == "cuda")


def mesh_of_one(device: str) -> DeviceMesh:
    """A mesh of this process alone, which no other is asked to join."""
    from torch._C._distributed_c10d import HashStore
    from torch.distributed.device_mesh import init_device_mesh

    if not torch.distributed.is_initialized():
        on_gpu = device == "cuda"
        torch.distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            store=HashStore(),
            rank=0,
            world_size=1,
            device_id=torch.device("cuda", torch.cuda.current_device()) if on_gpu else None,
        )
        atexit.register(_leave)
    return init_device_mesh(device, (1,), mesh_dim_names=("shard",))


def _leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
