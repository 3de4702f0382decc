"""The processes of a run, and the few things they tell each other.

torchrun starts them and tells each who it is in its environment; without it a run is one process
and nothing here is initialised. Every rank makes the whole batch of a step, which is a function of
the seed, and learns from its own rows: so the number of ranks changes neither data nor loss.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeVar

import torch
from torch import Tensor

from groundup.errors import ConfigError, GroundupError
from groundup.tokens.samples import IGNORED
from groundup.train.asynchronous.layout import require_fitting
from groundup.train.batch import Batch
from groundup.train.config import Settings
from groundup.train.noise.config import ObjectiveConfig
from groundup.train.parallel.layout import AXES, Axis, LayoutConfig, layout_of
from groundup.train.processes import told_number

if TYPE_CHECKING:
    from torch._C._distributed_c10d import ProcessGroup, Store
    from torch.distributed.device_mesh import DeviceMesh

Result = TypeVar("Result")

# How long a collective waits for a rank that does not come. The first step also reads data,
# compiles and allocates; torchtitan too makes the limit short after it.
FIRST_STEP_SECONDS = 600.0
COLLECTIVE_SECONDS = 60.0
LOOK_SECONDS = 0.2  # between two looks whether the first rank has finished what it does alone


@dataclass(frozen=True)
class Ranks:
    """One process, the one that runs this, among those of the run.

    Attributes:
        rank, size: number of this process, and how many there are.
        dp_replicate, dp_shard, pp, cp, tp: their layout; the product is ``size``.
        sp: whether those of tp share the tokens too.
        mesh: the same for torch: ``dp_replicate``, ``pp``, ``shard`` (dp_shard × cp) and ``tp``;
            None of a process alone.
        cp_mesh: whose dimension ``cp`` are the processes that share this one's rows.
    """

    rank: int = 0
    size: int = 1
    dp_replicate: int = 1
    dp_shard: int = 1
    pp: int = 1
    cp: int = 1
    tp: int = 1
    sp: bool = False
    mesh: DeviceMesh | None = field(default=None, compare=False, repr=False)
    cp_mesh: DeviceMesh | None = field(default=None, compare=False, repr=False)

    @property
    def is_first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def sizes(self) -> dict[Axis, int]:
        """The layout."""
        return {axis: getattr(self, axis) for axis in AXES}

    def at(self, axis: Axis) -> int:
        """The number of this process along an axis."""
        behind = AXES[AXES.index(axis) + 1 :]
        here = self.rank // math.prod(self.sizes()[other] for other in behind)
        return here % self.sizes()[axis]

    def group(self, axis: Literal["pp", "cp", "tp"]) -> ProcessGroup:
        """The processes that differ from this one along that axis only."""
        mesh = self.cp_mesh if axis == "cp" else self.mesh
        assert mesh is not None, "a process alone has no group"
        return mesh.get_group(axis)

    @property
    def n_shares(self) -> int:
        """Into how many shares the rows of a batch are divided."""
        return self.dp_replicate * self.dp_shard

    @property
    def share(self) -> int:
        """Which of them is this process's."""
        return self.at("dp_replicate") * self.dp_shard + self.at("dp_shard")


ALONE = Ranks()


@dataclass(frozen=True)
class Place:
    """What torchrun tells a process: its number, of all and on this machine, and their counts.

    Attributes:
        local_size: on this machine; all of them where nobody says.
    """

    rank: int = 0
    local_rank: int = 0
    size: int = 1
    local_size: int = 1


