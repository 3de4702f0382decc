"""The mixture of one run: the settings applied to the tokens that the run will see.

Before a run is planned, epochs and caps are counted for one pass (or `data.mixture.tokens`). The
plan knows the samples of the run, and the rows of the context length how much of each source stands
in them, so that here the shares are those of this run. They are a function of the packed tokens and
of the samples that were planned first, which the run's record keeps; so they are found again
wherever it goes on, also where its length was changed.
"""

from __future__ import annotations

from groundup.data.mixture import Mixture, mix, one_pass
from groundup.tokens.dataset import TokenDataset
from groundup.tokens.samples import cuts


def run_mixture(dataset: TokenDataset, context_length: int, n_samples: int) -> Mixture:
    """How often a run of ``n_samples`` (steps · batch) sees each source.

    A source's size is what one pass over its rows shows: without padding and what is cropped.

    Raises:
        ConfigError: epochs or caps cannot hold in a run of this length.
        InputError: a source is shorter than one sample.
    """
    drawn_from = cuts(dataset, context_length)
    if dataset.mixture is None:
        (cut,) = drawn_from
        epochs = n_samples / cut.n_samples
        return one_pass(dataset.source_tokens, epochs, dataset.mixture_config)
    sizes: dict[str, float] = dict(dataset.source_tokens)
    fills = {}
    for name, cut in zip(dataset.mixture, drawn_from, strict=True):
        fills[name] = cut.fill
        sizes[name] = cut.n_samples * context_length * cut.fill
    planned = float(n_samples * context_length)
    return mix(sizes, dataset.mixture_config, fills=fills, planned=planned)


def planned(dataset: TokenDataset, context_length: int, n_samples: int) -> TokenDataset:
    """``dataset`` with the shares of a run of ``n_samples``.

    Raises:
        ConfigError: epochs or caps cannot hold in a run of this length.
        InputError: a source is shorter than one sample.
    """
    if dataset.mixture is not None:
        found = run_mixture(dataset, context_length, n_samples)
        shares = {source.source: source.share for source in found.sources}
        dataset.mixture = {name: shares[name] for name in dataset.mixture}
    return dataset
