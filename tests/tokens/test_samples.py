from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.data.settings.mixture import MixtureConfig
from groundup.errors import ConfigError, InputError
from groundup.tokenizer.load import Tokenizer
from groundup.tokens.dataset import TokenDataset
from groundup.tokens.order import batch_of_step, draws_at
from groundup.tokens.pack import pack
from groundup.tokens.samples import IGNORED, NO_DOCUMENT, Cut, cuts, samples
from tests.tokens.corpora import SMALL, written_corpus

T = 16


@pytest.fixture(scope="module")
def opened(small_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    corpus = written_corpus(tmp_path_factory.mktemp("corpus") / "corpus")
    made: dict[tuple[str, bool], TokenDataset] = {}

    def open(packing: str, mixed: bool = False) -> TokenDataset:
        if (packing, mixed) not in made:
            folder = tmp_path_factory.mktemp("tokens")
            mixture = MixtureConfig(weights={"code": 1, "prose": 3}) if mixed else None
            pack(corpus, small_tokenizer, folder, mixture, packing)  # type: ignore[arg-type]
            made[packing, mixed] = TokenDataset(folder, "train")
        return made[packing, mixed]

    return open


def all_samples(dataset: TokenDataset) -> Any:
    (cut,) = cuts(dataset, T)
    return samples(cut, np.arange(cut.n_samples))


def test_packing_changes_nothing_on_disk_but_what_the_index_says(opened: Any) -> None:
    concat, best = opened("concat"), opened("best_fit")
    for name in ("train.bin", "train.npz", "validation.bin"):
        assert (concat.folder / name).read_bytes() == (best.folder / name).read_bytes()
    assert TokenDataset(best.folder, "validation").packing == "concat"


@pytest.mark.parametrize("packing", ["concat", "best_fit", "bos_aligned"])
@pytest.mark.parametrize("mixed", [False, True])
def test_a_target_is_the_token_after_its_input_or_padding(
    opened: Any, packing: str, mixed: bool
) -> None:
    dataset = opened(packing, mixed)
    stream = np.append(dataset.tokens.astype(np.int64), 0)  # the separator that ends the last one
    for cut in cuts(dataset, T):
        found = samples(cut, np.arange(cut.n_samples))
        used = found.documents != NO_DOCUMENT
        place = dataset.document_starts[found.documents] + found.positions
        assert (found.targets[~used] == IGNORED).all()
        assert (found.inputs[~used] == 0).all()
        assert found.positions.max() < T
        # Positions count within the document's piece of the row: the piece's place is what is left.
        for row in range(cut.n_samples):
            for document in set(found.documents[row][used[row]].tolist()):
                here = found.documents[row] == document
                assert found.positions[row][here].tolist() == list(range(here.sum()))
        if packing == "bos_aligned":
            assert (found.inputs[used] == stream[place[used]]).all()
            assert (found.targets[used] == stream[place[used] + 1]).all()
            assert (found.inputs[:, 0] == 0).all()


def test_best_fit_shows_every_token_once_as_input_and_once_as_target(opened: Any) -> None:
    dataset = opened("best_fit")
    found = all_samples(dataset)
    used = found.documents != NO_DOCUMENT
    tokens = Counter(dataset.tokens.tolist())
    assert Counter(found.inputs[used].tolist()) == tokens
    assert Counter(found.targets[used].tolist()) == tokens  # a separator ends where one begins
    assert (~used).sum() == cuts(dataset, T)[0].rows.n_padding  # type: ignore[union-attr]
    texts = [
        np.concatenate([found.inputs[used & (found.documents == number)]])
        for number in range(dataset.n_documents)
    ]
    for number, text in enumerate(texts):  # a document's pieces: none lost, none foreign
        assert Counter(text.tolist()) == Counter(dataset.document(number).tolist())


def test_concatenated_samples_are_the_windows_with_their_documents(opened: Any) -> None:
    dataset = opened("concat")
    found, windows = all_samples(dataset), dataset.windows(np.arange(dataset.n_windows(T)), T)
    assert found.inputs.tolist() == windows[:, :-1].tolist()
    assert found.targets.tolist() == windows[:, 1:].tolist()
    for row in range(len(found.inputs)):
        for column in range(T):
            place = row * T + column
            number = int((dataset.document_starts <= place).sum()) - 1
            assert found.documents[row, column] == number
            begins = max(int(dataset.document_starts[number]), row * T)
            assert found.positions[row, column] == place - begins


def test_windows_of_a_source_never_cross_into_another(opened: Any) -> None:
    dataset = opened("concat", mixed=True)
    for cut in cuts(dataset, T):
        found = samples(cut, np.arange(cut.n_samples))
        assert set(dataset.document_sources[found.documents].ravel().tolist()) == {cut.source}
        n_tokens = cut.n_tokens
        assert cut.n_samples == (n_tokens - 1) // T


def test_a_source_in_several_runs_is_cut_run_by_run(
    small_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    train = [("a" if n % 20 < 10 else "b", f"line {n} of the text\n") for n in range(60)]
    corpus = written_corpus(tmp_path / "corpus", {**SMALL, "train": train})
    pack(corpus, small_tokenizer, tmp_path / "tokens", MixtureConfig(weights={"a": 1, "b": 1}))
    dataset = TokenDataset(tmp_path / "tokens", "train")
    for number in (0, 1):
        cut = Cut(dataset, T, number)
        found = samples(cut, np.arange(cut.n_samples))
        assert set(dataset.document_sources[found.documents].ravel().tolist()) == {number}
        lengths = np.diff(np.append(dataset.document_starts, dataset.n_tokens))
        of_runs = np.add.reduceat(lengths, np.arange(0, 60, 10))[number::2]
        assert cut.n_samples == sum((int(n) - 1) // T for n in of_runs)


@pytest.mark.parametrize("packing", ["concat", "best_fit", "bos_aligned"])
@given(batch=st.integers(1, 9), step=st.integers(0, 10**6), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_the_sequence_of_samples_does_not_depend_on_the_batch_size(
    opened: Any, packing: str, batch: int, step: int, seed: int
) -> None:
    dataset = opened(packing, mixed=True)
    inputs, targets = batch_of_step(dataset, seed, step, 2 * batch, T)
    for half in (0, 1):
        rows = slice(half * batch, (half + 1) * batch)
        again = batch_of_step(dataset, seed, 2 * step + half, batch, T)
        assert again[0].tolist() == inputs[rows].tolist()
        assert again[1].tolist() == targets[rows].tolist()
    assert inputs.dtype == targets.dtype == np.int64


@pytest.mark.parametrize("packing", ["concat", "bos_aligned"])
def test_a_mixture_is_met_within_one_sample_and_each_source_has_whole_epochs(
    opened: Any, packing: str
) -> None:
    dataset = opened(packing, mixed=True)
    assert dataset.mixture == {"code": 0.25, "prose": 0.75}
    sources, numbers = draws_at(dataset, 3, 0, 2000, T)
    for k in range(1, 2001):
        assert abs((sources[:k] == 0).sum() - 0.25 * k) < 1
    for source, cut in enumerate(cuts(dataset, T)):
        drawn = numbers[sources == source]
        epochs = len(drawn) // cut.n_samples
        assert epochs >= 3
        for epoch in range(epochs):
            one = drawn[epoch * cut.n_samples : (epoch + 1) * cut.n_samples]
            assert sorted(one) == list(range(cut.n_samples))
        orders = drawn[: 3 * cut.n_samples].reshape(3, -1)
        assert len({tuple(order) for order in orders.tolist()}) == 3


def test_a_source_without_a_window_is_named(small_tokenizer: Tokenizer, tmp_path: Path) -> None:
    train = [*SMALL["train"], ("tiny", "x")]
    corpus = written_corpus(tmp_path / "corpus", {**SMALL, "train": train})
    weights = {"code": 1.0, "prose": 1.0, "tiny": 1.0}
    pack(corpus, small_tokenizer, tmp_path / "tokens", MixtureConfig(weights=weights))
    dataset = TokenDataset(tmp_path / "tokens", "train")
    with pytest.raises(InputError, match="source 'tiny' has 2 tokens") as caught:
        batch_of_step(dataset, 0, 0, 1, T)
    assert "weight 0" in str(caught.value.fix)
    pack(corpus, small_tokenizer, tmp_path / "out", MixtureConfig(weights={**weights, "tiny": 0}))
    dataset = TokenDataset(tmp_path / "out", "train")
    assert len(cuts(dataset, T)) == 2
    with pytest.raises(ConfigError, match="no source 'cod'"):
        pack(corpus, small_tokenizer, tmp_path / "no", MixtureConfig(weights={"cod": 1}))


@pytest.mark.parametrize("packing", ["best_fit", "bos_aligned"])
def test_two_steps_of_training_on_rows(opened: Any, packing: str) -> None:
    import torch

    from groundup.architecture.families import build
    from groundup.train.batch import Batch
    from groundup.train.objectives import IGNORED as IGNORED_IN_TRAINING
    from groundup.train.start import new_state
    from groundup.train.step import train_step
    from tests.train.small import SETTINGS

    assert IGNORED == IGNORED_IN_TRAINING
    dataset = opened(packing, mixed=True)
    model = build(
        "nanochat", vocab_size=dataset.vocab_size, n_layers=1, d_model=32, context_length=T
    )
    state = new_state(model, SETTINGS)
    losses = []
    for step in range(2):
        batch = batch_of_step(dataset, 7, step, SETTINGS.batch_size, T)
        loss, _ = train_step(state, SETTINGS, Batch(*map(torch.from_numpy, batch)))
        state.step += 1
        losses.append(loss.item())
    assert all(torch.isfinite(torch.tensor(losses)))
    assert abs(losses[0] - np.log(dataset.vocab_size)) < 1  # of an untrained model
