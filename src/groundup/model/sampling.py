"""How the next token is chosen from logits: temperature, nucleus, repetition penalty.

Top-p (nucleus) sampling is Holtzman et al., arXiv:1904.09751; the repetition penalty is CTRL's
(Keskar et al., arXiv:1909.05858, section 4.1) over the last tokens of each text. Every text draws
from a generator of its own, so that its tokens do not depend on what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from groundup.errors import InputError

CANDIDATES = 256  # a nucleus is rarely larger; picking these costs a fifth of sorting 4,096


class Drawn(Protocol):
    """A text in the making: its ids so far, and where its random numbers come from."""

    ids: list[int]
    generator: torch.Generator


class Sampler:
    """How the next id is chosen from logits."""

    def __init__(
        self, temperature: float, top_p: float, repetition_penalty: float, repetition_window: int
    ) -> None:
        for name, value, holds, rule in (
            ("temperature", temperature, 0 <= temperature < float("inf"), "0 or more"),
            ("top_p", top_p, 0 < top_p <= 1, "above 0, at most 1"),
            (
                "repetition_penalty",
                repetition_penalty,
                0 < repetition_penalty < float("inf"),
                "above 0",
            ),
            ("repetition_window", repetition_window, repetition_window >= 1, "1 or more"),
        ):
            if not holds:
                raise InputError(f"{name} is {value}, but must be {rule}", fix=f"change {name}")
        self.temperature, self.top_p = temperature, top_p
        self.penalty, self.window = repetition_penalty, repetition_window

    @torch.inference_mode()
    def choose(self, logits: Tensor, sequences: Sequence[Drawn]) -> list[int]:
        """The next id of each sequence, from its row of ``logits`` [B, V]."""
        if self.penalty != 1:
            logits = self._penalise(logits, [s.ids[-self.window :] for s in sequences])
        if self.temperature == 0:
            return logits.argmax(-1).tolist()
        probabilities = (logits.double() / self.temperature).softmax(-1)
        sorted_, ids = self._most_likely(probabilities)
        reached = sorted_.cumsum(-1)
        # Most likely first: an id belongs while those before it have not reached top_p.
        allowed = torch.where(reached - sorted_ < self.top_p, sorted_, 0.0).cumsum(-1)
        draws = [torch.rand((), generator=s.generator, dtype=torch.float64) for s in sequences]
        point = torch.stack(draws)[:, None] * allowed[:, -1:]
        place = torch.searchsorted(allowed, point, right=True).clamp_(max=ids.shape[-1] - 1)
        return ids.gather(-1, place)[:, 0].tolist()

    def _most_likely(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """The nucleus and some more, most likely first: probabilities and ids, both [B, n]."""
        sorted_, ids = probabilities.topk(min(CANDIDATES, probabilities.shape[-1]))
        if bool((sorted_.sum(-1) < self.top_p).any()):
            sorted_, ids = probabilities.sort(dim=-1, descending=True)
        return sorted_, ids

    def _penalise(self, logits: Tensor, recent: list[list[int]]) -> Tensor:
        longest = max(len(ids) for ids in recent)
        padded = [ids + ids[-1:] * (longest - len(ids)) for ids in recent]  # twice the same: once
        present = torch.tensor(padded)
        scores = logits.gather(-1, present)
        scores = torch.where(scores < 0, scores * self.penalty, scores / self.penalty)
        return logits.scatter(-1, present, scores)
