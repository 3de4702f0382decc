"""Shared rows and vocabularies against attention and cross-entropy in one piece."""

from dataclasses import replace

import pytest

from groundup.architecture.families import build
from groundup.errors import ConfigError
from groundup.train.distributed import Ranks
from groundup.train.parallel.context import columns_of, in_order
from groundup.train.parallel.possible import require_possible
from groundup.train.start import untrained
from tests.train.distributed.world import worlds
from tests.train.small import SETTINGS

HERE = "tests.train.distributed.divided:"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    names = ("attention", "losses", "transposes")
    calls = [(2, HERE + name, []) for name in names]
    return dict(zip(names, worlds(calls, tmp_path_factory.mktemp("divided")), strict=True))


def test_shared_rows_see_what_whole_rows_see(found):
    for rank in found["attention"]:
        assert len(rank) == 16
        assert max(rank.values()) < 1e-12, rank


def test_the_loss_of_a_divided_vocabulary_is_that_of_torch(found):
    for rank in found["losses"]:
        for differences in rank.values():
            assert max(differences) < 1e-12


def test_what_goes_backward_is_the_transpose_of_what_goes_forward(found):
    for rank in found["transposes"]:
        for forward, backward in rank.values():
            assert backward == pytest.approx(forward, rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_pieces_from_both_ends_make_the_row_again_and_cost_alike(n):
    import torch

    columns = [columns_of(k, n, 24) for k in range(n)]
    assert in_order(torch.cat(columns), n, 0).tolist() == list(range(24))
    pairs = {int((each + 1).sum()) for each in columns}  # keys that the queries of each see
    assert len(pairs) == 1


@pytest.mark.parametrize(
    ("family", "model", "layout", "settings", "says", "fix"),
    [
        ("llama", {}, {"tp": 3}, {}, "3 processes cannot share 4 of model.n_heads", "set it to 2"),
        ("llama", {"n_kv_heads": 2}, {"tp": 4}, {}, "4 processes cannot share 2", "set it to 2"),
        ("llama", {}, {"cp": 3}, {}, "rows of 16 tokens .* 2 × cp 3", "does is 18"),
        ("llama", {}, {"cp": 2, "tp": 4, "sp": True}, {"context_length": 24}, "24 tokens", "16|32"),
        ("t5", {}, {"cp": 2}, {}, "encoder-decoder", "dp_shard"),
        ("xlnet", {}, {"cp": 2}, {}, "attention|positions", "dp_shard"),
        ("xlnet", {}, {"tp": 2}, {}, "positions of kind relative", "dp_shard"),
        ("electra", {}, {"tp": 2}, {"objective": {"kind": "replaced_token"}}, "pair", "dp_shard"),
    ],
)
def test_what_does_not_divide_is_refused_with_what_does(family, model, layout, settings, says, fix):
    sizes = {"n_layers": 2, "d_model": 32, "n_heads": 4, "context_length": 24, **model}
    chosen = replace(SETTINGS, layout=layout, **settings)
    config = build(family, vocab_size=64, **sizes)
    n = 1
    for size in layout.values():
        n *= int(size)
    ranks = Ranks(0, n, **layout)
    with pytest.raises(ConfigError, match=says) as caught:
        require_possible(untrained(config, chosen), chosen, ranks)
    assert any(part in str(caught.value.fix) for part in fix.split("|"))
