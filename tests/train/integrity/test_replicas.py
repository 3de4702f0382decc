"""Replicas in real processes: the damaged one is named, or the tie is called a tie."""

import socket

import pytest

from groundup.train.integrity.finding import Finding
from groundup.train.integrity.replicas import outvoted, settled
from groundup.train.integrity.shared import MESSAGE_BYTES, message, read
from tests.train.distributed.world import worlds

HERE = "tests.train.integrity.damage"
HOST = socket.gethostname()
WEIGHT = ("model", "blocks.0.attention.q.weight")


def layout(replicate, shard=1):
    return {"dp_replicate": replicate, "dp_shard": shard}


def found(check, kind, tensor, *ranks):
    return {
        "check": check, "kind": kind, "tensor": tensor, "ranks": list(ranks),
        "hosts": [HOST] * len(ranks),
    }  # fmt: skip


STATE = ("optimizer", "embed.weight/exp_avg_sq")
WORLDS = {
    "weight of 3": (3, f"{HERE}:replicas", [layout(3), 1, WEIGHT, 30]),  # a bit of the exponent
    "state of 3": (3, f"{HERE}:replicas", [layout(3), 1, STATE, 0]),  # the last of the mantissa
    "weight of 2": (2, f"{HERE}:replicas", [layout(2), 1, WEIGHT, 31]),
    "summed of 2": (2, f"{HERE}:summed", [layout(2), 1, WEIGHT, 31]),
    "shards": (4, f"{HERE}:replicas", [layout(2, 2), 3, WEIGHT, 12]),
    "arithmetic": (2, f"{HERE}:wrong_arithmetic", [layout(2), 1]),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    given = worlds(list(WORLDS.values()), tmp_path_factory.mktemp("worlds"))
    return dict(zip(WORLDS, given, strict=True))


@pytest.mark.parametrize(
    ("world", "kind", "tensor", "ranks"),
    [
        ("weight of 3", "weight", WEIGHT, [1]),
        ("state of 3", "optimizer state", STATE, [1]),
        ("weight of 2", "weight", WEIGHT, [0, 1]),  # one of them: a tie
        # torch numbers ranks replica by replica: rank 3 has the last shard of the last replica.
        ("shards", "weight", WEIGHT, [1, 3]),
    ],
)
def test_the_damaged_replica_is_named_on_every_rank(answers, world, kind, tensor, ranks):
    for answer in answers[world]:
        assert answer["seen"] == [[], [], [found("replicas", kind, tensor[1], *ranks)]]


def test_a_checksum_says_which_of_two_replicas_it_is(answers):
    for answer in answers["summed of 2"]:
        assert answer == {
            "by_sum": [found("checksum", "weight", WEIGHT[1], 1)],
            "by_comparison": [found("replicas", "weight", WEIGHT[1], 1)],
        }


def test_gradients_that_one_rank_computed_wrongly_are_noticed_by_all(answers):
    (first,) = answers["arithmetic"][0]["seen"][2]
    assert (first["check"], first["kind"], first["ranks"]) == ("replay", "gradient", [0, 1])
    for answer in answers["arithmetic"]:
        assert answer["seen"] == [[], [], [first], []]


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ("aaa", []),
        ("aba", [(1,)]),
        ("abc", [(0, 1, 2)]),
        ("ab", [(0, 1)]),
        ("aabb", [(0, 1, 2, 3)]),
        ("abcaa", [(1,), (2,)]),
    ],
)
def test_more_than_half_is_right_and_less_is_a_tie(votes, expected):
    assert outvoted({rank: vote.encode() for rank, vote in enumerate(votes)}) == expected


def test_a_tie_is_settled_only_by_a_checksum_of_that_tensor_on_one_of_its_ranks():
    tie = Finding("replicas", "weight", "w", (0, 2), ("a", "c"))

    def named(tensor, rank):
        return Finding("checksum", "weight", tensor, (rank,), ("c",))

    assert settled([tie], []) == [tie]
    assert settled([tie], [named("v", 2), named("w", 1)]) == [tie]
    assert settled([tie], [named("w", 2)]) == [Finding("replicas", "weight", "w", (2,), ("c",))]


def test_a_message_holds_as_many_findings_as_fit_and_they_come_back():
    many = [Finding("checksum", "weight", f"{n} ü" * 20, (n,), ("host",)) for n in range(100)]
    text = message(many)
    assert len(text) <= MESSAGE_BYTES
    assert read(text) == many[: len(read(text))]
    assert 5 < len(read(text)) < 100
