import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.artifacts import is_sealed
from groundup.track.run import (
    Bystander,
    Run,
    checkpoint_name,
    checkpoints,
    read_lines,
    read_run,
    rewind,
)
from groundup.track.verify import verify


def run_of(folder, n_steps=5, **record):
    run = Run(folder, {"name": "r", **record})
    for step in range(1, n_steps + 1):
        run.log(step, {"loss": 1 / step})
        run.event(step, "checkpoint")
    return run


def steps(folder, name="metrics.jsonl"):
    return [line["step"] for line in read_lines(folder / name)]


def test_each_line_is_on_the_disk_when_it_is_logged(tmp_path):
    run = run_of(tmp_path / "run")  # not closed
    assert steps(run.folder) == steps(run.folder, "events.jsonl") == [1, 2, 3, 4, 5]
    assert read_run(run.folder)["status"] == "running"
    run.finish("finished", final_hash="ab")
    record = read_run(run.folder)
    assert (record["status"], record["final_hash"]) == ("finished", "ab")
    assert is_sealed(json.loads((run.folder / "run.json").read_text()))


@settings(max_examples=30)
@given(cut=st.integers(0, 200))
def test_a_log_torn_anywhere_gives_its_whole_lines(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("torn") / "run"
    run_of(folder).finish("finished")
    path = folder / "metrics.jsonl"
    whole = path.read_bytes()
    torn = whole[: max(0, len(whole) - cut)]
    path.write_bytes(torn)
    # A last line that lacks only its line feed is whole.
    n_whole = sum(torn.startswith(whole[: end - 1]) for end in ends(whole))
    assert steps(folder) == list(range(1, n_whole + 1))
    rewind(folder, 3)
    run = Run(folder, {})
    run.log(4, {"loss": 0.25})
    run.finish("finished")
    assert steps(folder) == [*range(1, min(3, n_whole) + 1), 4]


def ends(text):
    return [place + 1 for place, byte in enumerate(text) if byte == ord("\n")]


@pytest.mark.parametrize("line", [b'{"stap": 3}', b'{"step": "3"}', b"[3]", b"\xff\xfe", b""])
def test_a_damaged_line_of_a_log_is_skipped(tmp_path, line):
    run_of(tmp_path, 3).finish("finished")
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(line + b"\n" + path.read_bytes())
    assert steps(tmp_path) == [1, 2, 3]
    rewind(tmp_path, 2)
    assert steps(tmp_path) == [1, 2]


def test_after_a_rewind_and_going_on_each_step_is_there_once(tmp_path):
    run_of(tmp_path).finish("interrupted")
    for done in (3, 1):
        rewind(tmp_path, done)
        run = Run(tmp_path, {})
        for step in range(done + 1, 6):
            run.log(step, {"loss": 0.0})
        run.finish("finished")
    assert steps(tmp_path) == [1, 2, 3, 4, 5]
    assert steps(tmp_path, "events.jsonl") == [1]


def test_every_bit_of_a_number_comes_back(tmp_path):
    values = [math.pi, 5e-324, 1e308, math.nextafter(1, 2)]
    run = Run(tmp_path, {})
    for value in values:
        run.log(1, {"loss": value})
    run.finish("finished")
    assert [line["loss"] for line in read_lines(tmp_path / "metrics.jsonl")] == values


def test_a_run_taken_up_again_keeps_its_start_and_drops_what_its_end_said(tmp_path):
    Run(tmp_path, {"started_at": "2020-01-01T00:00:00+00:00"}).finish(
        "failed", error="loss nan", final_hash="old", measured={"loss": 1}
    )
    run = Run(tmp_path, {"name": "again"})
    record = read_run(tmp_path)
    assert (record["started_at"], record["status"]) == ("2020-01-01T00:00:00+00:00", "running")
    assert not {"error", "final_hash", "measured", "finished_at"} & record.keys()
    run.finish("finished", final_hash="new")


@pytest.mark.parametrize(
    "text", ["", "{", '{"status": "finished"}', "[1]", '{"a": NaN}', "\x00" * 40]
)
def test_a_damaged_record_is_named_and_not_believed(tmp_path, capsys, text):
    run_of(tmp_path).finish("finished")
    (tmp_path / "run.json").write_text(text)
    assert read_run(tmp_path) is None
    assert "is not as it was written" in capsys.readouterr().err
    assert verify(tmp_path)[1]
    run_of(tmp_path).finish("finished")
    assert read_run(tmp_path)["status"] == "finished"


@settings(max_examples=40)
@given(position=st.integers(0), bit=st.integers(0, 7))
def test_any_flipped_bit_of_a_record_is_noticed(tmp_path_factory, position, bit):
    folder = tmp_path_factory.mktemp("flip")
    run_of(folder, config={"model": {"d_model": 32}, "lr": 1e-05}).finish("finished")
    path, before = folder / "run.json", read_run(folder)
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= 1 << bit
    path.write_bytes(data)
    assert read_run(folder) in (None, before)  # or only white space changed


def test_no_record_is_no_run(tmp_path):
    assert read_run(tmp_path) is None
    assert list(read_lines(tmp_path / "metrics.jsonl")) == []
    rewind(tmp_path, 3)
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=30)
@given(st.lists(st.integers(0, 10**8 - 1), unique=True, max_size=8))
def test_checkpoints_are_listed_by_step(tmp_path_factory, numbers):
    folder = tmp_path_factory.mktemp("list")
    for number in numbers:
        (folder / checkpoint_name(number)).mkdir()
    (folder / ".groundup-tmp-step-00000001").mkdir()
    (folder / "step-notes.txt").write_text("not a folder")
    assert [int(path.name[5:]) for path in checkpoints(folder)] == sorted(numbers)


