"""A real server that speaks OddASR's protocol on a port of its own, with a service whose streams follow a script."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from live_service import Listened, LiveService
from openai_server import KEY, OTHER_KEY
from served import served
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from app.protocols.oddasr.ws import application_of
from app.service.auth import KeyRing
from app.settings import Settings

PATIENCE = 20.0
START = {"name": "StartTranscription", "message_id": "", "token": "", "task_id": ""}
"""What OddASR's clients say first."""
STOP = {"service_type": "ASR", "msg_type": "STOP_SESSION_REQ"}
"""What its browser client says last."""


@dataclass
class OddServer:
    port: int
    service: LiveService
    state: Any

    @property
    def listened(self) -> Listened:
        """The latest stream."""
        return self.service.listened[-1]

    @contextlib.contextmanager
    def keys(self, *keys: str) -> Iterator[None]:
        """Other keys than usual: none, for a server that is open."""
        usual, self.state.keyring = self.state.keyring, KeyRing(keys)
        try:
            yield
        finally:
            self.state.keyring = usual

    @contextlib.contextmanager
    def talk(self, path: str = "/v1/asr", headers: Mapping[str, str] | None = None) -> Iterator[Talk]:
        """A connection; its key is to be in what is said."""
        address = f"ws://127.0.0.1:{self.port}{path}"
        with connect(address, additional_headers=headers, open_timeout=PATIENCE, proxy=None) as connection:
            yield Talk(connection)


@dataclass
class Talk:
    """A client that says what it is told to."""

    connection: ClientConnection

    def say(self, *messages: Mapping[str, Any] | bytes | str) -> None:
        for message in messages:
            self.connection.send(json.dumps(message) if isinstance(message, Mapping) else message)

    def start(self, **fields: object) -> dict[str, Any]:
        """Begin with a good key, and the answer."""
        self.say({**START, "token": KEY, **fields})
        return self.next()

    def next(self) -> dict[str, Any]:
        return json.loads(self.connection.recv(PATIENCE))

    def until_end(self) -> list[dict[str, Any]]:
        """The messages up to a session's last one, which is left out."""
        messages: list[dict[str, Any]] = []
        while (message := self.next())["payload"]["result"] != "END":
            messages.append(message)
        assert (message["header"]["name"], message["payload"]["fin"]) == ("SentenceEnd", 1)
        return messages

    def fails(self) -> tuple[int, str]:
        """The failure that comes next: its status, and its text."""
        header = self.next()["header"]
        assert header["status"] != 0
        return header["status"], header["status_text"]

    def ends(self) -> int:
        """The code that the connection is closed with, after nothing more."""
        try:
            message = self.connection.recv(PATIENCE)
        except ConnectionClosed:
            return self.connection.close_code or 0
        raise AssertionError(message)


@contextlib.contextmanager
def serving_oddasr(temp: Path, **settings: object) -> Iterator[OddServer]:
    """A server that lives as long as the block."""
    data = temp.with_name(f"{temp.name}-data")
    service = LiveService(Settings(_env_file=None, temp_dir=temp, data_dir=data, **settings))
    main = FastAPI()
    application = application_of(main)
    main.state.service = service  # after the other was made, as in a lifespan
    main.state.keyring = KeyRing((KEY, OTHER_KEY))
    try:
        with served(application) as port:  # type: ignore[arg-type]  # any application will do
            yield OddServer(port, service, main.state)
    finally:
        asyncio.run(service.voices.close())
        asyncio.run(service.vocabularies.close())
