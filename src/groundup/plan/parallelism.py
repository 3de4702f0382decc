"""How a training job is spread over chips: the one description that memory, traffic and time read.

    n_chips = dp · tp · pp · cp          (expert parallelism, ep, divides dp and is 1 so far)

dp data parallel replicas, tp tensor parallel ranks (Shoeybi et al. 2019), pp pipeline stages with
v chunks each (interleaved, Narayanan et al. 2021, arXiv:2104.04473), cp context parallel ranks.
ZeRO's stage (Rajbhandari et al. 2020, arXiv:1910.02054) says what the dp replicas share out:
0 nothing, 1 optimizer state, 2 gradients too, 3 weights too (FSDP).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from groundup.errors import ConfigError

Recompute = Literal["none", "selective", "full"]  # Korthikanti et al. 2022, arXiv:2205.05198


@dataclass(frozen=True)
class Layout:
    """One way to spread a job; sizes are numbers of ranks.

    Raises:
        ConfigError: a size below 1, an unknown stage or recomputation; all problems at once.
    """

    dp: int = 1
    tp: int = 1
    pp: int = 1
    cp: int = 1
    ep: int = 1
    virtual_stages: int = 1  # model chunks per pipeline stage; 1 is not interleaved
    zero: int = 0
    micro_batch_size: int = 1  # sequences of one forward and backward pass on one replica
    recompute: Recompute = "none"
    sequence_parallel: bool = False  # norms and residual split over the tp ranks too

    def __post_init__(self) -> None:
        sizes = ("dp", "tp", "pp", "cp", "ep", "virtual_stages", "micro_batch_size")
        problems = [
            f"{name} is {getattr(self, name)!r}, but must be a whole number of at least 1"
            for name in sizes
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1
        ]
        if self.zero not in (0, 1, 2, 3):
            problems.append(f"zero is {self.zero!r}, but the stages of ZeRO are 0, 1, 2 and 3")
        if self.recompute not in ("none", "selective", "full"):
            problems.append(f"recompute is {self.recompute!r}; use none, selective or full")
        if self.virtual_stages > 1 and self.pp == 1:
            problems.append("virtual_stages needs a pipeline: pp is 1")
        if problems:
            raise ConfigError("no such layout", where="layout", problems=tuple(problems))

    @property
    def n_chips(self) -> int:
        """Chips that the layout fills."""
        return self.dp * self.tp * self.pp * self.cp

    def n_micro_batches(self, global_batch_size: int) -> int:
        """Micro-batches each replica does in a step of ``global_batch_size`` sequences.

        Raises:
            ConfigError: they do not come out even.
        """
        per_pass = self.dp * self.micro_batch_size
        if global_batch_size % per_pass:
            raise ConfigError(
                f"a batch of {global_batch_size} sequences does not divide into {self.dp} replicas "
                f"of micro-batches of {self.micro_batch_size}",
                where="layout",
                fix=f"make the batch a multiple of {per_pass}",
            )
        return global_batch_size // per_pass
