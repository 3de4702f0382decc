"""Each kind of dropout of the section ``pretrain`` acts, where it says and as often as it says."""

from dataclasses import replace

import pytest
import torch

from groundup.architecture.families import build
from groundup.train.start import untrained
from tests.train.small import SETTINGS, batch
from tests.train.test_loss import model_of

KINDS = ("dropout", "attention_dropout", "activation_dropout", "layer_dropout")
RATE = 0.3


def model_with(**fields):
    """A model whose every weight says something, with these kinds on."""
    config = build("gpt2", vocab_size=64, n_layers=2, d_model=32, context_length=16)
    model = untrained(config, replace(SETTINGS, **fields))
    model.load_state_dict(model_of("gpt2").state_dict())
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_alone_changes_what_is_learnt_from_and_nothing_else(kind):
    inputs, _ = batch()
    plain, dropped = model_with(), model_with(**{kind: RATE})
    assert not torch.allclose(dropped.train()(inputs), plain(inputs), atol=1e-3)
    assert torch.equal(dropped.eval()(inputs), plain(inputs))


def share_of_zeros(model, module, input_of=False, rows=200):
    """How much of what passes a module is exactly zero while training."""
    seen = []

    def look(_module, inputs, output):
        seen.append((inputs[0] if input_of else output).detach())

    handle = module.register_forward_hook(look)
    torch.manual_seed(0)
    model.train()(batch(rows=rows)[0])
    handle.remove()
    return (torch.cat(seen) == 0).float().mean().item()


def test_dropout_leaves_out_that_share_of_the_embeddings_and_of_each_sub_layers_result():
    model = model_with(dropout=RATE)
    assert share_of_zeros(model, model.embedding_dropout) == pytest.approx(RATE, abs=0.005)
    for block in model.blocks:
        assert share_of_zeros(model, block.dropout) == pytest.approx(RATE, abs=0.005)


def test_activation_dropout_leaves_out_that_share_inside_the_network():
    model = model_with(activation_dropout=RATE)
    down = model.blocks[0].feed_forward.down
    assert share_of_zeros(model, down, input_of=True) == pytest.approx(RATE, abs=0.005)


def test_layer_dropout_leaves_out_whole_sub_layers_in_proportion_to_depth():
    model = model_with(layer_dropout=0.6)
    first, last = (share_of_zeros(model, block.dropout, rows=3000) for block in model.blocks)
    assert first == pytest.approx(0.3, abs=0.03)
    assert last == pytest.approx(0.6, abs=0.03)


def test_attention_dropout_keeps_the_mean():
    plain, dropped = model_with(), model_with(attention_dropout=RATE)
    inputs, _ = batch()
    repeated = inputs[:1].expand(4000, -1)
    torch.manual_seed(0)
    seen = []
    dropped.blocks[0].attention.register_forward_hook(lambda _m, _i, out: seen.append(out))
    plain.blocks[0].attention.register_forward_hook(lambda _m, _i, out: seen.append(out))
    dropped.train()(repeated)
    plain(inputs[:1])
    found, expected = (out[0] if isinstance(out, tuple) else out for out in seen)
    spread = found.std(0) / 4000**0.5
    assert ((found.mean(0) - expected[0]).abs() < 5.5 * spread + 1e-6).all()
    assert (spread > 0).any()
