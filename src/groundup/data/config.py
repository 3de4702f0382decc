"""The section ``data`` of the project file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from groundup.section import Section
from groundup.units import Bytes, Count

STANDARD_LIBRARY = "stdlib"  # the one input that is not a path
Fraction = Annotated[float, Field(gt=0, lt=0.5)]
Share = Annotated[float, Field(ge=0, le=1)]


class DataConfig(Section):
    """Where the text is, what is good enough, what counts as a copy, how it is split."""

    input: str | Annotated[tuple[str, ...], Field(min_length=1)] = STANDARD_LIBRARY
    """`stdlib` (Python's own source, always there), or one or several files or folders of text,
    relative to the project folder. A folder called stdlib is written `./stdlib`."""

    extensions: Annotated[tuple[str, ...], Field(min_length=1)] = (".py", ".txt", ".md")
    """Endings of the files read from a folder; a file that is named itself is always read."""

    max_file_bytes: Bytes = 64 * 2**20
    """Larger files are set aside unread; 64 MiB is more text than any one document should be."""

    max_line_bytes: Bytes = 2**20
    """Files with a longer line are set aside: at 1 MiB it is data or minified code, not text."""

    min_bytes: Bytes = 100
    """Shorter documents are dropped: some thirty tokens leave a model little to predict from."""

    min_letter_share: Share = 0.25
    """Documents with a smaller share of letters among their visible characters are dropped (data
    tables). StarCoder's figure (Li et al. 2023, arXiv:2305.06161, section 3)."""

    max_duplicate_line_share: Share = 0.6
    """Documents are dropped when more than this share of their text is lines said before. Gopher
    (Rae et al. 2021, arXiv:2112.11446, table A1) takes 0.2 for web prose; code repeats `return`
    and `pass` by its nature."""

    max_mean_line_bytes: Bytes = 1000
    """Documents whose lines are longer on average are dropped. Codex (Chen et al. 2021,
    arXiv:2107.03374) takes 100 for Python; prose with a paragraph a line needs several hundred."""

    near_duplicate_threshold: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Two documents whose sets of shingles have at least this Jaccard similarity are copies: the
    0.7-0.8 that C4, RefinedWeb and FineWeb settled on."""

    shingle_words: Annotated[Count, Field(ge=1)] = 5
    """Words in a shingle; five, as in FineWeb (Penedo et al. 2024, arXiv:2406.17557)."""

    bands: Annotated[Count, Field(ge=1)] = 14
    """Bands of the MinHash signature; two documents are compared when one band is equal."""

    rows_per_band: Annotated[Count, Field(ge=1)] = 8
    """Hashes in a band. 14 bands of 8 (FineWeb's 112 hashes) compare 57 % of the pairs of
    similarity 0.7, 92 % of 0.8 and all but one in a thousand of 0.9."""

    validation_fraction: Fraction = 0.04
    """Share of the documents watched while training."""

    test_fraction: Fraction = 0.04
    """Share of the documents used for nothing but the published figures."""

    @field_validator("extensions")
    @classmethod
    def _with_a_dot(cls, extensions: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f".{extension.strip().lstrip('.').lower()}" for extension in extensions)

    @model_validator(mode="after")
    def _finds_what_it_looks_for(self) -> DataConfig:
        chance = self.chance_of_comparison(self.near_duplicate_threshold)
        if chance < 0.5:
            raise ValueError(
                f"with {self.bands} bands of {self.rows_per_band} only {chance:.0%} of the pairs "
                f"at near_duplicate_threshold {self.near_duplicate_threshold:g} would be compared; "
                "take more bands or fewer rows_per_band"
            )
        return self

    @property
    def n_hashes(self) -> int:
        """Length of a MinHash signature."""
        return self.bands * self.rows_per_band

    def chance_of_comparison(self, similarity: float) -> float:
        """Chance that two documents of this Jaccard similarity share a band: 1 - (1 - s^r)^b.

        Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, section 3.4.2.
        """
        return float(1 - (1 - similarity**self.rows_per_band) ** self.bands)
