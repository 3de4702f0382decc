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
            "drop", or a pair of a status and headers; then all is well.
    """

    answer: Callable[[Chat], str] = lambda chat: "Paris"
    troubles: list[Any] = field(default_factory=list)
    seconds: float = 0.0
    usage: bool = True
    asked: list[str] = field(default_factory=list)  # last message of every request that came
    answered: Counter[str] = field(default_factory=Counter)
    keys: list[str | None] = field(default_factory=list)
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
                server.times.append(time.monotonic())
                trouble = server.troubles.pop(0) if server.troubles else None
            time.sleep(server.seconds)
            if trouble == "hang":
                time.sleep(3)
            elif trouble == "drop":
                self.connection.close()
            elif trouble == "malformed":
                self.reply(200, b'{"choices": [{"message": ')
            elif isinstance(trouble, tuple):
                self.reply(trouble[0], b'{"error": {"message": "slow down"}}', trouble[1])
            elif trouble:
                self.reply(trouble, b'{"error": {"message": "no luck"}}')
            else:
                with server.lock:
                    server.answered[question] += 1
                found: dict[str, Any] = {
                    "choices": [{"message": {"content": server.answer(body["messages"])}}]
                }
                if server.usage:
                    found["usage"] = {"prompt_tokens": 20, "completion_tokens": 3}
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
