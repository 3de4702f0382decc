"""The stage ``evaluate``: everything that is measured on a finished model, in one result.

Held-out likelihood beside five yardsticks on the same bytes; completions of held-out prompts by the
trained network, the untrained one and the n-gram model, judged alike; and how much of them is
copied from the training text, beside the same figures of what really follows. The result holds no
times: the same model, tokens and seed give the same result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from groundup.errors import InputError
from groundup.evaluate.completion import Completion, Found, choose_prompts, complete, parse_rate
from groundup.evaluate.config import EvaluateConfig
from groundup.evaluate.functions import ACCEPTED
from groundup.evaluate.likelihood import Autocast, Likelihood, bits_per_byte
from groundup.evaluate.memorisation import memorisation
from groundup.evaluate.ngram import MOST_TOKENS, ORDER, NGram, train_ngram
from groundup.evaluate.subset import within_bytes, within_tokens
from groundup.evaluate.yardsticks import (
    UNIFORM_BITS_PER_BYTE,
    byte_unigram_bits,
    text_of,
    xz_bits,
)
from groundup.model.transformer import Transformer
from groundup.progress import Progress, progress
from groundup.tokenizer.load import Tokenizer
from groundup.tokens.dataset import TokenDataset
from groundup.train.precision import autocast


def evaluate(
    model: Transformer,
    untrained: Transformer,
    tokenizer: Tokenizer,
    tokens: Path,
    config: EvaluateConfig,
    *,
    seed: int,
    device: str = "cpu",
    precision: str = "fp32",
) -> dict[str, Any]:
    """Measure ``model`` on the held-out split in the folder ``tokens``.

    Args:
        model: trained, on ``device``.
        untrained: the same architecture with the weights training began with, on ``device``.
        tokenizer: the one both were made for.
        tokens: folder of packed tokens.
        config: the section ``evaluate``.
        seed: of the samples.
        device: where the models are.
        precision: fp32, or bf16 for the blocks in the likelihood (head and loss are in fp32).

    Returns:
        plain values: ``split``, ``device``, ``precision``; ``measured_on`` (how much of the split);
        ``bits_per_byte`` (name → figure, ``model`` and the yardsticks); ``likelihood`` (intervals
        and counts of the three models); ``model_minus_ngram`` (the difference, with its paired
        interval); ``completions`` (``applicable``, ``functions``, ``parse_rate`` by model,
        ``items``); ``memorisation`` by model and of the ``reference``.

    Raises:
        InputError: tokenizer, tokens and model do not belong together, or the split is empty.
    """
    split, train = TokenDataset(tokens, config.split), TokenDataset(tokens, "train")
    split.require_tokenizer(tokenizer.hash)
    if model.config.vocab_size < tokenizer.vocab_size:
        raise InputError(
            f"the model has {model.config.vocab_size:,} tokens, "
            f"the tokenizer {tokenizer.vocab_size:,}",
            where="evaluate",
            fix="give the tokenizer that the model was trained with",
        )
    held_out, counted = within_bytes(split, config.max_bytes), within_tokens(train, MOST_TOKENS)
    max_new_tokens = min(config.max_new_tokens, model.config.context_length // 2)
    work = 3 * held_out.n_tokens + 3 * config.n_completions * max_new_tokens
    casting = partial(autocast, device, precision)
    with progress("evaluate", work, "tokens") as job:
        ngram = train_ngram(counted)
        models: dict[str, Transformer | NGram] = {
            "model": model,
            "untrained": untrained,
            "ngram": ngram,
        }
        # First weights make next to nothing of their history: no overlap, half the work.
        strides = {"model": None, "untrained": untrained.config.context_length, "ngram": None}
        likelihood = {
            name: _likelihood(each, held_out, strides[name], device, casting, job)
            for name, each in models.items()
        }
        completions, functions = _completions(
            models, held_out, tokenizer, config, max_new_tokens=max_new_tokens, seed=seed, job=job
        )
    return {
        "split": config.split,
        "device": device,
        "precision": precision,
        "measured_on": {
            "n_documents": held_out.n_documents,
            "of_documents": split.n_documents,
            "n_bytes": held_out.n_bytes,
            "of_bytes": split.n_bytes,
        },
        "bits_per_byte": {
            **{name: each.bits_per_byte for name, each in likelihood.items()},
            "xz": xz_bits(text_of(held_out, tokenizer)),
            "byte_unigram": byte_unigram_bits(train, held_out, tokenizer),
            "uniform": UNIFORM_BITS_PER_BYTE,
        },
        "likelihood": {name: each.to_dict() for name, each in likelihood.items()},
        "model_minus_ngram": likelihood["model"].minus(likelihood["ngram"]),
        "ngram": {"order": ORDER, "n_tokens": counted.n_tokens, "of_tokens": train.n_tokens},
        "completions": _verdicts(completions, functions, config, max_new_tokens, tokenizer),
        "memorisation": _memorisation(completions, train, tokenizer),
    }


def _likelihood(
    model: Transformer | NGram,
    held_out: TokenDataset,
    stride: int | None,
    device: str,
    casting: Autocast,
    job: Progress,
) -> Likelihood:
    if isinstance(model, NGram):
        job.advance(held_out.n_tokens)
        return ngram_likelihood(model, held_out)
    return bits_per_byte(model, held_out, stride=stride, device=device, autocast=casting, job=job)


def ngram_likelihood(model: NGram, held_out: TokenDataset) -> Likelihood:
    """`bits_per_byte` of the n-gram model."""
    n_tokens = held_out.n_tokens - held_out.n_documents
    return Likelihood(model.nats(held_out), held_out.document_bytes.astype(float), n_tokens)


def _completions(
    models: Mapping[str, Transformer | NGram],
    held_out: TokenDataset,
    tokenizer: Tokenizer,
    config: EvaluateConfig,
    *,
    max_new_tokens: int,
    seed: int,
    job: Progress,
) -> tuple[dict[str, list[Completion]], Found]:
    context_length = next(
        model.config.context_length for model in models.values() if isinstance(model, Transformer)
    )
    prompts, functions = choose_prompts(
        held_out,
        tokenizer,
        n=config.n_completions,
        max_new_tokens=max_new_tokens,
        context_length=context_length,
    )
    completions = {}
    for name, model in models.items():
        completions[name] = complete(
            model, prompts, tokenizer, config, max_new_tokens=max_new_tokens, seed=seed
        )
        job.advance(config.n_completions * max_new_tokens)
    return completions, functions


def _verdicts(
    completions: Mapping[str, Sequence[Completion]],
    functions: Found,
    config: EvaluateConfig,
    max_new_tokens: int,
    tokenizer: Tokenizer,
) -> dict[str, Any]:
    """Parse rates and, prompt by prompt, what each model wrote."""
    prompts = [completion.prompt for completion in completions["model"]]
    applicable = functions.reason is None
    return {
        "applicable": applicable,
        "reason": functions.reason,
        "functions": functions.to_dict(),
        "sampling": {
            "max_new_tokens": max_new_tokens,
            "temperature": config.temperature,
            "top_p": config.top_p,
            "repetition_penalty": config.repetition_penalty,
        },
        "parse_rate": {
            name: parse_rate(group) for name, group in completions.items() if applicable
        },
        "items": [
            {
                "row": prompt.row,
                "function": prompt.function,
                "prompt": prompt.text,
                "reference": tokenizer.decode(prompt.reference),
                "completions": {
                    name: {
                        "text": group[number].shown,
                        "outcome": group[number].outcome,
                        "parsed": group[number].outcome == ACCEPTED if applicable else None,
                    }
                    for name, group in completions.items()
                },
            }
            for number, prompt in enumerate(prompts)
        ],
    }


def _memorisation(
    completions: Mapping[str, Sequence[Completion]], train: TokenDataset, tokenizer: Tokenizer
) -> dict[str, Any]:
    texts = {name: [each.ids for each in group] for name, group in completions.items()}
    texts["reference"] = [each.prompt.reference for each in completions["model"]]
    figures = memorisation(texts, train)
    for figure in figures.values():
        figure["longest_copy_text"] = tokenizer.decode(figure.pop("longest_copy_ids"))
    return figures
