"""One endpoint, a real HTTP server that misbehaves: patience, dialects, keys and addresses."""

from __future__ import annotations

import gzip
import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from groundup.decide.endpoint_address import base_url, chat_url, headers
from groundup.decide.endpoint_replies import retry_after
from groundup.decide.trial_candidates import TrialCandidate
from groundup.decide.trial_plan import Settings
from groundup.decide.trial_rows import rows
from groundup.errors import ConfigError, InputError
from tests.decide.asking import ITEMS, ask, journal
from tests.decide.server import Server

GARBLED = (200, {"Content-Encoding": "gzip"}, b"no gzip")
FEW = Settings(attempts=2, concurrency=1)


@pytest.mark.parametrize("trouble", [429, 500, 502, 503, 408, "malformed", "drop", GARBLED])
def test_what_may_pass_is_asked_again(server: Server, tmp_path: Path, trouble: object) -> None:
    server.troubles = [trouble] * 3
    (row,) = rows(ask(tmp_path))
    assert row.quality == 1
    assert len(server.asked) == 15
    assert max(server.answered.values()) == 1


def test_a_body_that_cannot_be_decoded_is_said(server: Server, tmp_path: Path) -> None:
    server.troubles = [GARBLED] * 100
    with pytest.raises(InputError, match="after 2 attempts: DecodingError"):
        ask(tmp_path, settings=FEW)
    with pytest.raises(InputError, match="after 1 attempt: "):
        ask(tmp_path, settings=Settings(attempts=1))


def test_a_compressed_answer_is_read(server: Server, tmp_path: Path) -> None:
    body = gzip.compress(json.dumps({"choices": [{"message": {"content": "Paris"}}]}).encode())
    server.troubles = [(200, {"Content-Encoding": "gzip"}, body)]
    assert rows(ask(tmp_path, items=ITEMS[:1]))[0].quality == 1


@pytest.mark.parametrize("trouble", ["hang", "drip"])
def test_an_answer_that_does_not_end_is_given_up_and_asked_again(
    server: Server, tmp_path: Path, trouble: str
) -> None:
    server.troubles = [trouble]
    begin = time.monotonic()
    (row,) = rows(ask(tmp_path, settings=Settings(timeout_seconds=0.3), items=ITEMS[:3]))
    assert time.monotonic() - begin < 2
    assert row.quality == 1
    assert len(server.asked) == 4


def test_the_pause_a_server_names_holds_for_every_request(server: Server, tmp_path: Path) -> None:
    server.troubles = [(429, {"Retry-After": "0.6"})]
    ask(tmp_path, settings=Settings(concurrency=1), items=ITEMS[:2])
    assert server.times[1] - server.times[0] >= 0.6


def test_a_long_pause_is_said_once(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("groundup.decide.endpoint.WORTH_SAYING_SECONDS", 0.3)
    server.troubles = [(429, {"Retry-After": "1.2"})] * 4
    ask(tmp_path, items=ITEMS[:4])
    assert capsys.readouterr().err.count("m: waiting 1 s, as the server asks") == 1


def test_retry_after_is_seconds_or_a_date() -> None:
    def date(seconds: float) -> str:
        return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)

    assert retry_after("7") == 7
    assert retry_after(date(30)) == pytest.approx(30, abs=2)
    assert retry_after(date(-30)) == 0
    assert retry_after(date(1e6)) == 600  # no longer than this
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0  # RFC 9110's kind of date
    for nothing in ("", "soon", "-1", "nan", "Wed, 99 Foo"):
        assert retry_after(nothing) is None


def test_the_rate_limit_is_kept(server: Server, tmp_path: Path) -> None:
    slow = TrialCandidate(name="m", model="m", requests_per_minute=1200)
    ask(tmp_path, slow)
    assert server.times[-1] - server.times[0] >= 11 * 60 / 1200 * 0.9


@pytest.mark.parametrize(("status", "word"), [(401, "OPENAI_API_KEY"), (404, "/v1")])
def test_what_can_never_succeed_ends_the_candidate(
    server: Server, tmp_path: Path, status: int, word: str
) -> None:
    server.troubles = [status] * 100
    with pytest.raises(InputError) as error:
        ask(tmp_path, settings=Settings(concurrency=1))
    assert word in str(error.value)
    assert len(server.asked) == 1


