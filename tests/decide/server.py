"""A real HTTP server with an OpenAI-compatible endpoint that misbehaves on order."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Chat = list[dict[str, str]]


@dataclass
class Server:
    """What it was asked, and how it answers.

    Attributes:
        answer: from a chat to the text of the reply.
        troubles: what the next requests meet, one after the other: a status, "malformed", "hang",
            "drop", "drip", a pair of a status and headers, or a triple with a body; then all is
            well.
        refuses: says from a request what is wrong with it (status 400), or None.
        usage: the tokens it counts.
    """

    answer: Callable[[Chat], str | None] = lambda chat: "Paris"
    refuses: Callable[[dict[str, Any]], str | None] = lambda body: None
    finish_reason: str = "stop"
    troubles: list[Any] = field(default_factory=list)
    seconds: float = 0.0
    usage: dict[str, Any] | None = field(
        default_factory=lambda: {"prompt_tokens": 20, "completion_tokens": 3}
    )
    asked: list[str] = field(default_factory=list)  # last message of every request that came
    answered: Counter[str] = field(default_factory=Counter)
    keys: list[str | None] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    idempotency: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            question = body["messages"][-1]["content"]
            with server.lock:
                server.asked.append(question)
                server.keys.append(self.headers["Authorization"])
                server.bodies.append(body)
                server.idempotency.append(self.headers["Idempotency-Key"])
                server.times.append(time.monotonic())
                trouble = server.troubles.pop(0) if server.troubles else None
            time.sleep(server.seconds)
            if trouble == "hang":
                time.sleep(3)
            elif trouble == "drop":
                self.connection.close()
            elif trouble == "malformed":
                self.reply(200, b'{"choices": [{"message": ')
            elif trouble == "drip":
                self.drip()
            elif isinstance(trouble, tuple):
                status, headers, *content = trouble
                words = content[0] if content else b'{"error": {"message": "slow down"}}'
                self.reply(status, words, headers)
            elif trouble:
                self.reply(trouble, b'{"error": {"message": "no luck"}}')
            elif said := server.refuses(body):
                self.reply(400, json.dumps({"error": {"message": said}}).encode())
            else:
                with server.lock:
                    server.answered[question] += 1
                found: dict[str, Any] = {
                    "choices": [
                        {
                            "message": {"content": server.answer(body["messages"])},
                            "finish_reason": server.finish_reason,
                        }
                    ]
                }
                if server.usage:
                    found["usage"] = server.usage
                self.reply(200, json.dumps(found).encode())

        def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            try:
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                pass  # the client has left

        def drip(self) -> None:
            """A byte now and then, for ever."""
            try:
                self.send_response(200)
                self.send_header("Content-Length", "1000000")
                self.end_headers()
                while True:
                    self.wfile.write(b" ")
                    time.sleep(0.1)
            except OSError:
                pass  # the client has left

        def log_message(self, *_: object) -> None:
            """Not on the tests' standard error."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{httpd.server_address[1]}/v1"
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
