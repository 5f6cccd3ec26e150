"""A client that connects anew for every request, as fast as it can, and says what became of each connection."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable

_REQUEST = b"GET %s HTTP/1.1\r\nHost: here\r\n\r\n"
_SECONDS = 20.0

Outcomes = Counter[str]


def knock_through(port: int, end: Callable[[], object], path: bytes = b"/health/live", knockers: int = 4) -> Outcomes:
    """Knock before, while and after `end` ends the server; returns once it refuses everybody."""
    outcomes: Outcomes = Counter()
    lock = threading.Lock()

    def knock() -> None:
        until = time.monotonic() + 2 * _SECONDS
        refused = 0
        while refused < 3 and time.monotonic() < until:
            outcome = _knock(port, path)
            refused = refused + 1 if outcome == "refused" else 0
            with lock:
                outcomes[outcome] += 1

    threads = [threading.Thread(target=knock) for _ in range(knockers)]
    for thread in threads:
        thread.start()
    while outcomes["answered 200"] < 50 and any(thread.is_alive() for thread in threads):
        time.sleep(0.01)
    end()
    for thread in threads:
        thread.join(3 * _SECONDS)
    return outcomes


def _knock(port: int, path: bytes) -> str:
    try:
        connection = socket.create_connection(("127.0.0.1", port), _SECONDS)
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return f"not connected: {error}"
    with connection:
        try:
            connection.sendall(_REQUEST % path)
            answer = connection.recv(65536)
        except OSError as error:
            return f"accepted, then {error}"
    return f"answered {answer.split()[1].decode()}" if answer else "accepted, then closed without an answer"
