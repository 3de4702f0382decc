from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from groundup.data.dedup.exact import exact_copies, exact_hash


@given(st.text(st.sampled_from("ab \t\n\r\v\fé"), max_size=30))
def test_the_hash_is_that_of_the_words_joined_by_single_spaces(text: str) -> None:
    joined = b" ".join(text.encode().split())
    assert exact_hash(text.encode()) == hashlib.blake2b(joined, digest_size=16).hexdigest()


def test_the_first_in_the_given_order_is_the_one_that_is_copied() -> None:
    order = np.array([3, 1, 0, 4])  # row 2 was dropped before
    assert exact_copies(["a", "b", "a", "a", "b"], order).tolist() == [3, 1, 2, 3, 1]
