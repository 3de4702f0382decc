from __future__ import annotations

import pytest
from pydantic import ValidationError

from groundup.data.config import DataConfig


def test_units_lists_and_endings_are_read_as_people_write_them() -> None:
    config = DataConfig.model_validate(
        {"input": ["a", "b"], "extensions": ["TXT", ".rst"], "max_file_bytes": "1MiB"}
    )
    assert config.input == ("a", "b")
    assert config.extensions == (".txt", ".rst")
    assert config.max_file_bytes == 1_048_576


@pytest.mark.parametrize(
    "value",
    [
        {"input": []},
        {"extensions": []},
        {"validation_fraction": 0},
        {"test_fraction": 0.5},
        {"min_letter_share": 1.5},
        {"near_duplicate_threshold": 0},
        {"min_byte": 3},
    ],
)
def test_values_without_a_meaning_are_refused(value: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DataConfig.model_validate(value)


def test_a_threshold_that_the_bands_would_hardly_ever_reach_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"only 5% of the pairs .* more bands"):
        DataConfig(near_duplicate_threshold=0.5)


def test_every_field_is_documented() -> None:
    assert all(field.description for field in DataConfig.model_fields.values())
