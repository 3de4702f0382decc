"""One step done twice: a sound machine gives the same gradients of the same batch, bit for bit.

This is how silently wrong arithmetic is found in large runs ("deterministic replay", Gemini Team
2023, section 5). The weights are not touched between the computations and every random draw is
repeated, so a difference is the machine's. A third computation then decides: gradients that came
out twice are right and stay; if all three differ none is believed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from groundup.train.distributed import Ranks, summed
from groundup.train.integrity.finding import Finding
from groundup.train.integrity.replicas import digest
from groundup.train.integrity.shared import host_names, share
from groundup.train.parallel.pieces import local_tensor
from groundup.train.state import RunState, rng_state, set_rng_state
from groundup.train.step import Gradients


def replay(
    state: RunState, compute: Callable[[], Gradients], ranks: Ranks
) -> tuple[Gradients, list[Finding]]:
    """Compute a step's gradients until two computations agree, at most three times.

    Every rank must call it. Generators and buffers are left as one computation leaves them, and the
    gradients are those of the last one: if any two agreed, that is one of the two.

    Args:
        compute: `step.gradients` of the step's batch; changes nothing else.

    Returns:
        what the last ``compute`` returned, and the first tensor that differed, if any did. It was
        on this process where there is no other; else on one of all: gradients are summed over the
        ranks before they can be looked at.
    """
    random, buffers = rng_state(), [buffer.clone() for buffer in state.model.buffers()]
    before: list[dict[str, bytes]] = []
    findings: list[Finding] = []
    while True:
        if before:
            set_rng_state(random)
            for buffer, kept in zip(state.model.buffers(), buffers, strict=True):
                buffer.copy_(kept)
        state.model.zero_grad(set_to_none=True)
        found = compute()
        now = results(state, found)
        device = found.loss.device
        agreed = [everywhere(now == earlier, ranks, device) for earlier in before]
        if any(agreed) or len(before) == 2:
            return found, findings
        if before:
            names = [name for name in now if now[name] != before[0].get(name)][:1]
            hosts = tuple(host_names(ranks, device))
            mine = [
                Finding("replay", "gradient", name, tuple(range(ranks.size)), hosts)
                for name in names
            ]
            findings = share(mine, ranks, device)[:1]
        before.append(now)


def results(state: RunState, found: Gradients) -> dict[str, bytes]:
    """Hashes of this process's gradients, and the loss they belong to."""
    gradients = {
        name: digest(local_tensor(parameter.grad))
        for name, parameter in state.model.named_parameters()
        if parameter.grad is not None
    }
    return {**gradients, "of the loss": digest(found.loss.detach())}


def everywhere(equal: bool, ranks: Ranks, device: torch.device) -> bool:
    """Whether it is true on every rank."""
    n_others = summed(torch.tensor([not equal], dtype=torch.int64, device=device), ranks)
    return not n_others.item()
