"""The search for a micro-batch with made-up machines, and one real child."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from groundup.errors import BudgetError, GroundupError, UserError
from groundup.train.find import batch_size
from groundup.train.find.batch_size import Child, Trial, fastest_of, find_batch_size, search, words
from tests.train.small import MODEL, SETTINGS

BASE, A_ROW = 1000, 70  # bytes


def never():
    return False


def machine(limit, *, overhead=3.0, asked=None):
    """Sizes that need `BASE` + `A_ROW` · rows bytes; a step takes ``overhead`` + rows seconds."""

    def attempt(rows):
        if asked is not None:
            asked.append(rows)
        peak = BASE + A_ROW * rows
        if peak > limit:
            return Trial(rows, False)
        return Trial(rows, True, rows / (overhead + rows), rows, peak)

    return attempt


def found(limit, *, batch=64, most=4096, known=False, stop=never, asked=None, overhead=3.0):
    return search(
        machine(limit, asked=asked, overhead=overhead), batch, most, limit if known else None,
        seen=lambda trial: None, stop=stop,
    )  # fmt: skip


@pytest.mark.parametrize("largest", [1, 2, 3, 7, 8, 20, 100, 1000])
@pytest.mark.parametrize("known", [False, True])
def test_the_largest_that_fits_is_found_to_an_eighth(largest: int, known: bool) -> None:
    asked: list[int] = []
    trials = found(BASE + A_ROW * largest, known=known, asked=asked)
    fits = [trial.rows for trial in trials if trial.fits]
    assert largest * 8 / 9 - 1 <= fits[-1] <= largest
    assert len(trials) <= 2 + 11 + 4 + 3  # doublings, bisections, divisors of 64 near the fastest
    assert [trial.rows for trial in trials] == sorted({trial.rows for trial in trials})
    if known and largest > 1:  # two are known before anything is too much
        assert max(asked) <= largest
        assert all(trial.tried == trial.fits for trial in trials)
        assert all(
            trial.peak_memory_bytes == BASE + A_ROW * trial.rows for trial in trials
        )  # the line is the machine's own


def test_no_size_above_the_most_is_tried() -> None:
    trials = found(10**9, most=24)
    assert [trial.rows for trial in trials if trial.rows > 8] == [16, 24]
    assert all(trial.fits for trial in trials)


def test_divisors_of_the_batch_near_the_fastest_are_tried_too() -> None:
    trials = found(BASE + A_ROW * 40, batch=60)
    tried = {trial.rows for trial in trials}
    assert {20, 30} <= tried  # no powers of two
    best = fastest_of(trials, 60)
    assert best is not None
    assert best.rows == 30


def test_of_sizes_that_are_level_the_smaller_is_taken() -> None:
    rates = {1: 50.0, 2: 98.5, 4: 100.0, 8: 99.0}
    trials = [Trial(rows, True, rate, rows, 1) for rows, rate in rates.items()]
    assert fastest_of(trials) == trials[1]
    assert fastest_of([*trials, Trial(16, False)], divide=3) == trials[0]
    assert fastest_of([Trial(1, False)]) is None


def test_a_stop_keeps_the_sizes_so_far() -> None:
    asked = iter([False, False, False, *[True] * 99])
    trials = found(10**9, stop=lambda: next(asked))
    assert [trial.rows for trial in trials] == [1, 2, 4]


def test_words_name_what_is_known() -> None:
    assert words(Trial(4, True, 1234.5, 16, 9)) == "4 rows: 1,234 tokens/s"
    assert words(Trial(4, False)) == "4 rows: does not fit"
    assert words(Trial(8, False, peak_memory_bytes=2**30, tried=False)) == (
        "8 rows: does not fit, 1 GiB"
    )


def job(**changed):
    return {"model": MODEL.to_dict(), "settings": SETTINGS.to_dict(), "limit_bytes": 2**40,
            **changed}  # fmt: skip


def test_a_real_child_takes_real_steps() -> None:
    seen: list[Trial] = []
    trials = find_batch_size(job(), 8, seen=seen.append, stop=never)
    assert [trial.rows for trial in trials] == [1, 2, 4, 8]
    assert sorted(seen, key=lambda trial: trial.rows) == trials
    assert [trial.batch_rows for trial in trials] == [4, 4, 4, 8]  # 8 rows are a batch of their own
    for trial in trials:
        assert trial.fits
        assert trial.tokens_per_second is not None
        assert trial.tokens_per_second > 0
        assert trial.peak_memory_bytes is not None
        assert 2**26 < trial.peak_memory_bytes < 2**34  # a process with torch, and a tiny model


def stand_in(monkeypatch, program):
    """A child that runs ``program`` in the place of ours; how often it was started."""
    started = []

    def popen(arguments, **options):
        started.append(arguments)
        return REAL([sys.executable, "-c", program], **options)

    monkeypatch.setattr(batch_size.subprocess, "Popen", popen)
    return started


REAL = subprocess.Popen


def test_a_child_that_the_system_kills_says_that_its_size_does_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = (
        "import json, os, sys\n"
        "sys.stdin.readline()\n"
        "for line in sys.stdin:\n"
        "    if int(line) > 5: os.kill(os.getpid(), 9)\n"
        "    trial = dict(rows=int(line), fits=True, tokens_per_second=1.0 * int(line))\n"
        "    print(json.dumps(trial), flush=True)\n"
    )
    started = stand_in(monkeypatch, program)
    settings = replace(SETTINGS, batch_size=16).to_dict()
    trials = find_batch_size(
        job(limit_bytes=None, settings=settings), 64, seen=lambda trial: None, stop=never
    )
    assert {trial.rows: trial.fits for trial in trials} == {
        1: True, 2: True, 4: True, 5: True, 6: False, 8: False,
    }  # fmt: skip
    assert len(started) == 3  # a new one after each that was killed


def test_what_else_goes_wrong_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "import sys; sys.stdin.readline(); sys.exit(3)")
    with pytest.raises(GroundupError, match="of 1 rows failed: exit code 3"):
        find_batch_size(job(), 8, seen=lambda trial: None, stop=never)
    answer = '{"error": "no room", "where": null, "fix": "less", "code": 2}'
    stand_in(monkeypatch, f"import sys; sys.stdin.readline(); print('{answer}')")
    with pytest.raises(UserError, match="no room"):
        find_batch_size(job(), 8, seen=lambda trial: None, stop=never)
    stand_in(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    child = Child(job())
    assert child.attempt(1) == Trial(1, False)
    with pytest.raises(BudgetError, match="a single row does not fit in 90% of this machine"):
        find_batch_size(job(), 8, seen=lambda trial: None, stop=never)
