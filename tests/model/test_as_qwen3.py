"""nanochat with SwiGLU and without a cap is a Qwen3, for `transformers` and for GGUF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from groundup.architecture.families import build
from groundup.model.as_qwen3 import as_qwen3
from groundup.model.convert import export_model, load_exported
from groundup.model.gguf import architecture_of
from groundup.model.transformer import Transformer
from groundup.recipes import RECIPES
from tests.model.parity import TOLERANCE, difference, ids, randomise

transformers = pytest.importorskip("transformers")

SIZES = {"vocab_size": 70, "n_layers": 3, "d_model": 48, "context_length": 32, "n_heads": 6}
SWIGLU: dict[str, Any] = {"activation": "swiglu", "logit_softcap": None}


def random_model(**fields: Any) -> Transformer:
    model = Transformer(build("nanochat", **SIZES | fields))
    randomise(model)
    return model


@pytest.mark.parametrize("n_kv_heads", [6, 2])
def test_transformers_has_the_same_logits(n_kv_heads: int, tmp_path: Path) -> None:
    model = random_model(**SWIGLU, n_kv_heads=n_kv_heads)
    assert export_model(model, tmp_path) == "qwen3"
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    tokens = ids(24)
    with torch.no_grad():
        assert difference(model(tokens), theirs(tokens).logits) < TOLERANCE
        back = load_exported(tmp_path)
        assert difference(model(tokens), back(tokens)) < TOLERANCE


def test_the_network_of_the_fast_recipe_can_be_written_for_others() -> None:
    values = {key: value for part in RECIPES["fast"] for key, value in part.values.items()}
    model = random_model(**values["model.variant"])
    assert as_qwen3(model).config.family == "qwen3"
    assert architecture_of(model) == "qwen3"


def test_what_does_not_change_is_not_copied() -> None:
    model = random_model(**SWIGLU)
    found = dict(as_qwen3(model).named_parameters())
    for name in ("head.weight", "blocks.0.attention.v.weight", "blocks.2.feed_forward.gate.weight"):
        assert found[name].data_ptr() == dict(model.named_parameters())[name].data_ptr()


@pytest.mark.parametrize(
    "variant", [{}, {"activation": "swiglu"}, {"activation": "gelu", "logit_softcap": None}]
)
def test_other_networks_stay_what_they_are(variant: dict[str, Any]) -> None:
    model = random_model(**variant)
    assert as_qwen3(model) is model