def logged(folder):
    return [[line["step"] for line in read_lines(folder / f"{name}.jsonl")]
            for name in ("metrics", "events", "abandoned")]  # fmt: skip


def test_abandoned_steps_move_with_their_losses_and_the_number_of_the_rewind(tmp_path):
    run = run_of(tmp_path, 5)
    assert run.abandon(2, 1) == 3
    for step in (3, 4):
        run.log(step, {"loss": 9.0})
    assert run.abandon(3, 2) == run.n_abandoned == 4
    run.log(4, {"loss": 8.0})
    run.finish("finished")
    assert [line["loss"] for line in read_lines(tmp_path / "metrics.jsonl")] == [1, 0.5, 9.0, 8.0]
    assert list(read_lines(tmp_path / "abandoned.jsonl")) == [
        {"rewind": 1, "step": 3, "loss": 1 / 3},
        {"rewind": 1, "step": 4, "loss": 1 / 4},
        {"rewind": 1, "step": 5, "loss": 1 / 5},
        {"rewind": 2, "step": 4, "loss": 9.0},
    ]


def test_a_rewind_that_leaves_nothing_behind_makes_no_file(tmp_path):
    run = run_of(tmp_path, 3)
    assert run.abandon(3, 1) == 0
    assert steps(tmp_path) == [1, 2, 3]


@pytest.mark.parametrize("dies_in", ["append", "flush", "cut"])
def test_a_crash_inside_a_rewind_leaves_what_going_on_can_cut(tmp_path, monkeypatch, dies_in):
    from groundup.track import lines

    class Killed(BaseException):
        pass

    def dies(*_):
        raise Killed

    run = run_of(tmp_path, 3)
    at_checkpoint = (run.n_events, run.abandon(3, 1))
    for step in (4, 5):
        run.log(step, {"loss": 1.0})
        run.event(step, "sample")
    monkeypatch.setattr(lines.Lines, dies_in, dies)
    with pytest.raises(Killed):
        run.abandon(3, 1)
    monkeypatch.undo()
    rewind(tmp_path, 3, *at_checkpoint)
    assert logged(tmp_path) == [[1, 2, 3], [1, 2, 3], []]


def test_a_later_crash_keeps_the_abandoned_lines_of_before_its_checkpoint(tmp_path):
    run = run_of(tmp_path, 4)
    run.abandon(2, 1)
    run.event(2, "rewound")
    run.log(3, {"loss": 1.0})
    at_checkpoint = (run.n_events, run.n_abandoned)  # at step 3
    run.log(4, {"loss": 1.0})
    run.event(4, "alarm")
    run.abandon(3, 2)
    run.close()
    rewind(tmp_path, 3, *at_checkpoint)
    assert logged(tmp_path) == [[1, 2, 3], [1, 2, 3, 4, 2], [3, 4]]
    again = Run(tmp_path, {})
    assert (again.n_events, again.n_abandoned) == at_checkpoint
    again.close()


def test_a_checkpoint_that_counted_no_lines_cuts_all_logs_by_step(tmp_path):
    run = run_of(tmp_path, 4)
    run.abandon(2, 1)
    run.close()
    rewind(tmp_path, 3)
    assert logged(tmp_path) == [[1, 2], [1, 2, 3], [3]]


def test_events_are_counted(tmp_path):
    assert run_of(tmp_path, 5).n_events == 5
    assert Run(tmp_path, {}).n_events == 5


def test_the_other_ranks_have_the_same_methods_and_write_nothing(tmp_path):
    methods = {name for name in vars(Run) if not name.startswith("_")}
    assert methods == {name for name in vars(Bystander) if not name.startswith("_")}
    run = Bystander(tmp_path / "run", {"name": "r"})
    run.log(1, {"loss": 1.0})
    run.event(1, "sample", text="a")
    assert run.abandon(0, 1) == run.n_abandoned == run.n_events == 0
    run.flush()
    run.finish("finished", final_hash="ab")
    assert run.record == {"name": "r", "status": "finished", "final_hash": "ab"}
    assert not (tmp_path / "run").exists()
