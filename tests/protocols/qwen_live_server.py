"""A real server that speaks Qwen's live protocol, with a service whose streams follow a script."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from live_service import Listened, LiveService, Script, final
from openai_server import KEY, OTHER_KEY
from served import served
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from app.domain.events import Partial, SpeechStarted, SpeechStopped
from app.domain.transcript import Word
from app.protocols.qwen.ws import PATH, router
from app.service.auth import KeyRing
from app.settings import Settings

PATIENCE = 20.0
SECOND = bytes(32_000)


def utterance(
    index: int, fed: int, text: str, *partials: str, silence: float = 2.0, words: tuple[Word, ...] = ()
) -> Script:
    """One that begins at second `index` and lasts one; its partials are a second apart."""
    start = float(index)
    end = start + 1
    return [
        (fed, SpeechStarted(index, start)),
        *((fed, Partial(index, start, start + at, some, "")) for at, some in enumerate(partials, 1)),
        (fed, SpeechStopped(index, end, end + silence)),
        (fed, replace(final(index, start, end, text, words), time=end + silence)),
    ]


def current(messages: list[dict[str, Any]]) -> list[tuple[int, int, str]]:
    """Segment, number and text of each result."""
    results = [result for message in messages if message["type"] == "result" for result in message["results"]]
    return [(result["segment_index"], result["chunk_id"], result["current_segment_text"]) for result in results]


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


@dataclass
class QwenServer:
    port: int
    service: LiveService

    @property
    def listened(self) -> Listened:
        """The latest stream."""
        return self.service.listened[-1]

    @contextlib.contextmanager
    def talk(self, query: str = "", *, key: str | None = KEY, path: str = PATH) -> Iterator[Talk]:
        """A connection."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        address = f"ws://127.0.0.1:{self.port}{path}{query}"
        with connect(address, additional_headers=headers, open_timeout=PATIENCE, proxy=None) as connection:
            yield Talk(connection)


@dataclass
class Talk:
    """A client that says what it is told to."""

    connection: ClientConnection
    received: list[dict[str, Any]] = field(default_factory=list)

    def say(self, *messages: Mapping[str, Any] | bytes | str) -> None:
        for message in messages:
            self.connection.send(message if isinstance(message, bytes | str) else json.dumps(message))

    def start(self, **payload: object) -> dict[str, Any]:
        """Start, and the answer."""
        self.say({"type": "start", "payload": payload})
        return self.next()

    def stop(self) -> list[dict[str, Any]]:
        """Stop, and all that comes up to the last message."""
        self.say({"type": "stop"})
        return self.until("final")

    def next(self) -> dict[str, Any]:
        message = json.loads(self.connection.recv(PATIENCE))
        self.received.append(message)
        return message

    def until(self, kind: str) -> list[dict[str, Any]]:
        """The messages up to the first of that type."""
        messages = [self.next()]
        while messages[-1]["type"] not in {kind, "error"}:
            messages.append(self.next())
        assert messages[-1]["type"] == kind, messages[-1]
        return messages

    def fails(self) -> str:
        """The code of the failure that comes next."""
        message = self.next()
        assert message["type"] == "error", message
        return message["error_code"]

    def ends(self) -> int:
        """The code that the connection is closed with, after nothing more."""
        try:
            message = self.connection.recv(PATIENCE)
        except ConnectionClosed:
            return self.connection.close_code or 0
        raise AssertionError(message)


@contextlib.contextmanager
def serving_qwen(temp: Path, *, keys: tuple[str, ...] = (KEY, OTHER_KEY), **settings: object) -> Iterator[QwenServer]:
    """A server that lives as long as the block."""
    data = temp.with_name(f"{temp.name}-data")
    service = LiveService(Settings(_env_file=None, temp_dir=temp, data_dir=data, **settings))
    app = FastAPI()
    app.state.service = service
    app.state.keyring = KeyRing(keys)
    app.include_router(router)
    try:
        with served(app) as port:
            yield QwenServer(port, service)
    finally:
        asyncio.run(service.voices.close())
        asyncio.run(service.vocabularies.close())
