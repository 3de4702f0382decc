from __future__ import annotations

import pytest

from groundup.decide.ceiling import Ceiling, ceilings, paired_interval
from groundup.decide.examples import Prompt
from groundup.decide.trial import Mark, Outcome
from groundup.decide.trial_candidates import TrialCandidate
from groundup.decide.trial_journal import Answer
from groundup.decide.trial_plan import Try
from groundup.intervals import Z

ANSWER = Answer("k", "Paris", "", "stop", 1, 1, 0.1, 1, None)
RIGHT = Mark(ANSWER, True, cut_off=False, empty=False, spoilt=False, usd=None)
WRONG = Mark(ANSWER, False, cut_off=False, empty=False, spoilt=False, usd=None)
EMPTY = Mark(ANSWER, False, cut_off=True, empty=True, spoilt=True, usd=None)


def verdict_on(*tries: list[Mark | None]) -> Ceiling:
    candidate = TrialCandidate(name="m", model="m")
    (found,) = ceilings(
        [Outcome(Try(candidate, Prompt(f"P{n}", ""), 0), marks) for n, marks in enumerate(tries)]
    )
    return found


def right(count: int, n: int) -> list[Mark | None]:
    """The first ``count`` of ``n`` are right."""
    return [RIGHT] * count + [WRONG] * (n - count)


@pytest.mark.parametrize(
    ("gained", "lost", "n", "low", "high"),
    [
        # complete response before and after therapy (Cavo et al. 2012), as the tests of the R
        # package contingencytables (Fagerland, Lydersen, Laake) print it
        (6, 16, 161, -0.1240, -0.0054),
        # airway hyper-responsiveness (Bentur et al. 2009), same authors, from memory
        (1, 7, 21, -0.517, -0.026),
    ],
)
def test_the_paired_interval_is_tangos(
    gained: int, lost: int, n: int, low: float, high: float
) -> None:
    assert paired_interval(gained, lost, n) == pytest.approx((low, high), abs=5e-4)
    assert paired_interval(lost, gained, n) == pytest.approx((-high, -low), abs=5e-4)


@pytest.mark.parametrize("n", [1, 10, 100, 1000])
def test_no_discordant_pair_leaves_a_width(n: int) -> None:
    # closed form: n d² = z² (d - d²)
    assert paired_interval(0, 0, n)[1] == pytest.approx(Z**2 / (n + Z**2))
    assert paired_interval(n, 0, n)[1] == pytest.approx(1)


@pytest.mark.parametrize("quality", range(11))
def test_ten_items_never_show_a_ceiling(quality: int) -> None:
    found = verdict_on(*[right(quality, 10)] * 4)
    assert found.verdict != "flattened"
    assert "fine-tuning" not in found.text


def test_prompting_that_stopped_helping_has_flattened() -> None:
    found = verdict_on(right(100, 300), right(200, 300), right(200, 300), right(199, 300))
    assert found.verdict == "flattened"
    assert found.gain == 0
    assert found.gain_interval == pytest.approx((-0.0126, 0.0126), abs=1e-4)
    assert found.best.quality == pytest.approx(2 / 3)
    assert found.best.prompt == "P1"


def test_prompting_that_still_helps_goes_on() -> None:
    found = verdict_on(right(10, 60), right(20, 60), right(30, 60), right(45, 60))
    assert found.verdict == "still rising"
    assert found.gain == pytest.approx(25 / 60)


def test_too_few_items_leave_it_open_and_say_how_many_would_do() -> None:
    found = verdict_on(*[right(12, 30)] * 3)
    assert found.verdict == "open"
    # z²/(n + z²) is below 2 % from 189 items on
    assert found.items_needed == 189
    assert "about 189 would" in found.text
    assert verdict_on(*[right(80, 189)] * 3).verdict == "flattened"
    found = verdict_on(right(10, 30), right(10, 30), right(12, 30))
    assert found.verdict == "open"
    assert found.items_needed is not None
    more = found.items_needed / 30
    again = verdict_on(*(right(round(k * more), round(30 * more)) for k in (10, 10, 12)))
    assert again.verdict == "still rising"
    assert "2 tries say nothing" in verdict_on(right(10, 30), right(11, 30)).text
    assert "1 try says nothing" in verdict_on(right(10, 30)).text


def test_where_everything_is_right_nothing_is_left_to_gain() -> None:
    found = verdict_on(*[right(300, 300)] * 4)
    assert found.verdict == "at the top"
    assert "nothing is left to gain" in found.text
    assert "fine-tuning" not in found.text


def test_where_nothing_is_right_the_replies_are_to_be_looked_at() -> None:
    found = verdict_on(*[right(0, 300)] * 4)
    assert found.verdict == "no verdict"
    assert "look at the replies" in found.text


def test_spoilt_or_missing_answers_allow_no_verdict() -> None:
    good = right(200, 300)
    found = verdict_on(good, good, good, [EMPTY] * 10 + good[10:])
    assert found.verdict == "no verdict"
    assert "10 of 300 answers to P3, 0 shots are empty or cut off" in found.text
    assert "--max-tokens" in found.text
    found = verdict_on(good, good, good, [None] * 10 + good[10:])
    assert found.verdict == "no verdict"
    assert "10 of 300 items have no answer" in found.text
    # a few do no harm
    assert verdict_on(good, good, good, [EMPTY, None, *good[2:]]).verdict == "flattened"
    assert verdict_on(*[[EMPTY] * 300] * 3).verdict == "no verdict"
