"""An objective whole: from the tokens of a step to a batch, and from a model and a batch to a loss.

A batch stays a function of the seed and the samples used so far: each row has a random generator of
its own, made of the seed and the sample's number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from groundup.architecture.config import ModelConfig
from groundup.errors import InputError
from groundup.model.transformer import Transformer
from groundup.tokenizer.load import Tokenizer
from groundup.tokens.dataset import TokenDataset
from groundup.tokens.order import Later, batch_at
from groundup.tokens.samples import IGNORED
from groundup.train.augment.rows import Augmentation
from groundup.train.batch import Batch, from_arrays, within_documents
from groundup.train.distillation import distillation_loss, require_fitting
from groundup.train.flops import step_flops
from groundup.train.noise.by_kind import ExampleOf, example_of, needs_other, tokens_per_example
from groundup.train.noise.config import ObjectiveConfig
from groundup.train.noise.example import Example, collate
from groundup.train.noise.permutation import context_first
from groundup.train.noise.pieces import ends_sentence, starts_word
from groundup.train.noise.special import SpecialTokens, needed, resolve
from groundup.train.objectives import NO_TERMS, Loss, Terms, next_token_loss, token_loss
from groundup.train.permutation import permutation_loss
from groundup.train.replaced_token import replaced_token_loss

Int64 = npt.NDArray[np.int64]

PLAIN = ("causal",)  # inputs and targets as the dataset gives them


@dataclass(frozen=True)
class Objective:
    """What is trained for.

    Attributes:
        config: the section ``pretrain.objective``.
        special: ids of the special tokens; None for a causal objective, which needs none.
        attend_across_documents: whether tokens see other documents of their row.
        separator_id: starts every document.
        device: where a teacher is.
        terms: of the loss, beside the cross-entropy.
        augmentation: what is done to training rows; None: nothing.
    """

    config: ObjectiveConfig
    special: SpecialTokens | None = None
    attend_across_documents: bool = True
    separator_id: int = 0
    device: str = "cpu"
    terms: Terms = NO_TERMS
    augmentation: Augmentation | None = None

    @cached_property
    def loss(self) -> Loss:
        """The loss of a micro-batch.

        Raises:
            InputError: the teacher cannot be opened.
        """
        config, terms = self.config, self.terms
        if self.teacher is not None:
            return distillation_loss(self.teacher, config.temperature, config.hard_weight, terms)
        match config.kind:
            case "causal":
                return partial(next_token_loss, terms=terms)
            case "replaced_token":
                return replaced_token_loss(config.discriminator_weight, terms)
            case "permutation":
                return partial(permutation_loss, terms=terms)
        return partial(token_loss, terms=terms)

    @cached_property
    def teacher(self) -> Transformer | None:
        """The model to learn from, on the device.

        Raises:
            InputError: it cannot be opened.
        """
        if self.config.teacher is None:
            return None
        return load_teacher(Path(self.config.teacher)).to(self.device)

    def step_flops(self, config: ModelConfig, batch: Batch) -> int:
        """FLOPs of a forward and backward pass of a model over ``batch``, a teacher's too.

        Raises:
            InputError: the teacher does not fit the model.
        """
        if self.teacher is None:
            return step_flops(config, self.config, batch)
        require_fitting(self.teacher.config, config)
        return step_flops(config, self.config, batch, self.teacher.config)

    def batch_at(
        self,
        dataset: TokenDataset,
        seed: int,
        cursor: int,
        batch_size: int,
        context_length: int,
        later: Later = (),
    ) -> Batch:
        """The batch of the training samples from ``cursor`` on, with their noise.

        Args:
            later: as in `tokens.order.batch_at`.

        Raises:
            InputError: the split is shorter than one row.
        """
        n_tokens = self.tokens_per_row(context_length)
        inputs, targets = batch_at(dataset, seed, cursor, batch_size, n_tokens, later)
        if self.augmentation is not None:
            inputs, targets = self.augmentation.of_rows(inputs, targets, seed, cursor)
        return self.batch_of_rows(inputs, targets, (seed,), cursor)

    def batch_of_rows(
        self, inputs: Int64, targets: Int64, seeds: tuple[int, ...], first: int = 0
    ) -> Batch:
        """Rows of tokens [B, n] and their next tokens, as a dataset gives them, to a batch.

        Args:
            seeds: of all rows; beside them each has its number, the first of them ``first``.
        """
        if self.config.kind in PLAIN:
            batch = Batch(torch.from_numpy(inputs), torch.from_numpy(targets))
        else:
            batch = from_arrays(self._examples(inputs, targets, seeds, first))
        if self.attend_across_documents:
            return batch
        return within_documents(batch, self.separator_id)

    def tokens_per_row(self, context_length: int) -> int:
        """Tokens of the text that one row of a batch is made of."""
        if self.config.kind in PLAIN:
            return context_length
        return tokens_per_example(self.config, context_length)

    def _examples(
        self, inputs: Int64, targets: Int64, seeds: tuple[int, ...], first: int
    ) -> Mapping[str, Any]:
        assert self.special is not None
        used = (targets != IGNORED).sum(1)  # packed rows may end in padding
        longest = int(used.argmax())
        # A row that is (but for its start) padding holds nothing to learn: another stands for it.
        chosen = [number if n > 1 else longest for number, n in enumerate(used.tolist())]
        rows = [inputs[number, : used[number]] for number in chosen]
        if needs_other(self.config) and len(rows) < 2:
            raise InputError(
                "next sentences take their wrong pairs from another row, and there is one row",
                where="pretrain.batch_size",
                fix="set pretrain.batch_size to 2 or more",
            )
        examples = [
            self._example_or(rows[longest], row, rows[number - 1], [*seeds, first + number])
            for number, row in enumerate(rows)
        ]
        if self.config.kind == "permutation":  # the context sees all of itself, as in the release
            examples = [
                replace(each, order=context_first(each.order, each.targets))
                for each in examples
                if each.order is not None
            ]
        return collate(examples, self.special.pad)

    def _example_or(self, spare: Int64, row: Int64, other: Int64, seeds: list[int]) -> Example:
        """The example of ``row``; of ``spare`` where the row holds nothing to learn."""
        other_row = other if needs_other(self.config) else None
        try:
            return self._example(row, np.random.default_rng(seeds), other_row)
        except InputError:  # special tokens only, or no document of two tokens
            return self._example(spare, np.random.default_rng(seeds), other_row)

    @cached_property
    def _example(self) -> ExampleOf:
        assert self.special is not None
        return example_of(self.config, self.special)


CAUSAL = Objective(ObjectiveConfig())


def objective_for(
    config: ObjectiveConfig,
    tokenizer: Tokenizer,
    *,
    attend_across_documents: bool = True,
    device: str = "cpu",
    terms: Terms = NO_TERMS,
) -> Objective:
    """The objective on a tokenizer.

    Raises:
        InputError: the tokenizer lacks special tokens that it needs (named).
    """
    plain = Objective(config, None, attend_across_documents, tokenizer.bos_id, device, terms)
    if config.kind in PLAIN:
        return plain
    spelled = [tokenizer.token_bytes(id) for id in range(tokenizer.vocab_size)]
    pieces = [each.decode(errors="replace") for each in spelled]
    special = resolve(
        tokenizer.special_ids,
        tokenizer.bos_id,
        tokenizer.vocab_size,
        config,
        starts_word=starts_word(pieces),
        ends_sentence=ends_sentence(pieces),
    )
    return replace(plain, special=special)


def stand_in(config: ObjectiveConfig, vocab_size: int, device: str) -> Objective:
    """The objective on made-up special tokens, for measuring how long it takes.

    Raises:
        InputError: the vocabulary is too small for them.
    """
    ids = {name: number for number, name in enumerate(needed(config), 1)}
    everywhere = np.ones(vocab_size, dtype=np.bool_)
    special = resolve(ids, 0, vocab_size, config, starts_word=everywhere, ends_sentence=everywhere)
    return Objective(config, special, device=device)


def load_teacher(folder: Path) -> Transformer:
    """The model to learn from: an exported or imported one, or a checkpoint.

    Raises:
        InputError: there is none.
    """
    from groundup.model.convert import load_exported
    from groundup.train.checkpoint import load_model_weights

    if not folder.is_dir():
        raise InputError(
            "there is no such folder",
            where="pretrain.objective.teacher",
            fix="name an exported or imported model, or a checkpoint",
        )
    is_checkpoint = (folder / "state.json").is_file()
    return load_model_weights(folder) if is_checkpoint else load_exported(folder)
