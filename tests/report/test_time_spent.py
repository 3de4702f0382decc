"""Where the time went: the record's figures if there are any, else the lines'."""

from groundup.report.sources import Sources
from groundup.report.time_spent import WIDTH, part_seconds, time_spent

NOTHING = {
    "artifacts": {}, "data": {}, "tokenizer": {}, "tokens": {}, "machine": {}, "plan": {},
    "evaluate": {},
}  # fmt: skip


def sources(run=None, metrics=()):
    return Sources("one", run or {}, list(metrics), [], [], **NOTHING)


def test_a_finished_run_has_its_sentence_and_a_bar_that_is_full():
    seconds = {"data": 1.0, "forward": 30.0, "backward": 60.0, "checkpoint": 9.0}
    found = time_spent(sources({"part_seconds": seconds}))

    assert found["sentence"] == (
        "Of 1 min 40 s, 60% were backward passes, 30% forward passes, 9% saving and 1% reading "
        "and preparing batches."
    )
    assert sum(part.width for part in found["segments"]) == WIDTH
    assert [part.x for part in found["segments"]] == [0, 9, 279, 819]
    assert [part.share for part in found["segments"]] == ["1.0%", "30.0%", "60.0%", "9.0%"]


def test_an_unfinished_run_is_summed_from_its_lines():
    lines = [
        {"step": 1, "tokens": 8, "forward_seconds": 1.5, "backward_seconds": 2.0},
        {"step": 2, "tokens": 16, "forward_seconds": 0.5, "evaluate_seconds": 4.0},
    ]
    assert part_seconds(sources(metrics=lines)) == {
        "forward": 2.0,
        "backward": 2.0,
        "evaluate": 4.0,
    }


def test_a_run_of_before_has_no_such_section():
    assert time_spent(sources(metrics=[{"step": 1, "tokens": 8, "loss": 3.0}])) is None
