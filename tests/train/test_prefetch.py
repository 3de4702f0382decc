"""The batch of the next step, prepared beside this one: no bit of a run depends on it."""

import threading
from dataclasses import replace

import pytest
import torch

from groundup.architecture.families import build
from groundup.data.settings.mixture import MixtureConfig
from groundup.errors import CorruptError
from groundup.tokenizer.config import TokenizerConfig
from groundup.tokenizer.load import load_tokenizer
from groundup.tokenizer.train import train_tokenizer
from groundup.tokens.dataset import TokenDataset
from groundup.tokens.order import samples_at
from groundup.tokens.pack import pack
from groundup.track.run import read_lines, read_run
from groundup.train import prefetch
from groundup.train.batch import Batch, counts_of
from groundup.train.changes import Change, record
from groundup.train.prefetch import Prefetch, Wanted
from groundup.train.pretrain import pretrain
from tests.tokens.corpora import written_corpus
from tests.train.small import MODEL, SETTINGS, Tokens, job
from tests.train.test_recovery import bad_batches, events

HERE = threading.main_thread().name


def wanted(cursor):
    return Wanted(seed=1, cursor=cursor, batch_size=4, context_length=8, sequence_length=8)


class Made:
    """Stands for what makes batches: all inputs are the cursor; remembers who asked for what."""

    def __init__(self, *, wrong=()):
        self.calls, self.wrong = [], wrong

    def __call__(self, asked):
        self.calls.append((asked.cursor, threading.current_thread().name))
        if asked.cursor in self.wrong:
            raise CorruptError(f"sample {asked.cursor} is damaged")
        batch = Batch(*torch.full((2, 4, 8), asked.cursor))
        return batch, counts_of(batch)


def waiting_for(go, make):
    """``make``, which in the thread waits for ``go`` first: a disk that is slow, or hangs."""

    def slowly(asked):
        if threading.current_thread().name == "prefetch":
            go.wait()
        return make(asked)

    return slowly


