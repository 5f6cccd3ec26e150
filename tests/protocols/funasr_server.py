"""A real server that speaks FunASR's protocol on two ports, with a service whose streams follow a script.

What a recording says is what its bytes say, as in openai_server. A live stream follows the script of its service.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from live_service import Cue, LiveService
from openai_server import KEY
from served import served
from websockets.sync.client import ClientConnection, connect

from app.protocols.funasr import ws
from app.service.admission import Admission
from app.service.auth import KeyRing
from app.settings import Settings

AT_THE_END: Cue = "finish"


class FunasrService(LiveService):
    """Its script's recordings have places to wait for, too."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        timeout = settings.request_timeout_seconds
        self._admission = Admission(max_requests=settings.max_requests, max_wait=30, timeout=timeout)


@dataclass
class FunasrServer:
    """`port` is the application's, `bare` the port of FunASR's own."""

    port: int
    bare: int
    service: FunasrService
    temp: Path

    @contextlib.contextmanager
    def talk(
        self, *, key: str | None = KEY, url: str | None = None, subprotocols: list[str] | None = None
    ) -> Iterator[Talk]:
        """A connection."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        with connect(
            url or f"ws://127.0.0.1:{self.port}/ws/funasr",
            additional_headers=headers,
            subprotocols=subprotocols,  # type: ignore[arg-type]
            open_timeout=20,
        ) as connection:
            yield Talk(connection)


@dataclass
class Talk:
    """A client that sends what it is told to."""

    connection: ClientConnection
    received: list[dict[str, Any]] = field(default_factory=list)

    def say(self, *messages: dict[str, Any] | bytes | str) -> None:
        for message in messages:
            self.connection.send(json.dumps(message) if isinstance(message, dict) else message)

    def next(self, seconds: float = 15.0) -> dict[str, Any]:
        message = json.loads(self.connection.recv(seconds))
        self.received.append(message)
        return message

    def until_final(self) -> list[dict[str, Any]]:
        """The messages up to the first final one."""
        messages = [self.next()]
        while not messages[-1]["is_final"]:
            messages.append(self.next())
        return messages

    def nothing_comes(self, seconds: float = 0.3) -> bool:
        try:
            self.connection.recv(seconds)
        except TimeoutError:
            return True
        return False


@contextlib.contextmanager
def serving_funasr(temp: Path, *, keys: tuple[str, ...] = (KEY,), **settings: object) -> Iterator[FunasrServer]:
    """A server that lives as long as the block."""
    data = temp.with_name(f"{temp.name}-data")
    service = FunasrService(Settings(_env_file=None, temp_dir=temp, data_dir=data, **settings))
    main = FastAPI()
    main.include_router(ws.router)
    bare = ws.application_of(main)
    main.state.service = service  # after the other was made, as in a lifespan
    main.state.keyring = KeyRing(keys)
    try:
        with served(main) as port, served(bare) as bare_port:  # type: ignore[arg-type]  # any application will do
            yield FunasrServer(port, bare_port, service, temp)
    finally:
        asyncio.run(service.voices.close())
        asyncio.run(service.vocabularies.close())
