"""Who may look at whom, as one small value: `Mask`.

A sequence model is told apart from another by its mask more than by anything else: a decoder sees
what came before, a prefix decoder also the whole of its prefix, an encoder everything. To that
come a window (Mistral, GPT-3's banded layers), documents packed into one row, padding, and the
order of factorisation (XLNet). A prefix says "yes" within itself, over causality and window; each
of the others says "no" by itself, and its no stands. What nobody forbids is seen.

Legend: B sequences, T queries, S keys.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class Mask:
    """Which keys a query sees. The default is everything.

    Attributes:
        causal: only keys at or before the query.
        prefix: [B] int64; the first so many tokens see one another, causal or not.
        window: only keys nearer than this; with causal the last so many, itself among them.
        documents: [B, S] int64; only keys of the query's own document.
        padding: [B, S] bool, True where there is a token; others are seen by nobody.
        order: [B, S] int64, a place in the order of factorisation (XLNet, arXiv:1906.08237
            section 2.2); only keys not after the query in it.
        sees_itself: whether a token's own place counts as not after it in ``order``.
        start: the key that the first query stands at (with a cache, as many as were there before).
        queries: [T] int64, the keys that the queries stand at, where these are only some of them.
    """

    causal: bool = False
    prefix: Tensor | None = None
    window: int | None = None
    documents: Tensor | None = None
    padding: Tensor | None = None
    order: Tensor | None = None
    sees_itself: bool = True
    start: int = 0
    queries: Tensor | None = None
    # Made once for all layers; not for copies, which `replace` makes with other rules.
    _made: dict[Hashable, tuple[object, Any]] = field(default_factory=dict, init=False, repr=False)

    @property
    def is_plain(self) -> bool:
        """Whether nothing but ``causal`` forbids anything."""
        return (
            self.prefix is None
            and self.window is None
            and self.documents is None
            and self.padding is None
            and self.order is None
        )

    def allowed(self, n_queries: int, n_keys: int, device: torch.device) -> Tensor | None:
        """[B or 1, 1, T, S] bool, True where a query may look; None where all may look everywhere.

        A query that may look nowhere (padding on the left, the first of an order) looks at itself:
        nobody reads it, and a softmax over nothing is NaN.
        """
        is_last = self.queries is None and n_queries == 1 and self.start == n_keys - 1
        if self.is_plain and (not self.causal or is_last):
            return None
        return self.kept((n_queries, n_keys), lambda: self._allowed(n_queries, n_keys, device))

    def numbers(
        self, n_queries: int, n_keys: int, device: torch.device, dtype: torch.dtype
    ) -> Tensor | None:
        """`allowed` as what is added to scores: 0, or -inf. Torch would make it in every layer."""
        allowed = self.allowed(n_queries, n_keys, device)
        if allowed is None:
            return None

        def make() -> Tensor:
            zeros = torch.zeros(allowed.shape, dtype=dtype, device=device)
            return zeros.masked_fill_(~allowed, -torch.inf)

        return self.kept((n_queries, n_keys, dtype), make)

    def added(self, bias: Tensor, n_queries: int, n_keys: int) -> Tensor:
        """``bias`` [B or 1, H, T or 1, S] with -inf where a query may not look."""
        allowed = self.allowed(n_queries, n_keys, bias.device)
        if allowed is None:
            return bias

        def make() -> Tensor:
            return bias.masked_fill(~allowed, -torch.inf)

        return self.kept(("added", n_queries, n_keys), make, of=bias)

    def kept(self, key: Hashable, make: Callable[[], Made], of: object = None) -> Made:
        """What ``make`` gives, made once for all layers; again where ``of`` is another object.

        Args:
            key: what it is and all that it depends on beside the mask: shape, type.
            of: what else it was made of; only the newest is kept (a bias of each layer).
        """
        found = self._made.get(key)
        if found is None or found[0] is not of:
            found = self._made[key] = (of, make())
        made: Made = found[1]
        return made

    def _allowed(self, n_queries: int, n_keys: int, device: torch.device) -> Tensor:
        columns = torch.arange(n_keys, device=device)
        mine = self.queries
        if mine is None:
            mine = torch.arange(self.start, self.start + n_queries, device=device)
        rows = mine[:, None]
        allowed = torch.ones(1, n_queries, n_keys, dtype=torch.bool, device=device)
        if self.causal:
            allowed = allowed & (columns <= rows)
        if self.window is not None:
            allowed = allowed & ((columns - rows).abs() < self.window)
        if self.prefix is not None:
            inside = self.prefix[:, None, None]
            allowed = allowed | ((columns < inside) & (rows < inside))
        if self.documents is not None:
            asking, asked = self.documents[:, mine][..., None], self.documents[:, None, :n_keys]
            allowed = allowed & (asking == asked)
        if self.order is not None:
            asking, asked = self.order[:, mine][..., None], self.order[:, None, :n_keys]
            allowed = allowed & ((asked <= asking) if self.sees_itself else (asked < asking))
        if self.padding is not None:
            allowed = allowed & self.padding[:, None, :n_keys]
        if self.order is not None or (self.causal and self.padding is not None):
            allowed = allowed | ((columns == rows) & ~allowed.any(-1, keepdim=True))
        return allowed[:, None]


EVERYTHING = Mask()
