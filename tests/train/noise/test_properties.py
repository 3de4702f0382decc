"""What holds of every row: nothing lost, nothing beyond the context, the same from one seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.errors import InputError
from groundup.train.noise.by_kind import example_of, tokens_per_example
from groundup.train.noise.example import IGNORED, Example, as_prefix_row, collate
from groundup.train.noise.infill import rearranged, texts
from groundup.train.noise.permutation import context_first
from groundup.train.noise.prefix import with_prefix
from groundup.train.noise.sentences import paired
from groundup.train.noise.span_corruption import corrupted_lengths
from groundup.train.noise.special import FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, MODES
from groundup.train.noise.ul2 import DENOISERS
from tests.train.noise.small import (
    ALL,
    FIRST,
    IDS,
    SEPARATOR,
    V,
    both,
    config_of,
    distinct,
    row_for,
    some_row,
)

SENTINELS = [IDS[f"<extra_id_{number}>"] for number in range(200)]
VARIANTS = [
    *((kind, {}) for kind in ALL),
    ("masked", {"masking": "static"}),
    ("masked", {"whole_word": True}),
    ("masked", {"sentence": "next"}),
    ("masked", {"sentence": "order", "masking": "static"}),
    ("span_corruption", {"layout": "prefix"}),
    ("span_corruption", {"mask_ratio": 0.7, "mean_span_length": 1}),
    ("ul2", {"layout": "prefix", "n_sentinels": 200}),
    ("denoising", {"layout": "prefix"}),
    ("denoising", {"noises": ("masking", "deletion", "infilling", "rotation")}),
    ("infill", {"infill_level": "row"}),
    ("infill", {"infill_rate": 1.0}),
]


def make(config, special, row, seed):
    rng = np.random.default_rng(seed)
    return example_of(config, special)(row, rng, row[::-1])


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        if isinstance(getattr(one, name), np.ndarray)
        else getattr(one, name) == getattr(other, name)
        for name in Example.__dataclass_fields__
    )


@pytest.mark.parametrize(("kind", "fields"), VARIANTS)
def test_the_same_generator_gives_the_same_example_and_leaves_the_row_alone(kind, fields):
    config, special = both(kind, **fields)
    row = row_for(config, 64, np.random.default_rng(0), documents=2)
    before = row.copy()
    one, again = make(config, special, row, 1), make(config, special, row, 1)
    assert same(one, again)
    assert (row == before).all()
    if kind != "causal":
        others = [make(config, special, row, seed) for seed in range(2, 12)]
        assert not all(same(one, other) for other in others)


@pytest.mark.parametrize(("kind", "fields"), VARIANTS)
@given(context=st.integers(8, 160), seed=st.integers(0, 2**32), documents=st.integers(0, 2))
@settings(max_examples=25, deadline=None)
def test_an_example_never_goes_beyond_the_context(kind, fields, context, seed, documents):
    config, special = both(kind, **fields)
    row = row_for(config, context, np.random.default_rng(seed), documents)
    example = make(config, special, row, seed)
    assert 0 < len(example.inputs) <= context
    assert example.inputs.dtype == example.targets.dtype == np.int64
    if example.decoder_inputs is None:
        assert len(example.targets) == len(example.inputs)
    else:
        assert len(example.targets) == len(example.decoder_inputs) <= context
    assert (example.targets != IGNORED).any()
    for values in (example.inputs, example.targets[example.targets != IGNORED]):
        assert 0 <= values.min() <= values.max() < V
    if example.prefix is not None:
        assert 1 <= example.prefix <= len(example.inputs)


@pytest.mark.parametrize("kind", ["causal", "masked", "replaced_token", "permutation", "infill"])
def test_rows_without_change_of_length_fill_the_context(kind):
    config, special = both(kind)
    for seed in range(20):
        row = row_for(config, 50, np.random.default_rng(seed), documents=seed % 5)
        assert len(make(config, special, row, seed).inputs) == 50


@given(ratio=st.floats(0.01, 0.99), mean=st.floats(1, 70), context=st.integers(6, 120))
@settings(max_examples=60, deadline=None)
def test_tokens_per_example_is_the_most_that_fits(ratio, mean, context):
    config = config_of("span_corruption", mask_ratio=ratio, mean_span_length=mean)
    fitting = [
        n for n in range(2, 3 * context) if max(corrupted_lengths(n, ratio, mean)) <= context
    ]
    assert tokens_per_example(config, context) == fitting[-1]
    assert fitting == list(range(2, fitting[-1] + 1))  # lengths never fall


@pytest.mark.parametrize("kind", ["span_corruption", "ul2"])
def test_a_prefix_row_with_one_token_more_would_not_fit(kind):
    for context in (20, 33, 50, 79):
        config, special = both(kind, layout="prefix")
        n = tokens_per_example(config, context)
        rows = [distinct(n), distinct(n + 1)]
        fits, more = (max(len(make(config, special, r, s).inputs) for s in range(40)) for r in rows)
        assert fits <= context < more


def undo_corruption(inputs, targets):
    """The text of a span corruption, read as a person would: put the spans in."""
    assert inputs[-1] == targets[-1]
    spans, name = {}, None
    for token in targets[:-1].tolist():
        if token in SENTINELS:
            name = token
            spans[name] = []
        else:
            spans[name].append(token)
    text = []
    for token in inputs[:-1].tolist():
        text += spans.pop(token) if token in SENTINELS else [token]
    assert not spans
    return text


@given(n=st.integers(2, 300), seed=st.integers(0, 2**32), ratio=st.floats(0.01, 0.99),
       mean=st.floats(1, 20))  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_inputs_and_targets_of_span_corruption_hold_the_whole_text(n, seed, ratio, mean):
    config, special = both(
        "span_corruption", mask_ratio=ratio, mean_span_length=mean, n_sentinels=200
    )
    row = some_row(n, np.random.default_rng(seed), documents=n // 20)
    example = make(config, special, row, seed)
    assert undo_corruption(example.inputs, example.targets) == row.tolist()
    assert (len(example.inputs), len(example.targets)) == corrupted_lengths(n, ratio, mean)


@given(n=st.integers(2, 390), seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_every_denoiser_of_ul2_holds_the_whole_text(n, seed):
    config, special = both("ul2", n_sentinels=200)
    row = some_row(n, np.random.default_rng(seed))
    example = make(config, special, row, seed)
    assert example.inputs[0] in [IDS[mode] for mode in MODES]
    assert undo_corruption(example.inputs[1:], example.targets) == row.tolist()
    one_row = as_prefix_row(example)
    whole = np.append(one_row.inputs, one_row.targets[-1])
    assert whole.tolist() == [*example.inputs, *example.targets]


def undo_infill(text):
    """A rearranged text in its own order; one left alone as it is."""
    text = text.tolist()
    lead = [text.pop(0)] if text and text[0] == SEPARATOR else []
    pre, suf, mid = IDS[FIM_PREFIX], IDS[FIM_SUFFIX], IDS[FIM_MIDDLE]
    if pre not in text:
        return lead + text
    assert text.pop(0) == pre
    s, m = text.index(suf), text.index(mid)
    before, suffix, after = text[:s], text[s + 1 : m], text[m + 1 :]
    return lead + before + after + suffix


@given(n=st.integers(0, 60), seed=st.integers(0, 2**32), spm=st.booleans(), lead=st.booleans())
@settings(max_examples=100, deadline=None)
def test_infill_moves_and_loses_nothing(n, seed, spm, lead):
    _, special = both("infill")
    rng = np.random.default_rng(seed)
    text = np.concatenate([[SEPARATOR] * lead, some_row(n, rng)]).astype(np.int64)
    made = rearranged(text, rng, spm, special)
    assert len(made) == len(text) + 3
    assert undo_infill(made) == text.tolist()


@given(n=st.integers(2, 120), seed=st.integers(0, 2**32), documents=st.integers(0, 12))
@settings(max_examples=100, deadline=None)
def test_infill_crops_the_end_of_a_row_and_nothing_else(n, seed, documents):
    config, special = both("infill", infill_rate=0.8)
    row = some_row(n, np.random.default_rng(seed), documents=min(documents, n))
    example = make(config, special, row, seed)
    made = np.append(example.inputs, example.targets[-1])
    assert len(made) == n
    undone = [undo_infill(text) for text in texts(made, "document", SEPARATOR)]
    whole = [text.tolist() for text in texts(row, "document", SEPARATOR)]
    assert len(undone) <= len(whole)
    assert undone[:-1] == whole[: len(undone) - 1]
    last = whole[len(undone) - 1]
    assert undone[-1] == last[: len(undone[-1])]


@given(n=st.integers(1, 80), seed=st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_denoising_without_noise_is_the_identity(n, seed):
    config, special = both("denoising", noises=())
    row = some_row(n, np.random.default_rng(seed))
    example = make(config, special, row, seed)
    assert example.inputs.tolist() == example.targets.tolist() == [*row, SEPARATOR]


@given(n=st.integers(1, 80), seed=st.integers(0, 2**32), noises=st.permutations(
    ["masking", "deletion", "infilling", "sentence_permutation", "rotation"]),
    k=st.integers(1, 5), ratio=st.floats(0.05, 0.4))  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_noises_in_any_order_only_hide_and_move(n, seed, noises, k, ratio):
    chosen = tuple(noises[:k])
    hides = {"masking", "deletion", "infilling"} & set(chosen)
    config, special = both("denoising", noises=chosen, **({"mask_ratio": ratio} if hides else {}))
    row = distinct(n)
    try:
        example = make(config, special, row, seed)
    except InputError:  # a noise left nothing that the next could hide
        assert n <= 10
        return
    body = example.inputs[:-1]
    assert len(body) <= n
    assert len(np.unique(body[body >= FIRST])) == (body >= FIRST).sum()
    assert set(body) <= {*row.tolist(), special.ids.get("<mask>")}
    assert example.targets.tolist() == [*row, SEPARATOR]


def test_noises_leave_the_separator_of_the_row_in_front():
    for noise in ("infilling", "sentence_permutation", "rotation"):
        config, special = both("denoising", noises=(noise,))
        for seed in range(30):
            example = make(config, special, np.append(SEPARATOR, distinct(40)), seed)
            assert (example.inputs == SEPARATOR).nonzero()[0].tolist() == [
                0,
                len(example.inputs) - 1,
            ]
    config, special = both("denoising")
    assert make(config, special, np.array([SEPARATOR]), 0).inputs.tolist() == [SEPARATOR] * 2


@given(n=st.integers(2, 150), seed=st.integers(0, 2**32), k=st.integers(1, 12),
       longest=st.integers(1, 8))  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_an_order_is_a_permutation_with_the_targets_last(n, seed, k, longest):
    config, special = both("permutation", predict_one_in=k, max_span_length=longest)
    row = some_row(n, np.random.default_rng(seed), documents=n // 10)
    example = make(config, special, row, seed)
    predicted = example.targets != IGNORED
    assert sorted(example.order) == list(range(n))
    assert example.order[predicted].min() > example.order[~predicted].max()
    ranks = context_first(example.order, example.targets)
    assert (ranks[~predicted] == 0).all()
    assert sorted(ranks[predicted]) == list(range(1, predicted.sum() + 1))
    assert predicted.sum() <= min(max(1, n // k), n - 1)


AT_LEAST = {"masked": 1, "replaced_token": 1, "denoising": 1}


@pytest.mark.parametrize("kind", ALL)
def test_a_row_that_is_too_short_is_refused_and_the_shortest_works(kind):
    config, special = both(kind)
    least = AT_LEAST.get(kind, 2)
    assert len(make(config, special, distinct(least), 0).inputs) > 0
    with pytest.raises(InputError, match=f"rows of {least} or more"):
        make(config, special, distinct(least - 1), 0)
    with pytest.raises(InputError, match="a row of 0 tokens"):
        make(config, special, np.array([]), 0)


@pytest.mark.parametrize("kind", ALL)
def test_what_is_not_a_row_of_this_vocabulary_is_refused(kind):
    config, special = both(kind)
    with pytest.raises(InputError, match="token 1000 is outside the vocabulary of 1000"):
        make(config, special, np.array([V - 1, V, 5]), 0)
    with pytest.raises(InputError, match="token -100 is outside"):
        make(config, special, np.array([V - 1, IGNORED, 5]), 0)
    with pytest.raises(InputError, match="whole numbers as tokens, not float64"):
        make(config, special, np.array([V - 1.5, 5, 6]), 0)
    with pytest.raises(InputError, match="one row of tokens"):
        make(config, special, np.full((2, 3), V - 1), 0)


@pytest.mark.parametrize("kind", ["masked", "replaced_token", "permutation"])
def test_a_row_of_special_tokens_is_refused(kind):
    config, special = both(kind)
    with pytest.raises(InputError, match="nothing to predict"):
        make(config, special, np.zeros(5, dtype=np.int64), 0)


def test_more_spans_than_sentinels_are_refused_with_the_number_it_takes():
    config, special = both("span_corruption", n_sentinels=10)
    with pytest.raises(
        InputError, match="26 spans in a row of 512 tokens, but 10 sentinels"
    ) as why:
        make(config, special, distinct(512), 0)
    assert "n_sentinels: 26" in str(why.value)
    with pytest.raises(InputError, match="28 spans in a row of 568 tokens, but 10 sentinels"):
        tokens_per_example(config, 512)  # before the first step
    with pytest.raises(InputError, match="189 spans in a row of 1135 tokens, but 100 sentinels"):
        tokens_per_example(config_of("ul2"), 1024)


@pytest.mark.parametrize("n_prefix", [0, 5, 6, -1])
def test_a_prefix_longer_than_its_row_is_refused(n_prefix):
    with pytest.raises(InputError, match=f"a prefix of {n_prefix} tokens in a row of 5"):
        with_prefix(distinct(5), n_prefix)


@pytest.mark.parametrize("kind", ALL)
def test_a_context_too_short_is_refused(kind):
    least = min(n for n in range(1, 20) if fits(kind, n))
    with pytest.raises(InputError, match="too short"):
        tokens_per_example(config_of(kind), least - 1)


def fits(kind, context):
    try:
        return tokens_per_example(config_of(kind), context) > 0
    except InputError:
        return False


def test_a_pair_needs_another_sample():
    config, special = both("masked", sentence="next")
    make_one = example_of(config, special)
    negative = next(s for s in range(20) if make(config, special, distinct(9), s).sentence_label)
    with pytest.raises(InputError, match="another sample"):
        make_one(distinct(9), np.random.default_rng(negative))


@pytest.mark.parametrize("seed", range(5))
def test_a_row_without_a_document_of_two_tokens_is_paired_whole(seed):
    config, special = both("masked", sentence="order")
    row = np.array([SEPARATOR, FIRST, SEPARATOR, FIRST])
    pair, types, label = paired(row, np.random.default_rng(seed), config, special)
    cls, sep = special.ids["<cls>"], special.ids["<sep>"]
    assert (pair[0], pair[-1]) == (cls, sep)
    first, second = pair[types == 0][1:-1], pair[types == 1][:-1]
    assert min(len(first), len(second)) > 0
    both_parts = np.concatenate([second, first] if label else [first, second])
    assert both_parts.tolist() == row.tolist()


def test_seven_denoisers():
    assert len(DENOISERS) == 7


def test_a_batch_is_filled_on_the_right():
    config, special = both("denoising")
    examples = [make(config, special, distinct(n), n) for n in (5, 9)]
    batch = collate(examples, pad_id=1)
    for line, example in enumerate(examples):
        n, u = len(example.inputs), len(example.targets)
        assert batch["inputs"][line, :n].tolist() == example.inputs.tolist()
        assert (batch["inputs"][line, n:] == 1).all()
        assert batch["padding"][line].tolist() == [True] * n + [False] * (
            batch["inputs"].shape[1] - n
        )
        assert batch["decoder_inputs"][line, :u].tolist() == example.decoder_inputs.tolist()
        assert batch["decoder_padding"][line].sum() == u
        assert (batch["targets"][line, u:] == IGNORED).all()
    assert batch.keys() == {"inputs", "targets", "padding", "decoder_inputs", "decoder_padding"}


def test_a_batch_holds_what_its_examples_have():
    config, special = both("masked", sentence="order")
    batch = collate([make(config, special, distinct(n), n) for n in (6, 9)], pad_id=1)
    assert batch.keys() == {"inputs", "targets", "padding", "token_types", "sentence_labels"}
    assert batch["token_types"].shape == (2, 12)
    config, special = both("permutation")
    batch = collate([make(config, special, distinct(n), n) for n in (6, 9)], pad_id=1)
    assert (np.sort(batch["order"], axis=1) == np.arange(9)).all()
    assert (batch["order"][0, 6:] == [6, 7, 8]).all()
    config, special = both("prefix")
    batch = collate([make(config, special, distinct(n), n) for n in (6, 9)], pad_id=1)
    assert batch["prefix"].shape == (2,)


def test_an_empty_batch_is_refused():
    with pytest.raises(InputError, match="empty batch"):
        collate([], 0)


def test_a_batch_of_one_objective_only():
    row = distinct(5)
    with pytest.raises(ValueError, match="with and without prefix"):
        collate([Example(row, row), Example(row, row, prefix=2)], 0)
