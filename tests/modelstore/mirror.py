"""A model hub on localhost that misbehaves on command."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


@dataclass
class Hub:
    """Serves `files` by URL path. `script` holds, per path, what the next requests get instead of a plain answer.

    Scripted answers: "drop" (half of the body, then the line is cut), "hang" (nothing), "wrong" (same length, other
    bytes), "slow", "norange" (the whole file although a range was asked for), "endless" (bytes without an end), "drip"
    (the same, a byte at a time), or a status number.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    script: dict[str, deque[str]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.stop = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def says(self, path: str, *answers: str) -> None:
        self.script[path] = deque(answers)

    def asked(self, name: str) -> list[str]:
        """The Range headers of the requests for files called `name`."""
        return [wanted for path, wanted in self.requests if path.endswith("/" + name)]


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted = self.headers.get("range", "")
            hub.requests.append((self.path, wanted))
            script = hub.script.get(self.path)
            answer = script.popleft() if script else ""
            body = hub.files.get(self.path)
            if answer == "hang":
                hub.stop.wait(20)
                self.close_connection = True
            elif answer in {"endless", "drip"}:
                self.flow(b" " * 65536 if answer == "endless" else b" ", 0.0 if answer == "endless" else 0.05)
            elif body is None or answer.isdigit():
                self.send_error(int(answer or 404))
            else:
                self.reply(body, wanted, answer)

        def reply(self, body: bytes, wanted: str, answer: str) -> None:
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and answer != "norange" else 0
            part = body[start:]
            if answer == "wrong":
                part = bytes(byte ^ 1 for byte in part)
            self.send_response(206 if start else 200)
            if start:
                self.send_header("content-range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("content-length", str(len(part)))
            self.end_headers()
            if answer == "slow":
                time.sleep(0.7)
            if answer == "drop":
                part = part[: max(len(part) // 2, 1)]
                self.close_connection = True
            self.wfile.write(part)

        def flow(self, block: bytes, pause: float) -> None:
            self.send_response(200)
            self.end_headers()
            self.close_connection = True
            with suppress(OSError):  # until the client has had enough
                while not hub.stop.wait(pause):
                    self.wfile.write(block)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
