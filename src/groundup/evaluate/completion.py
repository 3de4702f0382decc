"""Prompts of the held-out split, chosen once and the same for every model, and their verdicts.

Where the held-out files hold Python functions, the prompts are signatures with docstrings, and the
share of completions that are a whole, parsable function is the parse rate. Elsewhere the prompts
are the openings of documents, and there is no parse rate.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from groundup.evaluate.config import EvaluateConfig
from groundup.evaluate.functions import ACCEPTED, closed, functions, outcome
from groundup.evaluate.intervals import wilson
from groundup.evaluate.ngram import NGram, generate_ngram
from groundup.model.generate import generate_batch
from groundup.model.transformer import Transformer
from groundup.tokenizer.load import Tokenizer
from groundup.tokens.dataset import TokenDataset


@dataclass(frozen=True)
class Prompt:
    """What is to be completed, and what really follows.

    Attributes:
        row: the document's row in the corpus's split.
        function: name of the function; empty for the opening of a document.
        text: the prompt.
        ids: its tokens, separator first.
        reference: tokens of what really follows: the function's body, or as many tokens as a
            completion may have.
    """

    row: int
    function: str
    text: str
    ids: list[int]
    reference: list[int]


@dataclass(frozen=True)
class Completion:
    """What a model wrote after a prompt.

    Attributes:
        prompt: what it follows.
        ids: its tokens, without a separator.
        text: decoded.
        ended: the model stopped by itself (otherwise it was cut for length).
    """

    prompt: Prompt
    ids: list[int]
    text: str
    ended: bool

    @property
    def outcome(self) -> str | None:
        """The verdict of `functions.outcome`; None where the prompt is no function."""
        if not self.prompt.function:
            return None
        return outcome(self.prompt.text, self.text, self.ended)

    @property
    def shown(self) -> str:
        """The text up to where the function closes, if it is one and does."""
        whole = closed(self.text, self.ended) if self.prompt.function else None
        return self.text if whole is None else whole


def choose_prompts(
    dataset: TokenDataset,
    tokenizer: Tokenizer,
    *,
    n: int,
    max_new_tokens: int,
    context_length: int,
) -> list[Prompt]:
    """At most ``n`` prompts that leave room for the completion in the context.

    Functions if there are any whose own body would fit in ``max_new_tokens``; else openings. Which
    ones is decided by a hash of their text: the same for every model, seed and machine.
    """
    room = context_length - max_new_tokens
    texts = [
        tokenizer.decode(dataset.document(number).tolist()) for number in range(dataset.n_documents)
    ]
    rows = dataset.document_rows.tolist()
    found = list(_function_prompts(zip(rows, texts, strict=True), tokenizer, max_new_tokens, room))
    if not found:
        found = list(_openings(dataset, tokenizer, max_new_tokens, room))
    different = {prompt.text: prompt for prompt in reversed(found)}
    order = sorted(different, key=lambda text: hashlib.sha256(text.encode()).digest())
    return [different[text] for text in order[:n]]


def _function_prompts(
    texts: Iterable[tuple[int, str]], tokenizer: Tokenizer, max_new_tokens: int, room: int
) -> Iterator[Prompt]:
    for row, text in texts:
        for function in functions(text):
            ids = [tokenizer.bos_id, *tokenizer.encode(function.prompt)]
            body = tokenizer.encode(function.body)
            if len(ids) > room or len(body) >= max_new_tokens:
                continue
            yield Prompt(row, function.name, function.prompt, ids, body)


def _openings(
    dataset: TokenDataset, tokenizer: Tokenizer, max_new_tokens: int, room: int
) -> Iterator[Prompt]:
    """Documents of at least twice the prompt's length, cut after up to 32 tokens."""
    length = max(1, min(32, room))
    for number, row in enumerate(dataset.document_rows.tolist()):
        ids = dataset.document(number).tolist()
        if len(ids) >= 2 * length:
            following = ids[length : length + max_new_tokens]
            yield Prompt(row, "", tokenizer.decode(ids[:length]), ids[:length], following)


def complete(
    model: Transformer | NGram,
    prompts: Sequence[Prompt],
    tokenizer: Tokenizer,
    config: EvaluateConfig,
    *,
    max_new_tokens: int,
    seed: int,
) -> list[Completion]:
    """Let a model continue each prompt until function or document end, or it wrote enough."""
    write = generate_batch if isinstance(model, Transformer) else generate_ngram
    written = write(
        model,  # type: ignore[arg-type]
        [prompt.ids for prompt in prompts],
        max_new_tokens=max_new_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
        repetition_penalty=config.repetition_penalty,
        stop_ids=[tokenizer.bos_id],
        stop=_function_closed(tokenizer) if prompts and prompts[0].function else None,
        seed=seed,
    )
    return [
        Completion(prompt, ids, tokenizer.decode(ids), len(ids) < max_new_tokens)
        for prompt, ids in zip(prompts, written, strict=True)
    ]


def _function_closed(tokenizer: Tokenizer) -> Callable[[list[int]], bool]:
    return lambda ids: closed(tokenizer.decode(ids), ended=False) is not None


def parse_rate(completions: Sequence[Completion]) -> dict[str, object]:
    """Share of completions accepted, with a 95 % interval and the reasons of the others."""
    counts = Counter(str(completion.outcome) for completion in completions)
    low, high = wilson(counts[ACCEPTED], len(completions))
    return {
        "rate": counts[ACCEPTED] / len(completions),
        "interval": [low, high],
        "accepted": counts[ACCEPTED],
        "n": len(completions),
        "outcomes": dict(sorted(counts.items())),
    }