def place() -> Place:
    """Where the process stands by its environment; alone where torchrun did not start it.

    Raises:
        ConfigError: an environment with only some of torchrun's variables, or with no numbers.
    """
    told = [name for name in ("RANK", "WORLD_SIZE") if name in os.environ]
    if not told:
        return Place()
    needed = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in needed if name not in os.environ]
    if missing:
        raise ConfigError(
            f"the environment has {' and '.join(told)} but not {' and '.join(missing)}",
            fix="start several processes by torchrun; for one alone unset these variables",
        )
    rank, local_rank, size = (told_number(name) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"))
    return Place(rank, local_rank, size, told_number("LOCAL_WORLD_SIZE", size))


def join(settings: Settings) -> Ranks:
    """Meet the other processes of this run; in a process alone, do nothing.

    Collectives wait `FIRST_STEP_SECONDS` until `limit_waiting` shortens that.

    Raises:
        ConfigError: the layout is not that of the processes there are; a batch that does not fit
            them; more processes than GPUs.
    """
    here = place()
    layout = LayoutConfig(**settings.layout)
    axes = layout_of(layout, here.size)
    require_fitting(settings, axes)
    if here.size == 1:
        return ALONE
    require_rows(settings, axes["dp_replicate"] * axes["dp_shard"])
    if settings.device == "cuda":
        bind_gpu(here.local_rank)
    from torch._C._distributed_c10d import PrefixStore

    on_gpu = settings.device == "cuda"
    torch.distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        store=PrefixStore(f"join {next(_joins)}", store()),
        rank=here.rank,
        world_size=here.size,
        timeout=timedelta(seconds=FIRST_STEP_SECONDS),
        device_id=torch.device("cuda", here.local_rank) if on_gpu else None,
    )
    ranks = Ranks(
        here.rank, here.size, axes["dp_replicate"], axes["dp_shard"], axes["pp"], axes["cp"],
        axes["tp"], layout.sp,
    )  # fmt: skip
    ranks = with_meshes(ranks, settings.device)
    limit_waiting(ranks, FIRST_STEP_SECONDS)  # the mesh's groups start with torch's 30 minutes
    return ranks


def with_meshes(ranks: Ranks, device: str) -> Ranks:
    """``ranks`` with torch's meshes."""
    from torch.distributed.device_mesh import init_device_mesh

    shape = {
        "dp_replicate": ranks.dp_replicate, "pp": ranks.pp, "shard": ranks.dp_shard * ranks.cp,
        "tp": ranks.tp,
    }  # fmt: skip
    shape = {name: size for name, size in shape.items() if size > 1 or name == "shard"}
    mesh = init_device_mesh(device, tuple(shape.values()), mesh_dim_names=tuple(shape))
    if ranks.cp == 1:
        return replace(ranks, mesh=mesh)
    rows = ranks.size // (ranks.cp * ranks.tp)
    cp_mesh = init_device_mesh(
        device, (rows, ranks.cp, ranks.tp), mesh_dim_names=("row", "cp", "column")
    )
    return replace(ranks, mesh=mesh, cp_mesh=cp_mesh)


def leave(ranks: Ranks) -> None:
    """The end of what `join` began."""
    if ranks.size > 1:
        torch.distributed.destroy_process_group()


def limit_waiting(ranks: Ranks, seconds: float = COLLECTIVE_SECONDS) -> None:
    """From now on a collective fails when a rank is missing for so long."""
    if ranks.mesh is None:
        return
    from torch.distributed.distributed_c10d import _set_pg_timeout

    meshes = [mesh for mesh in (ranks.mesh, ranks.cp_mesh) if mesh is not None]
    groups = [group for mesh in meshes for group in mesh.get_all_groups()]
    for group in (torch.distributed.group.WORLD, *groups):
        _set_pg_timeout(timedelta(seconds=seconds), group)


def require_rows(settings: Settings, size: int) -> None:
    """Check that a batch can be divided over ``size`` processes.

    Raises:
        ConfigError: there are fewer rows than processes; or the rows do not come out even, and the
            objective learns from more than the targets, so that no row can be made up.
    """
    ramp = settings.batch_size_ramp
    sizes = [settings.batch_size, *(change["batch_size"] for change in settings.changes
                                    if "batch_size" in change)]  # fmt: skip
    sizes += [ramp["start"]] if ramp is not None else []  # its stairs are multiples of it
    for n_rows in sizes:
        require_these_rows(settings, n_rows, size)


def require_these_rows(settings: Settings, n_rows: int, size: int) -> None:
    """`require_rows` of one size of batch."""
    if n_rows < size:
        raise ConfigError(
            f"{size} processes share a batch of {n_rows} rows",
            where="pretrain.batch_size",
            fix=f"set it to {size} or more, or start fewer processes",
        )
    if n_rows % size and not learns_from_targets_only(ObjectiveConfig(**settings.objective)):
        raise ConfigError(
            f"a batch of {n_rows} rows does not divide evenly over {size} processes, and "
            "replaced_token and pairs of sentences learn from every row",
            where="pretrain.batch_size",
            fix=f"set it to a multiple of {size}",
        )


