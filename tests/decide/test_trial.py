"""The trial against a real HTTP server: what is asked, kept and counted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from groundup.decide.examples import Prompt
from groundup.decide.trial import read_outcomes, run_trial
from groundup.decide.trial_asking import ask_all, dollars
from groundup.decide.trial_candidates import TrialCandidate
from groundup.decide.trial_journal import ANSWERS
from groundup.decide.trial_plan import Settings, plan_trial
from groundup.decide.trial_rows import refusals, rows
from groundup.errors import BudgetError, ConfigError, InputError, LockedError
from groundup.files import lock
from tests.decide.asking import ALONE, ITEMS, PRICED, ask, journal
from tests.decide.server import Chat, Server, serving


def test_every_item_is_asked_once_and_marked(server: Server, tmp_path: Path) -> None:
    server.answer = lambda chat: "Paris" if "3" not in chat[-1]["content"] else "London"
    (row,) = rows(ask(tmp_path, PRICED))
    assert sorted(server.asked) == sorted(item.question for item in ITEMS)
    assert (row.n, row.quality, row.refused) == (12, 11 / 12, 0)
    # 20 tokens in at $1 and 3 out at $2 a million
    assert row.usd_per_1000 == pytest.approx(1000 * 26e-6)
    assert row.quality_per_usd == pytest.approx(11 / (12 * 26e-6))
    assert set(server.keys) == {"Bearer sk-secret-of-mine"}


def test_nothing_that_was_answered_is_asked_again(server: Server, tmp_path: Path) -> None:
    first = rows(ask(tmp_path))
    again = rows(ask(tmp_path))
    assert again == first
    assert len(server.asked) == 12
    ask(tmp_path, prompts=[Prompt("other", "Be short.")])
    assert len(server.asked) == 24


def test_two_prompts_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two prompts are called 'p'"):
        ask(tmp_path, prompts=[Prompt("p", "Be short."), Prompt("p", "Be long.")])
    with pytest.raises(ConfigError, match="no prompt"):
        ask(tmp_path, prompts=[])


def test_an_endpoint_that_stays_down_is_named_and_good_answers_are_kept(
    server: Server, tmp_path: Path
) -> None:
    server.troubles = [None, None, *[500] * 100]
    with pytest.raises(InputError, match="after 3 attempts: HTTP 500: no luck"):
        ask(tmp_path, settings=Settings(concurrency=1, attempts=3))
    assert len(journal(tmp_path)) == 2
    server.troubles = []
    assert rows(ask(tmp_path))[0].quality == 1
    assert max(server.answered.values()) == 1


def test_one_dead_candidate_does_not_stop_the_others(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Server(troubles=[401] * 100)) as dead:
        candidates = [
            TrialCandidate(name="dead", model="m", base_url=dead.url),
            TrialCandidate(name="alive", model="m"),
        ]
        plan = plan_trial(ITEMS, candidates, ALONE, [0], Settings(concurrency=1))
        with pytest.raises(InputError, match="'dead' refuses: HTTP 401"):
            ask_all(plan, tmp_path)
        assert len(dead.asked) == 1
    first, second = rows(read_outcomes(plan, tmp_path))
    assert (first.n, first.not_asked, first.quality, first.interval) == (0, 12, None, None)
    assert (second.n, second.not_asked) == (12, 0)
    said = capsys.readouterr().err
    assert "the endpoint of 'dead' refuses: HTTP 401: no luck; the other candidates go on" in said


def test_several_dead_candidates_are_all_named(server: Server, tmp_path: Path) -> None:
    server.troubles = [401] * 100
    candidates = [TrialCandidate(name=name, model=name) for name in ("one", "two")]
    with pytest.raises(InputError, match=r"'one' refuses.*'two' refuses"):
        run_trial(ITEMS, candidates, ALONE, [0], Settings(), tmp_path)


def test_one_refused_request_is_counted_and_the_rest_goes_on(
    server: Server, tmp_path: Path
) -> None:
    server.troubles = [400]
    outcomes = ask(tmp_path, PRICED)
    (row,) = rows(outcomes)
    assert (row.n, row.refused, row.quality) == (11, 1, 1)
    assert row.usd_per_1000 == pytest.approx(1000 * 26e-6)
    (refusal,) = refusals(outcomes)
    assert (refusal.count, refusal.problem) == (1, "HTTP 400: no luck")
    (line,) = [line for line in journal(tmp_path) if line["reply"] is None]
    assert line["usd"] is None
    ask(tmp_path, PRICED)
    assert len(server.asked) == 12
    (row,) = rows(ask(tmp_path, PRICED, Settings(retry_refused=True)))
    assert (row.n, row.refused) == (12, 0)
    assert len(server.asked) == 13


def test_a_candidate_of_which_all_is_refused_fails_with_the_endpoints_words(
    server: Server, tmp_path: Path
) -> None:
    server.refuses = lambda body: "no such parameter: seed"
    for _ in range(2):  # also where nothing is left to ask
        with pytest.raises(InputError, match=r"every request of 'm' is refused.*seed"):
            ask(tmp_path)
    assert len(server.asked) == 12


def test_the_cap_is_never_passed(server: Server, tmp_path: Path) -> None:
    # the worst case of one: 10 or 11 bytes + 16 in at $1, 64 tokens out at $2 = $155e-6
    with pytest.raises(BudgetError, match="would be passed") as error:
        ask(tmp_path, PRICED, Settings(max_usd=300e-6))
    answers = journal(tmp_path)
    spent = sum(answer["usd"] for answer in answers)
    # an answer costs 26e-6: the next worst case fits until six are there, whatever runs at once
    assert len(answers) == 6
    assert spent == pytest.approx(6 * 26e-6)
    left = sum(len(item.question) + 16 + 2 * 64 for item in ITEMS) - sum(
        len(question) + 16 + 2 * 64 for question in server.asked
    )
    assert error.value.fix is not None
    assert f"{dollars(spent + left * 1e-6)} is surely enough" in error.value.fix
    assert rows(ask(tmp_path, PRICED, Settings(max_usd=spent + left * 1e-6)))[0].n == 12
    assert len(server.asked) == 12


@pytest.mark.parametrize(
    ("usd", "text"),
    [(0, "$0"), (1.861e-3, "$0.00187"), (1.86e-3, "$0.00186"), (0.1, "$0.100"), (12.341, "$12.4"),
     (3000, "$3,000"), (123456.2, "$123,457"), (1.55e-7, "$0.000000155")],
)  # fmt: skip
def test_sums_are_rounded_up_to_three_digits(usd: float, text: str) -> None:
    assert dollars(usd) == text


def test_a_server_that_counts_more_than_the_text_stops_at_the_first_answer(
    server: Server, tmp_path: Path
) -> None:
    server.usage = {"prompt_tokens": 10**9, "completion_tokens": 10**9}
    with pytest.raises(BudgetError, match=r"cap of \$0.0100 is passed: \$3,000 are spent"):
        ask(tmp_path, PRICED, Settings(max_usd=0.01, concurrency=1))
    assert len(server.asked) == 1


@pytest.mark.parametrize("count", [10**400, 10**9 + 1, -1, 2.5, "20", None, True])
def test_a_count_of_tokens_that_cannot_be_is_unknown(
    server: Server, tmp_path: Path, count: Any
) -> None:
    server.usage = {"prompt_tokens": count, "completion_tokens": 3}
    ask(tmp_path, PRICED, items=ITEMS[:1])
    (answer,) = journal(tmp_path)
    assert answer["input_tokens"] is None
    assert answer["usd"] == pytest.approx((10 + 16) * 1e-6 + 64 * 2e-6)  # at its worst


def test_a_cap_needs_prices(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs prices"):
        ask(tmp_path, settings=Settings(max_usd=1))


def test_prices_that_are_given_later_apply_to_what_was_answered(
    server: Server, tmp_path: Path
) -> None:
    assert rows(ask(tmp_path))[0].usd_per_1000 is None
    assert rows(ask(tmp_path, PRICED))[0].usd_per_1000 == pytest.approx(0.026)
    assert len(server.asked) == 12
    with pytest.raises(BudgetError):  # and count against the cap
        ask(tmp_path, PRICED, Settings(max_usd=12 * 26e-6), prompts=[Prompt("p", "More.")])


@pytest.mark.parametrize("name", ["timeout_seconds", "max_usd"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_settings_that_make_no_sense(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        Settings(**{name: value})


def test_a_torn_last_line_is_cut_off_and_asked_again(server: Server, tmp_path: Path) -> None:
    ask(tmp_path)
    file = tmp_path / ANSWERS
    file.write_bytes(file.read_bytes()[:-20])
    assert rows(ask(tmp_path))[0].n == 12
    assert len(server.asked) == 13


@pytest.mark.parametrize(
    "change",
    [
        {"reply": 7},
        {"key": None},
        {"seconds": "1"},
        {"attempts": True},
        {"usd": -1},
        {"input_tokens": 1.5},
        {"more": 1},
    ],
)
def test_a_line_that_is_no_answer_is_named(
    server: Server, tmp_path: Path, change: dict[str, Any]
) -> None:
    ask(tmp_path, items=ITEMS[:2])
    file = tmp_path / ANSWERS
    first, second = journal(tmp_path)
    file.write_text(f"{json.dumps(first)}\n{json.dumps(second | change)}\n")
    with pytest.raises(InputError) as error:
        ask(tmp_path)
    assert error.value.where == f"{file}:2"
    assert next(iter(change)) in str(error.value) or "fields" in str(error.value)
    for text in ("nonsense\n", "7\n", "[" * 100_000 + "\n", "\xff\n"):
        file.write_text(text)
        with pytest.raises(InputError, match=r"answers\.jsonl:1"):
            ask(tmp_path)


def test_one_trial_at_a_time(server: Server, tmp_path: Path) -> None:
    with lock(tmp_path / ".trial.lock"), pytest.raises(LockedError):
        ask(tmp_path)


def test_cut_off_and_empty_answers_are_counted(server: Server, tmp_path: Path) -> None:
    server.finish_reason = "length"
    replies = {"Question 0": None, "Question 1": " ", "Question 2": "Let me think"}
    server.answer = lambda chat: replies.get(chat[-1]["content"], "Paris")
    (row,) = rows(ask(tmp_path))
    # those that answer in spite of it are not spoilt
    assert (row.cut_off, row.empty, row.spoilt, row.n) == (12, 2, 3, 12)
    assert {line["finish_reason"] for line in journal(tmp_path)} == {"length"}


def test_shots_come_from_items_that_are_not_marked(server: Server, tmp_path: Path) -> None:
    chats: list[Chat] = []

    def answer(chat: Chat) -> str:
        chats.append(chat)
        return "Paris"

    server.answer = answer
    outcomes = ask(tmp_path, shots=(0, 2))
    assert [len(outcome.marks) for outcome in outcomes] == [10, 10]
    assert {len(chat) for chat in chats} == {1, 5}
    shown = {chat[0]["content"] for chat in chats if len(chat) == 5}
    assert shown == {"Question 0"}
    with pytest.raises(ConfigError, match="12 examples"):
        ask(tmp_path, shots=(12,))


def test_numbers_are_asked_for_where_numbers_are_compared(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'Paris' holds none"):
        ask(tmp_path, settings=Settings(match="number"))
    assert server.asked == []


def test_it_runs_where_a_loop_runs_already(server: Server, tmp_path: Path) -> None:
    import asyncio

    async def cell_of_a_notebook() -> int:
        return rows(ask(tmp_path))[0].n

    assert asyncio.run(cell_of_a_notebook()) == 12


def command(tmp_path: Path, n: int, *more: str) -> list[str]:
    file = tmp_path / "evaluation.jsonl"
    items = [{"prompt": f"Question {k}", "expected": "Paris"} for k in range(n)]
    file.write_text("\n".join(map(json.dumps, items)))
    return [
        sys.executable, "-m", "groundup", "decide", "trial", str(file), "--model", "m",
        "--output", str(tmp_path / "out"), "--json", *more,
    ]  # fmt: skip


def test_after_a_kill_in_the_middle_nothing_answered_is_asked_again(
    server: Server, tmp_path: Path
) -> None:
    server.seconds = 0.05
    asking = command(tmp_path, 36, "--concurrency", "2")
    answers = tmp_path / "out" / ANSWERS
    process = subprocess.Popen(asking, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (answers.exists() and answers.read_bytes().count(b"\n") >= 5):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = {json.loads(line)["key"] for line in answers.read_bytes().splitlines(keepends=True)
            if line.endswith(b"\n")}  # fmt: skip
    assert 5 <= len(kept) < 36
    time.sleep(0.2)  # what was in flight reaches the server
    before = list(server.idempotency)
    done = subprocess.run(asking, capture_output=True, text=True, check=True)
    after = server.idempotency[len(before) :]
    assert len(after) == 36 - len(kept)
    assert json.loads(done.stdout)["tries"][0]["n"] == 36
    # Only what was in flight at the kill, at most two, reached the server twice: with its key.
    assert len(set(before) & set(after)) == len(before) + len(after) - 36 <= 2
    assert kept.isdisjoint(after)
    written = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert not [path for path, data in written.items() if b"sk-secret" in data]


@pytest.mark.parametrize("trouble", ["wait", "drip"])
def test_ctrl_c_stops_at_once_and_writes_what_there_is(
    server: Server, tmp_path: Path, trouble: str
) -> None:
    server.troubles = [None, *["drip"] * 10] if trouble == "drip" else [None]
    if trouble == "wait":
        server.answer = lambda chat: (
            time.sleep(0 if chat[-1]["content"][-2:] == " 0" else 120) or "x"
        )
    process = subprocess.Popen(
        command(tmp_path, 12), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    answers = tmp_path / "out" / ANSWERS
    deadline = time.monotonic() + 60
    while not (answers.exists() and answers.read_bytes() and len(server.asked) >= 4):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)  # far less than the answers under way would take
    assert process.returncode == 130
    assert "stopping" in err
    assert "every answer that came is kept" in err
    assert "Traceback" not in err
    record = json.loads(out)
    assert record["tries"][0]["n"] >= 1
    assert record["tries"][0]["not_asked"] >= 1
    assert "stopped" in record["stopped"]
    assert (tmp_path / "out" / "trial.html").exists()
