"""A recording at an address of this machine."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Shelf:
    """A web server that has one recording, and knows who asked for it."""

    url: str
    asked: list[str] = field(default_factory=list)


@contextlib.contextmanager
def recording_at(content: bytes) -> Iterator[Shelf]:
    """An address on this machine with a recording. Where it ends in .gone, there is none."""
    shelf = Shelf("")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith(".gone"):
                self.send_error(404)
                return
            shelf.asked.append(self.path)
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        shelf.url = f"http://127.0.0.1:{server.server_port}/a.wav"
        try:
            yield shelf
        finally:
            server.shutdown()
            thread.join()
