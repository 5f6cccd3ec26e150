"""Put on PYTHONPATH, it writes down every address that a Python process looks up or connects to (WATCHED_FILE)."""

import os
import sys

_EVENTS = {"socket.connect": 1, "socket.getaddrinfo": 0, "socket.gethostbyname": 0}
"""Which argument of the event is the address."""
_LOCAL = ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", None)


def _watch(event: str, arguments: tuple) -> None:
    place = _EVENTS.get(event)
    if place is None:
        return
    address = arguments[place]
    host = address[0] if isinstance(address, tuple) else address
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if isinstance(address, str) and address.startswith("/"):  # a Unix socket
        return
    if host not in _LOCAL:
        with open(os.environ["WATCHED_FILE"], "a", encoding="utf-8") as file:  # noqa: PTH123 - before anything is imported
            file.write(f"{event} {host} by {sys.argv[:2]}\n")


if "WATCHED_FILE" in os.environ:
    sys.addaudithook(_watch)
