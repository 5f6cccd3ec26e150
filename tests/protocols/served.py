"""An application on a real uvicorn server, on a free port, for as long as a test needs it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Literal

import uvicorn
from fastapi import FastAPI

from app.service.connections import GuardedHttp
from app.service.handshakes import TolerantWebSocket


@contextlib.contextmanager
def served(app: FastAPI, lifespan: Literal["on", "off"] = "off") -> Iterator[int]:
    """The port it listens on. With its `lifespan`, the application begins and ends as it does for a user."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_level="critical", lifespan=lifespan, access_log=False, http=GuardedHttp, ws=TolerantWebSocket
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(10)
