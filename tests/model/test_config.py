from __future__ import annotations

import pytest
from pydantic import ValidationError

from groundup.model.config import ModelSection


def test_sizes_may_be_left_to_the_plan() -> None:
    section = ModelSection()
    assert (section.family, section.n_layers, section.d_model) == ("nanochat", None, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_layers": 4}, "given both or not at all"),
        ({"d_model": 256}, "given both or not at all"),
        ({"d_ff": 100}, "d_ff needs n_layers and d_model"),
        ({"n_layers": 0, "d_model": 64}, "greater than 0"),
        ({"family": "lama"}, "unknown model family 'lama'; did you mean llama"),
        ({"layers": 4}, "Extra inputs"),
        ({"variant": {"n_heads": 4}}, "n_heads is a key of its own: model.n_heads"),
        ({"variant": {"family": "llama"}}, "family is a key of its own"),
        ({"variant": {"vocab_size": 9}}, "the tokenizer's: tokenizer.vocab_size"),
        ({"variant": {"head_dim": 8}}, "the family nanochat has no head_dim"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelSection.model_validate(given)


def test_sizes_are_written_as_people_write_them() -> None:
    section = ModelSection.model_validate({"n_layers": 4, "d_model": "1_024", "d_ff": "4k"})
    assert (section.d_model, section.d_ff) == (1024, 4000)
