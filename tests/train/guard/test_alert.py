"""The alert hook, with real programs and a real server on this machine."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import ValidationError

from groundup.errors import ConfigError
from groundup.project import load_project
from groundup.train.guard.alert import alert_of
from groundup.train.guard.config import GuardConfig

EVENT = {"step": 12, "event": "rewound", "why": "the loss is nan", "details": {"samples": [1, 2]}}
SECRET = "T0K3N-in-the-path"


class Server:
    """Keeps what is posted to it, and answers as told."""

    def __init__(self) -> None:
        self.status, self.headers = 200, {}
        self.posted: list[tuple[str, str | None, dict[str, object]]] = []
        self.n_requests = 0
        self.free = threading.Event()  # unset: answers wait
        self.free.set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                server.n_requests += 1
                server.posted.append((self.path, self.headers["content-type"], json.loads(body)))
                server.free.wait(20)
                self.send_response(server.status)
                for name, value in server.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/{SECRET}?key={SECRET}"
        self.thread = threading.Thread(target=self.http.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.free.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def test_nobody_is_told_where_nothing_is_asked_for() -> None:
    alert = alert_of(GuardConfig())
    before = threading.active_count()
    alert(EVENT)
    alert.close()
    assert threading.active_count() == before


def test_a_program_gets_the_event_as_json_and_its_arguments_untouched(tmp_path: Path) -> None:
    script = tmp_path / "tell me.py"
    script.write_text(
        "import json, pathlib, sys\n"
        "told = {'arguments': sys.argv[2:], 'event': json.load(sys.stdin)}\n"
        "pathlib.Path(sys.argv[1]).write_text(json.dumps(told))\n"
    )
    out, odd = tmp_path / "out.json", "$(touch hurt) ; 'quoted' &"
    alert = alert_of(GuardConfig(alert_command=[sys.executable, str(script), str(out), odd]))
    alert(EVENT)
    alert.close(60)
    assert json.loads(out.read_text()) == {"arguments": [odd], "event": EVENT}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "tell me.py"]


def test_an_address_is_posted_the_event(server: Server) -> None:
    alert = alert_of(GuardConfig(alert_webhook=server.url))
    alert(EVENT)
    alert.close(60)
    assert server.posted == [(f"/{SECRET}?key={SECRET}", "application/json", EVENT)]


@pytest.mark.parametrize("status", [500, 302])
def test_a_failing_address_is_said_once_without_its_path_and_nobody_is_followed(
    status: int, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.status, server.headers = status, {"location": f"{server.url}/elsewhere"}
    alert = alert_of(GuardConfig(alert_webhook=server.url))
    for n_done in (1, 2):
        alert(EVENT)
        wait_until(lambda n=n_done: len(server.posted) == n)
    alert.close(60)
    said = capsys.readouterr().err
    assert said.count("the alert webhook at 127.0.0.1 answered") == 1
    assert str(status) in said
    assert SECRET not in said
    assert server.n_requests == 2


def test_an_address_where_nobody_listens_is_said_without_its_path(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gone = Server()
    gone.close()
    alert = alert_of(GuardConfig(alert_webhook=gone.url))
    alert(EVENT)
    alert.close(60)
    said = capsys.readouterr().err
    assert "the alert webhook at 127.0.0.1 failed: ConnectError; training goes on" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["no such program"], "could not be started: No such file or directory"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "ended with code 3"),
    ],
)
def test_a_failing_program_is_said_once_and_ends_nothing(
    command: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    alert = alert_of(GuardConfig(alert_command=command))
    alert(EVENT)
    alert.close(60)
    alert(EVENT)
    alert.close(60)
    assert capsys.readouterr().err.count(message) == 1


def test_a_slow_receiver_holds_nothing_up_and_hears_the_newest_next(server: Server) -> None:
    server.free.clear()
    alert = alert_of(GuardConfig(alert_webhook=server.url))
    alert({"step": 0})
    wait_until(lambda: len(server.posted) == 1)
    for step in range(1, 1000):  # would take hours if one waited for the other
        alert({"step": step})
    server.free.set()
    alert.close(60)
    assert [event["step"] for _, _, event in server.posted] == [0, 999]


def test_the_end_of_a_run_waits_for_a_hanging_receiver_no_longer_than_it_is_told(
    server: Server,
) -> None:
    server.free.clear()
    alert = alert_of(GuardConfig(alert_webhook=server.url))
    for step in range(3):
        alert({"step": step})
    alert.close(0.01)
    assert not server.free.is_set()  # we came here although nobody was answered
    server.free.set()
    alert.close(60)


def test_each_way_that_fails_is_said(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.status = 500
    alert = alert_of(GuardConfig(alert_command=["no such program"], alert_webhook=server.url))
    for n_done in (1, 2):
        alert(EVENT)
        wait_until(lambda n=n_done: len(server.posted) == n)
    alert.close(60)
    said = capsys.readouterr().err
    assert said.count("the alert command no such program could not be started") == 1
    assert said.count("the alert webhook at 127.0.0.1 answered 500") == 1


# The second and its child do not hear SIGTERM.
@pytest.mark.parametrize("first", ["", "trap '' TERM; "])
def test_a_program_does_not_outlive_the_run(
    first: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pids = tmp_path / "pids"
    script = f"{first}sleep 1000 & echo $$ $! >'{pids}.new'; mv '{pids}.new' '{pids}'; wait; wait"
    alert = alert_of(GuardConfig(alert_command=["sh", "-c", script]))
    alert(EVENT)
    wait_until(pids.exists)
    alert(EVENT)  # waits, and is not started once the run is over
    found = [int(pid) for pid in pids.read_text().split()]
    pids.unlink()
    assert len(found) == 2
    assert all(is_alive(pid) for pid in found)
    alert.close(0.01)
    wait_until(lambda: not any(is_alive(pid) for pid in found))
    assert "the alert command sh is still at work at the end of the run" in capsys.readouterr().err
    alert.close(60)
    assert not pids.exists()


def is_alive(pid: int) -> bool:
    """Whether it runs; one that nobody has asked for its exit code does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    "address",
    [
        f"ftp://example.org/{SECRET}", f"/{SECRET}", f"http:///{SECRET}", f"http://[::1/{SECRET}",
        f"http://example.org:99999/{SECRET}", f"http://example.org/{SECRET}\n", "",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_the_project_file_and_not_shown(
    address: str, tmp_path: Path
) -> None:
    text = json.dumps({"pretrain": {"guard": {"alert_webhook": address}}})
    (tmp_path / "groundup.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_project(tmp_path)
    assert "pretrain.guard.alert_webhook" in str(caught.value)
    assert "is no address of http or https" in str(caught.value)
    with pytest.raises(ValidationError) as raw:
        GuardConfig(alert_webhook=address)
    for error in (caught.value, raw.value):
        assert SECRET not in str(error)


@pytest.mark.parametrize(
    "address", ["https://hooks.example.org/T0/B1/s", "HTTP://[::1]:8080", "http://a:b@host?q=1"]
)
def test_an_address_of_http_is_taken_as_it_is(address: str) -> None:
    assert GuardConfig(alert_webhook=address).alert_webhook == address


def test_what_only_the_client_refuses_is_not_shown_either() -> None:
    with pytest.raises(ConfigError) as caught:
        alert_of(GuardConfig(alert_webhook=f"http://1.2.3.999/{SECRET}"))
    assert "pretrain.guard.alert_webhook" in str(caught.value)
    assert SECRET not in str(caught.value)


def wait_until(condition: object) -> None:
    until = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.005)
