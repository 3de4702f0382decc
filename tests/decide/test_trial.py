"""The trial against a real HTTP server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from groundup.decide.ceiling import ceilings, rows
from groundup.decide.examples import Item, Prompt
from groundup.decide.trial import ANSWERS, Outcome, Settings, run_trial
from groundup.decide.trial_candidates import TrialCandidate
from groundup.errors import BudgetError, ConfigError, InputError, LockedError
from groundup.files import lock
from tests.decide.server import Chat, Server, serving

ITEMS = [Item(str(n), f"Question {n}", ("Paris",)) for n in range(12)]
ALONE = [Prompt("question", "")]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving(Server()) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        monkeypatch.setattr("groundup.decide.endpoint.FIRST_PAUSE_SECONDS", 0.01)
        yield running


def ask(
    folder: Path,
    candidate: TrialCandidate | None = None,
    settings: Settings | None = None,
    prompts: list[Prompt] = ALONE,
    shots: tuple[int, ...] = (0,),
    items: list[Item] = ITEMS,
) -> list[Outcome]:
    candidate = candidate or TrialCandidate(name="m", model="m")
    return run_trial(items, [candidate], prompts, shots, settings or Settings(), folder)


def test_every_item_is_asked_once_and_marked(server: Server, tmp_path: Path) -> None:
    server.answer = lambda chat: "Paris" if "3" not in chat[-1]["content"] else "London"
    (row,) = rows(ask(tmp_path, PRICED))
    assert sorted(server.asked) == sorted(item.question for item in ITEMS)
    assert (row.n, row.quality, row.unanswered) == (12, 11 / 12, 0)
    # 20 tokens in at $1 and 3 out at $2 a million
    assert row.usd_per_1000 == pytest.approx(1000 * 26e-6)
    assert row.quality_per_usd == pytest.approx(11 / (12 * 26e-6))
    assert set(server.keys) == {"Bearer sk-secret"}


def test_nothing_that_was_answered_is_asked_again(server: Server, tmp_path: Path) -> None:
    first = rows(ask(tmp_path))
    again = rows(ask(tmp_path))
    assert again == first
    assert len(server.asked) == 12
    ask(tmp_path, prompts=[Prompt("other", "Be short.")])
    assert len(server.asked) == 24


@pytest.mark.parametrize("trouble", [429, 500, 502, 503, 408, "malformed", "drop"])
def test_what_may_pass_is_asked_again(server: Server, tmp_path: Path, trouble: object) -> None:
    server.troubles = [trouble] * 3
    (row,) = rows(ask(tmp_path))
    assert row.quality == 1
    assert len(server.asked) == 15
    assert max(server.answered.values()) == 1


def test_a_hanging_answer_is_given_up_and_asked_again(server: Server, tmp_path: Path) -> None:
    server.troubles = ["hang"]
    (row,) = rows(ask(tmp_path, settings=Settings(timeout_seconds=0.3)))
    assert row.quality == 1
    assert len(server.asked) == 13


def test_the_pause_a_server_names_holds_for_every_request(server: Server, tmp_path: Path) -> None:
    server.troubles = [(429, {"Retry-After": "0.6"})]
    ask(tmp_path, settings=Settings(concurrency=1))
    assert server.times[1] - server.times[0] >= 0.6


def test_the_rate_limit_is_kept(server: Server, tmp_path: Path) -> None:
    slow = TrialCandidate(name="m", model="m", requests_per_minute=1200)
    ask(tmp_path, slow)
    assert server.times[-1] - server.times[0] >= 11 * 60 / 1200 * 0.9


@pytest.mark.parametrize(("status", "word"), [(401, "OPENAI_API_KEY"), (404, "/v1")])
def test_what_can_never_succeed_ends_the_trial(
    server: Server, tmp_path: Path, status: int, word: str
) -> None:
    server.troubles = [status] * 100
    with pytest.raises(InputError) as error:
        ask(tmp_path, settings=Settings(concurrency=1))
    assert word in str(error.value)
    assert "sk-secret" not in str(error.value)
    assert len(server.asked) == 1


def test_an_endpoint_that_stays_down_is_named_and_good_answers_are_kept(
    server: Server, tmp_path: Path
) -> None:
    server.troubles = [None, None, *[500] * 100]
    with pytest.raises(InputError, match="after 3 attempts: HTTP 500: no luck"):
        ask(tmp_path, settings=Settings(concurrency=1, attempts=3))
    assert len((tmp_path / ANSWERS).read_text().splitlines()) == 2
    server.troubles = []
    assert rows(ask(tmp_path))[0].quality == 1
    assert max(server.answered.values()) == 1


def test_one_refused_request_is_counted_and_the_rest_goes_on(
    server: Server, tmp_path: Path
) -> None:
    server.troubles = [400]
    (row,) = rows(ask(tmp_path))
    assert (row.n, row.unanswered, row.quality) == (11, 1, 1)


PRICED = TrialCandidate(name="m", model="m", usd_per_million_input=1, usd_per_million_output=2)


def test_the_cap_is_never_passed(server: Server, tmp_path: Path) -> None:
    # the worst case of one: 10 or 11 bytes + 16 in at $1, 64 tokens out at $2 = $155e-6
    with pytest.raises(BudgetError, match="cap of") as error:
        ask(tmp_path, PRICED, Settings(max_usd=300e-6))
    answers = [json.loads(line) for line in (tmp_path / ANSWERS).read_text().splitlines()]
    assert 0 < sum(answer["usd"] for answer in answers) <= 300e-6
    assert 0 < len(answers) < 12
    assert "not asked again" in str(error.value)
    assert rows(ask(tmp_path, PRICED, Settings(max_usd=1)))[0].n == 12
    assert len(server.asked) == 12


def test_a_cap_needs_prices(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs prices"):
        ask(tmp_path, settings=Settings(max_usd=1))


def test_answers_without_counted_tokens_are_priced_at_their_worst(
    server: Server, tmp_path: Path
) -> None:
    server.usage = False
    ask(tmp_path, PRICED, items=ITEMS[:1])
    (answer,) = [json.loads(line) for line in (tmp_path / ANSWERS).read_text().splitlines()]
    assert answer["usd"] == pytest.approx((10 + 16) * 1e-6 + 64 * 2e-6)


def test_a_torn_last_line_is_cut_off_and_asked_again(server: Server, tmp_path: Path) -> None:
    ask(tmp_path)
    file = tmp_path / ANSWERS
    file.write_bytes(file.read_bytes()[:-20])
    assert rows(ask(tmp_path))[0].n == 12
    assert len(server.asked) == 13
    file.write_text("nonsense\n")
    with pytest.raises(InputError, match=r"answers\.jsonl:1"):
        ask(tmp_path)


def test_no_key_and_no_address_are_said_before_anything_is_asked(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL")
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL"):
        ask(tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://models.example/v1")
    with pytest.raises(ConfigError, match="unencrypted"):
        ask(tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", "https://models.example/v1")
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        ask(tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", "ftp://models.example")
    with pytest.raises(ConfigError, match="no http address"):
        ask(tmp_path)
    assert server.asked == []


def test_one_trial_at_a_time(server: Server, tmp_path: Path) -> None:
    with lock(tmp_path / ".trial.lock"), pytest.raises(LockedError):
        ask(tmp_path)


def test_shots_come_from_items_that_are_not_marked(server: Server, tmp_path: Path) -> None:
    chats: list[Chat] = []

    def answer(chat: Chat) -> str:
        chats.append(chat)
        return "Paris"

    server.answer = answer
    outcomes = ask(tmp_path, shots=(0, 2))
    assert [len(outcome.right) for outcome in outcomes] == [10, 10]
    assert {len(chat) for chat in chats} == {1, 5}
    shown = {chat[0]["content"] for chat in chats if len(chat) == 5}
    assert shown == {"Question 0"}
    with pytest.raises(ConfigError, match="12 examples"):
        ask(tmp_path, shots=(12,))


def outcome_of(server: Server, folder: Path, right: list[int], n: int = 60) -> list[Outcome]:
    """Tries of which the k-th answers right[k] of n items well."""
    share = {f"P{k}": count for k, count in enumerate(right)}

    def answer(chat: Chat) -> str:
        prompt, _, rest = chat[-1]["content"].partition("\n\n")
        return "Paris" if int(rest.split()[-1]) < share[prompt] else "?"

    server.answer = answer
    items = [Item(str(k), f"Question {k}", ("Paris",)) for k in range(n)]
    return ask(folder, prompts=[Prompt(name, name) for name in share], items=items)


def test_prompting_that_stopped_helping_has_flattened(server: Server, tmp_path: Path) -> None:
    (verdict,) = ceilings(outcome_of(server, tmp_path, [20, 40, 40, 39]))
    assert verdict.verdict == "flattened"
    assert verdict.best.quality == pytest.approx(40 / 60)


def test_prompting_that_still_helps_goes_on(server: Server, tmp_path: Path) -> None:
    (verdict,) = ceilings(outcome_of(server, tmp_path, [10, 20, 30, 45]))
    assert verdict.verdict == "still rising"
    assert verdict.gain == pytest.approx(25 / 60)


def test_too_few_items_leave_it_open_and_say_how_many_would_do(
    server: Server, tmp_path: Path
) -> None:
    (verdict,) = ceilings(outcome_of(server, tmp_path, [10, 11, 12, 12], n=30))
    assert verdict.verdict == "open"
    assert verdict.items_needed is not None
    assert verdict.items_needed > 30
    (verdict,) = ceilings(outcome_of(server, tmp_path / "two", [10, 11], n=30))
    assert "say nothing of a ceiling" in verdict.text


def test_after_a_kill_in_the_middle_nothing_answered_is_asked_again(
    server: Server, tmp_path: Path
) -> None:
    server.seconds = 0.05
    file = tmp_path / "evaluation.jsonl"
    lines = [{"prompt": item.question, "expected": "Paris"} for item in ITEMS * 3]
    for n, line in enumerate(lines):
        line["prompt"] += f" ({n})"
    file.write_text("\n".join(map(json.dumps, lines)))
    command = [
        sys.executable, "-m", "groundup", "decide", "trial", str(file), "--model", "m",
        "--output", str(tmp_path / "out"), "--concurrency", "2", "--json",
    ]  # fmt: skip
    answers = tmp_path / "out" / ANSWERS
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
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
    asked_before = len(server.asked)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(server.asked) - asked_before == 36 - len(kept)
    assert json.loads(done.stdout)["tries"][0]["n"] == 36
    # Only what was in flight at the kill, at most two, can have reached the server twice.
    assert len(server.asked) <= 36 + 2
    written = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert not [path for path, data in written.items() if b"sk-secret" in data]
