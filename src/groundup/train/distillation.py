"""Knowledge distillation (Hinton et al. 2015, arXiv:1503.02531; DistilBERT, arXiv:1910.01108).

The student learns the teacher's whole distribution, both softened by a temperature τ, beside the
tokens themselves:

    hard · L(student, token) + (1 - hard) · τ² · KL(teacher_τ ‖ student_τ)

L is the cross-entropy and the terms that training adds to it.

τ² keeps the size of the soft gradients where it is when τ changes (Hinton, section 2).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from groundup.architecture.config import ModelConfig
from groundup.errors import InputError
from groundup.model.transformer import Transformer
from groundup.tokens.samples import IGNORED
from groundup.train.batch import Batch, Counts
from groundup.train.objectives import NO_TERMS, Loss, Terms, loss_of_logits


def distillation_loss(
    teacher: Transformer, temperature: float, hard_weight: float, terms: Terms = NO_TERMS
) -> Loss:
    """The loss of a student beside ``teacher``, which is never changed.

    Raises:
        InputError (when called): the student has another vocabulary.
    """
    teacher = teacher.eval().requires_grad_(False)

    def loss(student: Transformer, batch: Batch, counts: Counts) -> Tensor:
        require_fitting(teacher.config, student.config)
        wanted = batch.targets != IGNORED
        with torch.no_grad():
            known = _logits(teacher, batch, wanted)
        found = _logits(student, batch, wanted)
        hard = loss_of_logits(found, batch.targets[wanted], terms)
        soft = F.kl_div(
            (found / temperature).log_softmax(-1),
            (known / temperature).log_softmax(-1),
            reduction="sum",
            log_target=True,
        )
        return (hard_weight * hard + (1 - hard_weight) * temperature**2 * soft) / counts.targets

    return loss


def require_fitting(teacher: ModelConfig, student: ModelConfig) -> None:
    """Check that a teacher can say something of what the student is asked.

    Raises:
        InputError: another vocabulary, another kind of stack (which might see the answer), or a
            shorter context.
    """
    problems = []
    if student.vocab_size != teacher.vocab_size:
        problems.append(f"{teacher.vocab_size:,} tokens, the student {student.vocab_size:,}")
    if student.stack != teacher.stack:
        problems.append(f"one {teacher.stack}, the student one {student.stack}")
    if student.context_length > teacher.context_length:
        problems.append(
            f"a context of {teacher.context_length}, the student {student.context_length}"
        )
    if problems:
        raise InputError(
            f"the teacher has {'; '.join(problems)}",
            where="pretrain.objective.teacher",
            fix="train the student on the teacher's tokenizer, with a stack and a context like its",
        )


def _logits(model: Transformer, batch: Batch, wanted: Tensor) -> Tensor:
    """[targets, V] float32."""
    hidden = model.hidden(batch.inputs, batch.decoder_inputs, **batch.about)
    return model.logits(hidden[wanted]).float()