def test_a_redirect_is_shown_and_not_followed(server: Server, tmp_path: Path) -> None:
    server.troubles = [(308, {"Location": "https://elsewhere.example/v1"})] * 10
    with pytest.raises(InputError, match=r"https://elsewhere\.example/v1") as error:
        ask(tmp_path, settings=FEW)
    assert "redirect" in str(error.value)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_key_that_the_server_repeats_is_shown_and_written_nowhere(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    words = "x" * 150 + " Incorrect API key provided: sk-secret-of-mine."
    body = json.dumps({"error": {"message": words}}).encode()
    server.troubles = [(status, {}, body)] * 100
    with pytest.raises(InputError) as error:
        ask(tmp_path, settings=FEW)
    said = capsys.readouterr()
    everything = str(error.value) + said.err + said.out
    everything += "".join(path.read_text() for path in tmp_path.iterdir())
    assert "sk-sec" not in everything  # no part of it is left where the line is cut
    assert "[key]" in everything


def test_a_key_in_an_answer_or_a_location_is_taken_out(server: Server, tmp_path: Path) -> None:
    server.answer = lambda chat: "you sent sk-secret-of-mine"
    ask(tmp_path, items=ITEMS[:1])
    assert journal(tmp_path)[0]["reply"] == "you sent [key]"
    server.troubles = [(302, {"Location": "https://x.example/?key=sk-secret-of-mine"})]
    with pytest.raises(InputError) as error:
        ask(tmp_path, settings=FEW)
    assert "sk-secret" not in str(error.value)


def wants_new_names(body: dict[str, Any]) -> str | None:
    """As newer models of OpenAI say it."""
    if "max_tokens" in body:
        return (
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead."
        )
    if "temperature" in body:
        return "Unsupported value: 'temperature' does not support 0 with this model."
    return None


def test_a_model_that_wants_other_parameters_is_asked_with_them(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.refuses = wants_new_names
    (row,) = rows(ask(tmp_path, settings=Settings(concurrency=1)))
    assert (row.n, row.refused) == (12, 0)
    assert len(server.asked) == 14  # found out once
    assert server.bodies[-1].keys() == {"model", "messages", "max_completion_tokens"}
    assert "max_completion_tokens and no temperature" in capsys.readouterr().err
    keys = server.idempotency
    assert len(set(keys)) == 14  # another body never travels under the key of one before


def test_a_candidate_can_say_so_at_once(server: Server, tmp_path: Path) -> None:
    server.refuses = wants_new_names
    new = TrialCandidate(
        name="m", model="m", max_tokens_parameter="max_completion_tokens", temperature=None
    )
    ask(tmp_path, new)
    assert len(server.asked) == 12


def test_an_old_server_gets_the_old_name(server: Server, tmp_path: Path) -> None:
    server.refuses = lambda body: (
        "unknown field max_completion_tokens" if "max_completion_tokens" in body else None
    )
    new = TrialCandidate(name="m", model="m", max_tokens_parameter="max_completion_tokens")
    assert rows(ask(tmp_path, new))[0].n == 12


def test_a_length_that_is_too_large_is_a_refusal(server: Server, tmp_path: Path) -> None:
    server.refuses = lambda body: "max_tokens is too large, as max_completion_tokens would be"
    with pytest.raises(InputError, match="too large"):
        ask(tmp_path, items=ITEMS[:1])
    assert len(server.asked) == 2


def address(url: str, **more: Any) -> TrialCandidate:
    return TrialCandidate(name="m", model="m", base_url=url, **more)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://models.example",
        "http://[::1",
        "http://127.0.0.1:abc/v1",
        "http://127.0.0.1:99999/v1",
        "https://models.example/v1\nX: y",
        "https://models .example/v1",
        "https://",
        "models.example/v1",
        "https://\x00.example/v1",
    ],
)
def test_what_is_no_address_is_said(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    with pytest.raises(ConfigError, match="no http address"):
        base_url(address(url))


def test_the_path_of_chats_keeps_a_query() -> None:
    assert chat_url(address("https://a.example/v1/")) == "https://a.example/v1/chat/completions"
    assert (
        chat_url(address("https://a.example/v1?version=2"))
        == "https://a.example/v1/chat/completions?version=2"
    )


def test_a_key_travels_encrypted_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    with pytest.raises(ConfigError, match=r"unencrypted.*\n.*\n.*api_key_env: null"):
        base_url(address("http://192.168.0.7:8000/v1"))
    with pytest.raises(ConfigError, match="holds a password"):
        base_url(address("https://me:word@models.example/v1"))
    assert headers(address("http://[::1]:8000/v1")) == {"Authorization": "Bearer k"}
    assert headers(address("http://192.168.0.7:8000/v1", api_key_env=None)) == {}
    monkeypatch.delenv("OPENAI_API_KEY")
    assert headers(address("http://192.168.0.7:8000/v1")) == {}
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        headers(address("https://models.example/v1"))
    assert headers(address("https://models.example/v1", api_key_env=None)) == {}
    monkeypatch.setenv("OPENAI_API_KEY", "k\u00e9y")
    with pytest.raises(ConfigError, match="no header can carry"):
        headers(address("https://models.example/v1"))


def test_no_address_is_said_before_anything_is_asked(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL")
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL"):
        ask(tmp_path)
    assert server.asked == []
