"""Distillation: the formula, its two ends, and a student that comes near its teacher."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from groundup.architecture.families import build
from groundup.errors import InputError
from groundup.model.transformer import Transformer
from groundup.train.batch import Batch, counts_of
from groundup.train.distillation import distillation_loss
from groundup.train.objectives import IGNORED, token_loss
from groundup.train.start import new_state
from groundup.train.step import train_step
from tests.train.small import SETTINGS, batch

SIZES = {"n_layers": 1, "d_model": 16, "n_heads": 2, "context_length": 16}


def model(family="llama", vocab_size=64, seed=0):
    torch.manual_seed(seed)
    made = Transformer(build(family, vocab_size=vocab_size, **SIZES))
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(0, 0.3)
    return made


def rows():
    inputs, targets = batch()
    targets[0, 3:9] = IGNORED
    return Batch(inputs, targets)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("hard_weight", [0.0, 0.3, 1.0])
def test_the_loss_is_hintons_formula(temperature, hard_weight):
    student, teacher, some = model(seed=1), model(seed=2), rows()
    found = distillation_loss(teacher, temperature, hard_weight)(student, some, counts_of(some))
    logits, known = student(some.inputs).double(), teacher(some.inputs).double()
    total, n_targets = 0.0, 0
    for row, place in (some.targets != IGNORED).nonzero().tolist():
        soft = F.softmax(known[row, place] / temperature, 0)
        student_soft = F.softmax(logits[row, place] / temperature, 0)
        divergence = (soft * (soft.log() - student_soft.log())).sum()
        hard = -F.log_softmax(logits[row, place], 0)[some.targets[row, place]]
        total += (hard_weight * hard + (1 - hard_weight) * temperature**2 * divergence).item()
        n_targets += 1
    assert found.item() == pytest.approx(total / n_targets, rel=1e-5)


def test_a_student_that_is_its_teacher_has_only_the_hard_part_to_learn():
    student, some = model(), rows()
    counts = counts_of(some)
    found = distillation_loss(model(), 2.0, 0.25)(student, some, counts)
    assert found.item() == pytest.approx(0.25 * token_loss(student, some, counts).item(), rel=1e-5)


def test_the_teacher_never_moves_and_the_student_comes_near_it():
    teacher = model(seed=3)
    before = {name: p.clone() for name, p in teacher.named_parameters()}
    settings = replace(
        SETTINGS, optimizer="adamw", learning_rate=3e-3, attention="sdpa", steps=1000
    )
    state = new_state(build("llama", vocab_size=64, **SIZES), settings)
    loss = distillation_loss(teacher, 1.0, 0.0)
    values = []
    for step in range(150):
        state.step = step
        inputs, _ = batch(seed=step)
        values.append(train_step(state, settings, Batch(inputs, inputs), loss)[0].item())
    assert values[-1] < 0.5 * values[0]  # of the divergence, in nats
    assert all(torch.equal(p, before[name]) for name, p in teacher.named_parameters())


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_encoders_and_encoder_decoders_learn_from_teachers_too(family):
    student, teacher = model(family, seed=1), model(family, seed=2)
    if family == "bert":
        config = replace(student.config, head="tokens", head_bias=True, head_transform=True)
        config = replace(config, pooler=False)
        student, teacher = Transformer(config), Transformer(config)
        some = rows()
    else:
        inputs, targets = batch()
        some = Batch(inputs, targets, decoder_inputs=inputs.flip(1))
    distillation_loss(teacher, 2.0, 0.5)(student, some, counts_of(some)).backward()
    moved = [name for name, p in student.named_parameters() if p.grad is not None]
    assert len(moved) == len(list(student.named_parameters()))


def test_another_vocabulary_is_refused():
    some = rows()
    with pytest.raises(InputError, match="the teacher has 65 tokens, the student 64"):
        distillation_loss(model(vocab_size=65), 2.0, 0.5)(model(), some, counts_of(some))


def test_a_teacher_that_sees_the_answer_or_less_of_the_text_is_refused():
    some = rows()
    with pytest.raises(InputError, match="the teacher has one encoder, the student one decoder"):
        distillation_loss(model("bert"), 2.0, 0.5)(model(), some, counts_of(some))
    short = Transformer(build("llama", vocab_size=64, **SIZES | {"context_length": 8}))
    with pytest.raises(InputError, match="a context of 8, the student 16"):
        distillation_loss(short, 2.0, 0.5)(model(), some, counts_of(some))
