"""Every range of samples is learnt once, whoever comes, dies or is late."""

import json
import random

from groundup.train.asynchronous.ledger import Ledger, Range


def test_ranges_follow_each_other_and_what_came_back_goes_first() -> None:
    ledger = Ledger()
    first, _ = ledger.hand_out("a", 4, 0, 10.0)
    second, lease = ledger.hand_out("b", 4, 0, 10.0)
    assert lease.range == Range(4, 4)
    assert [ledger.worker_of(number) for number in (first, second, 99)] == ["a", "b", None]
    assert ledger.leave("a") == [Range(0, 4)]
    assert ledger.settle(first) is None  # its worker is gone
    _, again = ledger.hand_out("b", 4, 1, 10.0)
    assert again.range == Range(0, 4)
    assert ledger.settle(second) == lease
    assert ledger.settle(second) is None  # once only


def test_a_lease_that_lapsed_may_still_be_the_first() -> None:
    ledger = Ledger()
    slow, _ = ledger.hand_out("slow", 4, 0, 10.0)
    assert [each.worker for each in ledger.lapse(10.5)] == ["slow"]
    assert ledger.worker_of(slow) == "slow"
    assert ledger.settle(slow) is not None  # nobody has taken its range yet
    assert ledger.returned == []

    slow, _ = ledger.hand_out("slow", 4, 0, 10.0)
    ledger.lapse(11.0)
    other, taken = ledger.hand_out("other", 4, 1, 20.0)
    assert taken.range == Range(4, 4)
    assert ledger.settle(slow) is not None  # the other is slower still
    assert ledger.settle(other) is None


def test_a_pause_of_the_server_ends_no_lease() -> None:
    ledger = Ledger()
    ledger.hand_out("a", 4, 0, 10.0)
    ledger.extend(60.0)
    assert ledger.lapse(69.0) == []
    assert len(ledger.lapse(71.0)) == 1


def test_no_lease_survives_a_rewind() -> None:
    ledger = Ledger()
    numbers = [ledger.hand_out("a", 4, 0, until)[0] for until in (5.0, 10.0)]
    ledger.lapse(7.0)
    ledger.recall()
    assert [ledger.settle(number) for number in numbers] == [None, None]
    assert ledger.returned == [Range(0, 4), Range(4, 4)]


def test_a_checkpoint_holds_what_is_open() -> None:
    ledger = Ledger()
    numbers = [ledger.hand_out("a", 4, 0, 10.0)[0] for _ in range(3)]
    ledger.settle(numbers[1])
    record = json.loads(json.dumps(ledger.to_dict()))
    assert record == {"next": 12, "open": [[0, 4], [8, 4]]}
    taken_up = Ledger.from_dict(record)
    cursors = [taken_up.hand_out("b", 4, 0, 0.0)[1].range.cursor for _ in range(3)]
    assert cursors == [0, 8, 12]


def test_whatever_happens_each_sample_is_settled_once() -> None:
    for seed in range(20):
        draw, ledger, now = random.Random(seed), Ledger(), 0.0
        held: list[int] = []
        learnt: list[int] = []
        for _ in range(400):
            now += draw.random()
            action = draw.choice(["fetch", "fetch", "push", "push", "leave", "lapse", "resume"])
            if action == "fetch":
                number, _ = ledger.hand_out(draw.choice("abc"), 1, 0, now + 3 * draw.random())
                held.append(number)
            elif action == "push" and held:
                lease = ledger.settle(held.pop(draw.randrange(len(held))))
                if lease is not None:
                    learnt.append(lease.range.cursor)
            elif action == "leave":
                ledger.leave(draw.choice("abc"))
            elif action == "lapse":
                ledger.lapse(now)
            elif action == "resume" and draw.random() < 0.1:
                ledger, held = Ledger.from_dict(ledger.to_dict()), []
        open_ranges = [cursor for cursor, _ in ledger.to_dict()["open"]]
        assert sorted([*learnt, *open_ranges]) == list(range(ledger.next))