def learns_from_targets_only(objective: ObjectiveConfig) -> bool:
    """Whether a row without targets adds nothing to the loss."""
    return objective.kind != "replaced_token" and objective.sentence == "none"


def bind_gpu(local_rank: int) -> None:
    """Give this process a GPU of its own.

    Raises:
        ConfigError: there are fewer GPUs on this machine than processes.
    """
    n_gpus = torch.cuda.device_count()
    if local_rank >= n_gpus:
        raise ConfigError(
            f"process {local_rank + 1} of this machine finds {n_gpus} GPU{'s'[: n_gpus != 1]}",
            fix=f"start it with torchrun --nproc-per-node {n_gpus}",
        )
    torch.cuda.set_device(local_rank)


def summed(numbers: Tensor, ranks: Ranks) -> Tensor:
    """The sum over all ranks of a small tensor, the same bits on each."""
    if ranks.size > 1:
        torch.distributed.all_reduce(numbers)
    return numbers


def largest(number: int, ranks: Ranks) -> int:
    """The largest that any rank has; the same answer on all."""
    if ranks.size == 1:
        return number
    told = torch.tensor(number)
    torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
    return int(told)


def agree(flag: bool, ranks: Ranks) -> bool:
    """Whether any rank says so; the same answer on all."""
    return bool(summed(torch.tensor(int(flag)), ranks))


def barrier(ranks: Ranks) -> None:
    """Wait until every rank is here."""
    summed(torch.zeros(()), ranks)


def rows_of(batch: Batch, ranks: Ranks) -> Batch:
    """The rank's rows of a step's batch: as many on each share; those who share it get the same.

    Where they do not come out even the last ranks get a row that is there already, without targets.
    """
    if ranks.size == 1:
        return batch
    n_rows = len(batch.inputs)
    share = -(-n_rows // ranks.n_shares)
    rows = torch.arange(ranks.share * share, (ranks.share + 1) * share)
    mine = batch.rows(rows.clamp(max=n_rows - 1))
    spare = rows >= n_rows
    if not bool(spare.any()):
        return mine
    targets = mine.targets.clone()
    targets[spare] = IGNORED
    return replace(mine, targets=targets)


def first_rank_does(work: Callable[[], Result]) -> Result:
    """``work()`` on the first rank while the others wait, then on them, who find it done.

    For the stages before training, whose results are files: may be called before `join`, and takes
    as long as it takes. Every rank must call it equally often.

    Raises:
        GroundupError: on the other ranks, if it failed on the first.
    """
    here = place()
    if here.size == 1:
        return work()
    turn = f"first rank {next(_turns)}"
    if here.rank == 0:
        try:
            result = work()
        except BaseException:
            store().set(turn, "failed")
            raise
        store().set(turn, "done")
        return result
    try:
        while not store().check([turn]):
            time.sleep(LOOK_SECONDS)  # not `wait`, in which no signal would be heard
        outcome = store().get(turn)
    except torch.distributed.DistError:  # it held the store, and is gone
        outcome = b"failed"
    if outcome == b"failed":
        raise GroundupError(
            "the first process failed, so this one stops too",
            where=f"process {here.rank} of {here.size}",
            fix="see the error of process 0",
        )
    return work()


_joins, _turns = itertools.count(), itertools.count()  # the same on every rank
FAREWELL_SECONDS = 10.0  # so long the process that holds the store waits for the others


def take_leave() -> None:
    """The end of a command: the first process, which may hold the store, goes last."""
    here = place()
    if here.size == 1:
        return
    with contextlib.suppress(torch.distributed.DistError):  # who goes first may be gone
        if here.rank:
            store().set(f"left {here.rank}", "")
            return
        others = [f"left {rank}" for rank in range(1, here.size)]
        end = time.monotonic() + FAREWELL_SECONDS
        while not store().check(others) and time.monotonic() < end:
            time.sleep(LOOK_SECONDS)


@cache
def store() -> Store:
    """The key-value store of the run's processes, which torchrun keeps."""
    from torch._C._distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    made, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=FIRST_STEP_SECONDS)))
    # torchrun keeps its store when it starts all ranks again, with the addresses of the dead.
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return PrefixStore(f"{restarts} restarts, {place().size} ranks", made)
