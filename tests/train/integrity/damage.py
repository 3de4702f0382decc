"""Replicas of a tiny model in real processes, and what is broken in one of them."""

from dataclasses import asdict, replace
from functools import partial

import torch

from groundup.train.batch import counts_of
from groundup.train.distributed import join, leave, rows_of
from groundup.train.integrity.checks import IntegrityChecks
from groundup.train.integrity.config import IntegrityConfig
from groundup.train.objective import CAUSAL
from groundup.train.start import new_state
from groundup.train.step import apply_gradients, gradients
from tests.train.small import MODEL, SETTINGS, Tokens

EVERY_STEP = IntegrityConfig(checksum_every=1, compare_every=1, replay_every=1)


def flip(tensor, bit, place=0):
    """Flip a bit of one element of the piece that this process holds."""
    piece = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    words = piece.detach().reshape(-1).view(torch.int32)
    words[place] ^= torch.tensor(-(2**31) if bit == 31 else 1 << bit, dtype=torch.int32)


class Walk:
    """Some steps of the tiny model, with all checks as the loop calls them."""

    def __init__(self, layout=None, config=EVERY_STEP):
        # With dropout: a second computation must repeat the first one's draws.
        self.settings = replace(SETTINGS, dropout=0.2, **({"layout": layout} if layout else {}))
        self.ranks = join(self.settings)
        self.state = new_state(MODEL, self.settings, self.ranks)
        self.checks = IntegrityChecks(config, self.ranks)
        self.seen = []
        self.batch = 0

    def step(self, wrong=lambda found: None):
        """One step; ``wrong``: what this process's arithmetic does to its gradients."""
        whole = CAUSAL.batch_at(Tokens(), 1, self.batch, 4, 16)
        mine = rows_of(whole, self.ranks)
        compute = partial(
            gradients, self.state, self.settings, mine, counts_of(whole), CAUSAL.loss, self.ranks
        )

        def computes():
            found = compute()
            wrong(found)
            return found

        found, findings = self.checks.computed(self.state, computes)
        findings += self.checks.before_update(self.state)
        findings += self.checks.at_step(self.state)
        self.seen.append([asdict(finding) for finding in findings])
        if not findings:
            apply_gradients(self.state, self.settings, found)
            self.batch += 4
            self.checks.after_update(self.state)
        return findings

    def found(self):
        leave(self.ranks)
        return {"seen": self.seen, "hash": self.state.final_hash() if self.ranks.size == 1 else ""}


def replicas(layout, damaged, tensor, bit):
    """Two good steps, then a bit flips on rank ``damaged``; only the hashes are compared."""
    walk = Walk(layout, IntegrityConfig(compare_every=1))
    walk.step()
    walk.step()
    if walk.ranks.rank == damaged:
        flip(walk.state.tensors()[tensor[0]][tensor[1]], bit)
    walk.step()
    return walk.found()


def summed(layout, damaged, tensor, bit):
    """The same with the checksums too, which can tell which of two it is."""
    walk = Walk(layout, IntegrityConfig(checksum_every=1, compare_every=1))
    walk.step()
    walk.step()
    if walk.ranks.rank == damaged:
        flip(walk.state.tensors()[tensor[0]][tensor[1]], bit)
    walk.checks.config = IntegrityConfig(checksum_every=1, compare_every=None)
    by_sum = [asdict(one) for one in walk.checks.before_update(walk.state)]
    walk.checks.config = IntegrityConfig(checksum_every=1, compare_every=1)
    by_comparison = [asdict(one) for one in walk.checks.at_step(walk.state)]
    leave(walk.ranks)
    return {"by_sum": by_sum, "by_comparison": by_comparison}


def wrong_arithmetic(layout, damaged):
    """Rank ``damaged`` computes the third step's gradients wrongly, once."""
    walk = Walk(layout, IntegrityConfig(compare_every=None, replay_every=1))
    walk.step()
    walk.step()
    left = [walk.ranks.rank == damaged]

    def once(found):
        if left and left.pop():
            flip(next(walk.state.model.parameters()).grad, 30)

    walk.step(once)
    left.clear()
    walk.step()
    return walk.found()
