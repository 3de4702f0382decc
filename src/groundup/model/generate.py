"""Text from a model, one token after the other, with a key/value cache, for one prompt or many.

One engine: `generate` is the batch of one, streamed. Prompts of different lengths are padded on
the left, so that the newest tokens stand in one column; padding is masked and places are counted
from each sequence's own first token. A finished sequence leaves the batch at once.

When a window is full (it holds more tokens than the context) it slides: the last half of the
context is encoded anew, from place 0, and generation goes on. Which tokens a sequence sees
depends on its own length only, and its random numbers come from a generator of its own: the
result does not depend on what else is in the batch (beyond the rounding of float32 sums).

Legend: B sequences, T tokens, S cached tokens, V vocabulary, H query and G key/value heads, E size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from groundup.errors import InputError
from groundup.model.sampling import Sampler
from groundup.model.transformer import Transformer

Stop = Callable[[list[int]], bool]


def generate(
    model: Transformer,
    prompt_ids: Sequence[int],
    *,
    max_new_tokens: int,
    temperature: float = 0.8,
    top_p: float = 0.95,
    repetition_penalty: float = 1.1,
    repetition_window: int = 128,
    stop_ids: Sequence[int] = (),
    stop: Stop | None = None,
    seed: int = 0,
) -> Iterator[int]:
    """Stream the ids that follow ``prompt_ids``.

    Args:
        model: any family, on any device.
        prompt_ids: at least one id (begin a text from nothing with the document separator).
        max_new_tokens: most ids to make.
        temperature: divides the logits; 0 takes the most likely id each time.
        top_p: sample from the fewest ids that together have this probability (1 = all):
            nucleus sampling, arXiv:1904.09751.
        repetition_penalty: logits of ids already there are divided by it (multiplied where
            negative): CTRL, arXiv:1909.05858. 1 = none.
        repetition_window: how many of the last ids, prompt included, count as already there.
        stop_ids: ids that end the text; they are not yielded.
        stop: asked with the new ids after each; True ends the text.
        seed: of the random numbers; the same seed gives the same text.

    Raises:
        InputError: an empty prompt, an id outside the vocabulary, or a sampling value out of range.
    """
    for _, token in _decode(
        model,
        [prompt_ids],
        Sampler(temperature, top_p, repetition_penalty, repetition_window),
        max_new_tokens=max_new_tokens,
        stop_ids=stop_ids,
        stop=stop,
        seed=seed,
    ):
        yield token


def generate_batch(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float = 0.8,
    top_p: float = 0.95,
    repetition_penalty: float = 1.1,
    repetition_window: int = 128,
    stop_ids: Sequence[int] = (),
    stop: Stop | None = None,
    seed: int = 0,
) -> list[list[int]]:
    """What `generate` gives for each prompt, made together.

    Prompt number i has the seed ``seed + i``. Other arguments and errors are those of `generate`.

    Returns:
        The new ids of each prompt, in the order of the prompts.
    """
    results: list[list[int]] = [[] for _ in prompts]
    for index, token in _decode(
        model,
        prompts,
        Sampler(temperature, top_p, repetition_penalty, repetition_window),
        max_new_tokens=max_new_tokens,
        stop_ids=stop_ids,
        stop=stop,
        seed=seed,
    ):
        results[index].append(token)
    return results


def _decode(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    sampler: Sampler,
    *,
    max_new_tokens: int,
    stop_ids: Sequence[int],
    stop: Stop | None,
    seed: int,
) -> Iterator[tuple[int, int]]:
    """Yield (number of the prompt, new id), step by step, until every sequence has ended."""
    _check_prompts(model, prompts)
    sequences = [
        _Sequence(index, list(prompt), torch.Generator().manual_seed(seed + index))
        for index, prompt in enumerate(prompts)
    ]
    context_length = model.config.context_length
    cache: KeyValueCache | None = None
    for _ in range(max_new_tokens):
        if not sequences:
            return
        slid = [sequence.slide(context_length) for sequence in sequences]
        if any(slid) or (cache is not None and cache.length == context_length):
            cache = None  # encode all windows anew (padding too takes room in the cache)
        if cache is None:
            cache, logits = _prefill(model, [sequence.window for sequence in sequences])
        else:
            logits = cache.extend(torch.tensor([[s.ids[-1]] for s in sequences]))
        tokens = sampler.choose(logits.cpu(), sequences)
        going: list[int] = []
        for row, (sequence, token) in enumerate(zip(sequences, tokens, strict=True)):
            if token in stop_ids:
                continue
            sequence.ids.append(token)
            yield sequence.index, token
            if stop is None or not stop(sequence.new_ids):
                going.append(row)
        if len(going) < len(sequences):
            sequences = [sequences[row] for row in going]
            cache.keep(going)


def _check_prompts(model: Transformer, prompts: Sequence[Sequence[int]]) -> None:
    vocab_size = model.config.vocab_size
    for index, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise InputError(
                "the prompt is empty",
                where=f"prompt {index}",
                fix="give it at least one token; the document separator begins a text from nothing",
            )
        outside = [token for token in prompt if not 0 <= token < vocab_size]
        if outside:
            raise InputError(
                f"token id {outside[0]} is outside the model's vocabulary of {vocab_size}",
                where=f"prompt {index}",
                fix="encode the prompt with the tokenizer that the model was trained with",
            )


class _Sequence:
    """One text in the making: its ids, and from where on the model sees them."""

    def __init__(self, index: int, ids: list[int], generator: torch.Generator) -> None:
        self.index, self.ids, self.generator = index, ids, generator
        self.n_prompt, self.window_start = len(ids), 0

    @property
    def window(self) -> list[int]:
        return self.ids[self.window_start :]

    @property
    def new_ids(self) -> list[int]:
        return self.ids[self.n_prompt :]

    def slide(self, context_length: int) -> bool:
        """Forget all but the last half of the context where the window is beyond the context."""
        if len(self.ids) - self.window_start <= context_length:
            return False
        self.window_start = len(self.ids) - max(context_length // 2, 1)
        return True


def _prefill(model: Transformer, windows: list[list[int]]) -> tuple[KeyValueCache, Tensor]:
    """Encode whole windows, padded on the left; logits [B, V] of what follows."""
    longest = max(len(window) for window in windows)
    padding = [longest - len(window) for window in windows]
    cache = KeyValueCache(model, torch.tensor(padding))
    ids = [[0] * n + window for n, window in zip(padding, windows, strict=True)]
    return cache, cache.extend(torch.tensor(ids))


class KeyValueCache:
    """Keys and values of the tokens seen so far, for a batch padded on the left.

    Args:
        model: whose layers, heads and device the cache is for.
        padding: [B] int64, how many of each sequence's first columns are padding.
    """

    def __init__(self, model: Transformer, padding: Tensor) -> None:
        self.model = model
        self.padding = padding.to(model.embed.weight.device)
        self.length = 0  # columns S in use; never beyond the context length
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}  # each [B, G, context, E]
        self._mask: Tensor | None = None

    @torch.inference_mode()
    def extend(self, ids: Tensor) -> Tensor:
        """Take in ``ids`` [B, T]; return the float32 logits [B, V] of what follows."""
        n_new = ids.shape[1]
        self._mask = self._mask_for(n_new)
        hidden = self.model.hidden(
            ids.to(self.padding.device), attend=self.attend, start=self.length - self.padding
        )
        self.length += n_new
        return self.model.logits(hidden[:, -1]).float()

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Store ``k``, ``v`` [B, G, T, E] behind the others; ``q`` [B, H, T, E] looks at all."""
        end = self.length + q.shape[2]
        if layer not in self._layers:
            shape = (*k.shape[:2], self.model.config.context_length, k.shape[3])
            self._layers[layer] = (k.new_empty(shape), v.new_empty(shape))
        keys, values = self._layers[layer]
        keys[:, :, self.length : end], values[:, :, self.length : end] = k, v
        return F.scaled_dot_product_attention(
            q,
            keys[:, :, :end],
            values[:, :, :end],
            attn_mask=self._mask,
            enable_gqa=q.shape[1] != k.shape[1],
        )

    def keep(self, rows: list[int]) -> None:
        """Drop every sequence whose row is not in ``rows``."""
        chosen = torch.tensor(rows, dtype=torch.int64, device=self.padding.device)
        self.padding = self.padding[chosen]
        self._layers = {layer: (k[chosen], v[chosen]) for layer, (k, v) in self._layers.items()}

    def _mask_for(self, n_new: int) -> Tensor | None:
        """[B, 1, T, S] True where a new token may look; None where all may look everywhere."""
        if n_new == 1 and not self.padding.any():
            return None
        columns = torch.arange(self.length + n_new, device=self.padding.device)
        rows = columns[self.length :, None]
        real = columns >= self.padding[:, None, None]  # [B, 1, S]
        # A padding row looks at itself: nobody reads it, and a row of nothing would be NaN.
        return ((columns <= rows) & real | (columns == rows))[:, None]