def test_a_right_guess_is_made_beside_the_step_and_a_wrong_one_thrown_away():
    make = Made()
    ahead = Prefetch(make)
    cursors = [(0, 4), (4, 8), (12, 16), (16, None)]  # the batch at 8 was left out
    found = [
        ahead.get(wanted(now), None if then is None else wanted(then))[0] for now, then in cursors
    ]
    assert [int(batch.inputs[0, 0]) for batch in found] == [0, 4, 12, 16]
    assert make.calls == [
        (0, HERE), (4, "prefetch"), (8, "prefetch"), (12, HERE), (16, "prefetch"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "other",
    [{"seed": 2}, {"cursor": 5}, {"batch_size": 8}, {"context_length": 16}, {"sequence_length": 4},
     {"mixtures": ((0, (("a", 1.0),)),)}],
)  # fmt: skip
def test_every_argument_counts(other):
    make = Made()
    ahead = Prefetch(make)
    ahead.get(wanted(0), wanted(4))
    ahead.get(replace(wanted(4), **other))
    assert [name for _, name in make.calls] == [HERE, "prefetch", HERE]


def test_an_error_waits_for_the_step_that_needs_the_batch():
    ahead = Prefetch(Made(wrong=[4]))
    ahead.get(wanted(0), wanted(4))
    with pytest.raises(CorruptError, match="sample 4 is damaged") as caught:
        ahead.get(wanted(4), wanted(8))
    assert caught.traceback[-1].name == "__call__"  # it was met here, not brought from the thread
    ahead.get(wanted(0), wanted(4))
    assert int(ahead.get(wanted(8))[0].inputs[0, 0]) == 8  # nobody needed the damaged one
    ahead.close()


def test_nothing_is_left_when_it_is_closed():
    before, go, make = threading.active_count(), threading.Event(), Made()

    ahead = Prefetch(waiting_for(go, make))
    ahead.get(wanted(0), wanted(4))
    assert all(t.daemon for t in threading.enumerate() if t.name == "prefetch")
    threading.Timer(0.05, go.set).start()
    ahead.close()
    assert make.calls[-1] == (4, "prefetch")
    assert all(t.name != "prefetch" for t in threading.enumerate())
    ahead.get(wanted(0), wanted(4))
    ahead.get(wanted(4))
    ahead.close()
    assert threading.active_count() <= before + 1  # the timer's


def test_a_disk_that_hangs_does_not_hold_the_end_up(monkeypatch):
    monkeypatch.setattr(prefetch, "CLOSING_SECONDS", 0.01)
    go, make = threading.Event(), Made()

    ahead = Prefetch(waiting_for(go, make))
    ahead.get(wanted(0), wanted(4))
    ahead.close()
    assert make.calls == [(0, HERE)]
    go.set()


def inline(monkeypatch):
    """As if there was no prefetch: every batch is made when it is asked for."""
    monkeypatch.setattr(Prefetch, "get", lambda self, asked, following=None: self._made(asked))


@pytest.fixture
def mixed(tmp_path):
    texts = [("one", "abcd" * 9), ("two", "zyxw" * 9)]
    (tmp_path / "tokenizer").mkdir()
    train_tokenizer(
        [each for _, each in texts], TokenizerConfig(vocab_size=260), tmp_path / "tokenizer"
    )
    tokenizer = load_tokenizer(tmp_path / "tokenizer")
    held_out = [("one", "a fox")]
    splits = {"train": texts * 40, "validation": held_out, "test": held_out}
    corpus = written_corpus(tmp_path / "corpus", splits)
    weights = MixtureConfig(weights={"one": 1, "two": 1})
    pack(corpus, tokenizer, tmp_path / "tokens", weights, "best_fit")
    return TokenDataset(tmp_path / "tokens", "train")


def test_a_run_with_ramps_a_skip_and_changes_has_the_same_bits(tmp_path, monkeypatch, mixed):
    changes = [
        Change(at=9, mixture={"one": 3, "two": 1}),
        Change(at=12, batch_size=6, micro_batch_size=3),
    ]
    settings = replace(
        SETTINGS,
        steps=16,
        batch_size=8,
        batch_size_ramp={"start": 4, "steps": 4},
        sequence_length_ramp={"start": 4, "steps": 6},
        guard={**SETTINGS.guard, "window": 16, "armed_after": 8},
        changes=[record(change) for change in changes],
    )
    model = build("gpt2", vocab_size=mixed.vocab_size, n_layers=1, d_model=16, context_length=16)
    first = 4 * 4 + 6 * 8  # samples before the batch of step 10
    bad_batches(monkeypatch, {first})
    make, names = Prefetch._made, []

    def made(self, asked):
        names.append(threading.current_thread().name)
        return make(self, asked)

    monkeypatch.setattr(Prefetch, "_made", made)
    pretrain(tmp_path / "ahead", mixed, job(settings, model))
    made_ahead = names.count("prefetch")
    inline(monkeypatch)
    pretrain(tmp_path / "plain", mixed, job(settings, model))
    assert names.count("prefetch") == made_ahead  # none in the second run
    # Made beside a step: all but that of the last step's follower; thrown away: at the mixture and
    # the batch size, which nobody guesses.
    assert made_ahead == 15 + 1
    assert names[: names.index("prefetch")] == [HERE]
    one, other = (read_run(tmp_path / name) for name in ("ahead", "plain"))
    assert one["final_hash"] == other["final_hash"]
    assert one["samples"] == other["samples"] > first
    for name in ("ahead", "plain"):
        assert [e["samples"] for e in events(tmp_path / name, "skipped")] == [8]
        assert [e["step"] for e in events(tmp_path / name, "changed")] == [9, 12]


class Damaged(Tokens):
    """The windows of one step cannot be read."""

    def __init__(self, number):
        super().__init__()
        self.number, self.asked = number, []

    def windows(self, numbers, context_length):
        if self.number in numbers:
            self.asked.append(threading.current_thread().name)
            raise CorruptError("the tokens cannot be read", where="train.bin")
        return TokenDataset.windows(self, numbers, context_length)


def test_a_damaged_file_ends_the_run_at_the_step_that_reads_it(tmp_path, monkeypatch):
    fifth = int(samples_at(SETTINGS.seed, 5 * 4, 1, Tokens().n_windows(16))[0])
    steps = {}
    for name in ("ahead", "plain"):
        tokens = Damaged(fifth)
        with pytest.raises(CorruptError, match="the tokens cannot be read"):
            pretrain(tmp_path / name, tokens, job(model=MODEL))
        steps[name] = [line["step"] for line in read_lines(tmp_path / name / "metrics.jsonl")]
        assert tokens.asked == (["prefetch", HERE] if name == "ahead" else [HERE])
        inline(monkeypatch)
    assert steps["ahead"] == steps["plain"] == [1, 2, 3, 4, 5]
    assert all(thread.name != "prefetch" for thread in threading.enumerate())
