from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groundup.data.settings.mixture import MixtureConfig
from groundup.errors import ConfigError
from groundup.tokenizer.load import Tokenizer
from groundup.tokens.dataset import TokenDataset
from groundup.tokens.order import batch_of_step, draws_at
from groundup.tokens.pack import pack
from groundup.tokens.repeats import worth
from groundup.tokens.run_mixture import planned, run_mixture
from groundup.tokens.samples import IGNORED, cuts
from tests.tokens.corpora import written_corpus

T = 16
# One letter is one token: with its separator a text of 10 fills 11 of 16 places, no two share a
# row; one of 31 fills two rows.
PADDED = [("padded", "zqzqzqzqzq"[: 9 + n % 2]) for n in range(60)]
WHOLE = [("whole", "jxkw"[n % 4] * 31) for n in range(60)]


@pytest.fixture
def opened(small_tokenizer: Tokenizer, tmp_path: Path) -> Any:
    def open(packing: str, train: Any = None, **config: Any) -> TokenDataset:
        held_out = [("whole", "a fox")]
        texts = {"train": train or [*PADDED, *WHOLE], "validation": held_out, "test": held_out}
        corpus = written_corpus(tmp_path / "corpus", texts)
        pack(corpus, small_tokenizer, tmp_path / "t", MixtureConfig(**config), packing)  # type: ignore[arg-type]
        return TokenDataset(tmp_path / "t", "train")

    return open


def targets_seen(dataset: TokenDataset, n_samples: int) -> list[int]:
    """Targets of each source in the first samples of a run."""
    sources, _ = draws_at(dataset, 5, 0, n_samples, T)
    _, targets = batch_of_step(dataset, 5, 0, n_samples, T)
    counts = (targets != IGNORED).sum(axis=1)
    return [int(counts[sources == source].sum()) for source in (0, 1)]


def test_shares_are_of_tokens_where_rows_are_padded(opened: Any) -> None:
    dataset = opened("best_fit", weights={"padded": 1, "whole": 1})
    padded, whole = cuts(dataset, T)
    assert padded.fill < 0.7
    assert whole.fill == 1
    one, other = targets_seen(dataset, 4000)
    assert one / (one + other) == pytest.approx(0.5, abs=0.001)


def test_epochs_are_those_of_the_run(opened: Any) -> None:
    dataset = opened("best_fit", epochs={"padded": 3})
    n_samples = 1000
    found = run_mixture(dataset, T, n_samples)
    padded, whole = cuts(dataset, T)
    by_name = {source.source: source for source in found.sources}
    assert by_name["padded"].epochs == pytest.approx(3)
    rest = n_samples - 3 * padded.n_samples
    assert by_name["whole"].epochs == pytest.approx(rest / whole.n_samples)
    sources, numbers = draws_at(planned(dataset, T, n_samples), 5, 0, n_samples, T)
    assert abs((sources == 0).sum() - 3 * padded.n_samples) <= 1
    seen = np.bincount(numbers[sources == 0], minlength=padded.n_samples)
    assert abs(seen - 3).sum() <= 1
    assert [row.tokens for row in found.sources] == pytest.approx(
        targets_seen(dataset, n_samples), abs=T
    )


def test_a_cap_binds_in_the_run_and_not_only_in_one_pass(opened: Any) -> None:
    dataset = opened("concat", weights={"padded": 9, "whole": 1}, max_epochs=2)
    before = dict(dataset.mixture)
    padded, whole = cuts(dataset, T)
    n_samples = padded.n_samples * 2 + whole.n_samples
    found = run_mixture(dataset, T, n_samples)
    assert found.capped == ("padded",)
    shares = planned(dataset, T, n_samples).mixture
    assert shares != before
    sources, _ = draws_at(dataset, 5, 0, n_samples, T)
    assert abs((sources == 0).sum() - 2 * padded.n_samples) <= 1
    with pytest.raises(ConfigError, match="but the run is planned for"):
        run_mixture(dataset, T, 3 * n_samples)


def test_a_run_that_resumes_finds_the_same_shares(opened: Any, tmp_path: Path) -> None:
    dataset = planned(opened("best_fit", epochs={"padded": 3}), T, 900)
    again = planned(TokenDataset(tmp_path / "t", "train"), T, 900)
    assert again.mixture == dataset.mixture
    for step in (0, 7):
        for one, other in zip(
            batch_of_step(dataset, 1, step, 6, T), batch_of_step(again, 1, step, 6, T), strict=True
        ):
            assert one.tolist() == other.tolist()


def test_epochs_of_all_sources_are_proportions_of_the_run(opened: Any) -> None:
    dataset = opened("concat", epochs={"padded": 1, "whole": 2})
    found = run_mixture(dataset, T, 500)
    one, other = (source.epochs for source in found.sources)
    assert other == pytest.approx(2 * one)
    assert found.tokens == pytest.approx(500 * T)


def test_epochs_that_a_run_has_no_room_for_are_said(opened: Any) -> None:
    dataset = opened("concat", epochs={"padded": 50})
    with pytest.raises(ConfigError, match=r"the epochs make .* but the run is planned for 160"):
        run_mixture(dataset, T, 10)


def test_a_cap_without_a_mixture_is_kept_too(opened: Any) -> None:
    dataset = opened("concat", max_epochs=2)
    assert dataset.mixture is None
    n = cuts(dataset, T)[0].n_samples
    assert {source.epochs for source in run_mixture(dataset, T, 2 * n).sources} == {2}
    with pytest.raises(ConfigError, match="max_epochs leaves"):
        run_mixture(dataset, T, 2 * n + 1)


def test_many_epochs_are_warned_of_with_the_laws_loss(opened: Any) -> None:
    dataset = opened("concat", weights={"padded": 1, "whole": 1})
    warnings = worth(run_mixture(dataset, T, 5000)).warnings
    assert "padded is seen" in warnings[0]
    assert "data-constrained law" in warnings[-1]


def test_a_misspelt_source_is_found_before_anything_is_encoded(
    small_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    corpus = written_corpus(tmp_path / "corpus")
    work = tmp_path / "work"
    with pytest.raises(ConfigError, match="no source 'cod'"):
        pack(corpus, small_tokenizer, tmp_path / "t", MixtureConfig(weights={"cod": 1}), work=work)
    assert not work.exists()


def test_under_a_later_mixture_each_source_goes_on_where_it_was(opened: Any) -> None:
    """A source's samples come in the same order whatever the shares: only when they come moves."""
    dataset = opened("concat", weights={"padded": 3, "whole": 1})
    later = [(100, {"padded": 1.0, "whole": 1.0}), (250, {"padded": 1.0, "whole": 7.0})]
    sources, numbers = draws_at(dataset, 5, 0, 400, T, later)
    plain, in_order = draws_at(dataset, 5, 0, 4000, T)
    for source in (0, 1):
        mine = numbers[sources == source]
        assert mine.tolist() == in_order[plain == source][: len(mine)].tolist()
    halves = [draws_at(dataset, 5, first, 200, T, later)[1] for first in (0, 200)]
    assert np.concatenate(halves).tolist() == numbers.tolist()
    shares = [float(np.mean(sources[part] == 0)) for part in (slice(100, 250), slice(250, 400))]
    assert shares == pytest.approx([1 / 2, 1 / 8], abs=0.02)
