"""A real server that speaks OpenAI's Realtime protocol, with a service whose streams follow a script."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from ends import Ends
from fastapi import FastAPI
from live_service import LiveService, Script, final
from openai_server import KEY, OTHER_KEY
from served import served
from websockets.sync.client import ClientConnection, connect

from app.domain.events import Committed, Partial, SpeechStarted, SpeechStopped
from app.protocols.errors import Faces
from app.protocols.openai import errors
from app.protocols.openai.realtime import http, ws
from app.service.auth import KeyRing
from app.service.secrets import EphemeralKeys
from app.service.uploads import UploadGuard
from app.settings import Settings

SECOND = bytes(48_000)
"""Of sound at 24 kHz."""
TRANSCRIPTION = "conversation.item.input_audio_transcription"


@dataclass
class Talk:
    """A client that sends what it is told to."""

    connection: ClientConnection
    received: list[dict[str, Any]] = field(default_factory=list)

    def say(self, kind: str, **fields: Any) -> None:
        self.connection.send(json.dumps({"type": kind, **fields}))

    def update(self, **heard: Any) -> dict[str, Any]:
        """Change the session's audio input; the session as it is then."""
        self.say("session.update", session={"type": "transcription", "audio": {"input": heard}})
        return self.until("session.updated")[-1]["session"]["audio"]["input"]

    def hear(self, sound: bytes = SECOND) -> None:
        self.say("input_audio_buffer.append", audio=base64.b64encode(sound).decode())

    def next(self, seconds: float = 15.0) -> dict[str, Any]:
        message = json.loads(self.connection.recv(seconds))
        self.received.append(message)
        return message

    def until(self, kind: str) -> list[dict[str, Any]]:
        """The messages up to the first of a kind."""
        messages = [self.next()]
        while messages[-1]["type"] != kind:
            messages.append(self.next())
        return messages

    def failure(self) -> dict[str, Any]:
        """The next message, which is an error."""
        message = self.next()
        assert message["type"] == "error", message
        return message["error"]

    def answers_nothing(self) -> bool:
        """Whether there is nothing to be told: a harmless question is answered next."""
        self.say("session.update", session={})
        return self.next()["type"] == "session.updated"


@dataclass
class RealtimeServer:
    port: int
    service: LiveService
    keys: EphemeralKeys
    ends: Ends

    @contextlib.contextmanager
    def talk(
        self,
        *,
        key: str | None = KEY,
        query: str = "?intent=transcription",
        subprotocols: list[str] | None = None,
        headers: dict[str, str] | None = None,
        greeted: bool = True,
    ) -> Iterator[Talk]:
        """A connection; where it is `greeted`, the first message was received."""
        sent = {**(headers or {}), **({"authorization": f"Bearer {key}"} if key else {})}
        url = f"ws://127.0.0.1:{self.port}/v1/realtime{query}"
        with connect(url, additional_headers=sent, subprotocols=subprotocols, open_timeout=20) as connection:  # type: ignore[arg-type]
            talk = Talk(connection)
            if greeted:
                talk.next()
            yield talk

    def post(self, path: str, body: Any, *, key: str = KEY) -> httpx.Response:
        url = f"http://127.0.0.1:{self.port}/v1/realtime/{path}"
        return httpx.post(url, json=body, headers={"authorization": f"Bearer {key}"}, timeout=20)


def utterance(index: int, fed: int, text: str, *stable: str, start: float | None = None) -> Script:
    """What an utterance of a second says, once so many bytes were fed."""
    begin = float(index) if start is None else start
    events = [
        SpeechStarted(index, begin),
        *(Partial(index, begin, begin + 0.5, some, some) for some in stable),
        SpeechStopped(index, begin + 1, begin + 1.5),
        final(index, begin, begin + 1, text),
    ]
    return [(fed, event) for event in events]


def committed(index: int, time: float, text: str, *stable: str) -> Script:
    """What the client's commit ends: an utterance that goes on since its first sound."""
    return [
        (1, SpeechStarted(index, 0.2)),
        *((1, Partial(index, 0.2, 0.9, some, some)) for some in stable),
        ("commit", SpeechStopped(index, time, time)),
        ("commit", Committed(index, True, time)),
        ("commit", final(index, 0.2, time, text)),
    ]


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    """Types, without what most of them begin with."""
    return [
        str(message["type"]).removeprefix(f"{TRANSCRIPTION}.").removeprefix("input_audio_buffer.")
        for message in messages
    ]


def deltas(messages: list[dict[str, Any]]) -> str:
    return "".join(message["delta"] for message in messages if message["type"] == f"{TRANSCRIPTION}.delta")


@contextlib.contextmanager
def serving_realtime(
    temp: Path, *, keys: tuple[str, ...] = (KEY, OTHER_KEY), **settings: object
) -> Iterator[RealtimeServer]:
    """A server that lives as long as the block."""
    data = temp.with_name(f"{temp.name}-data")
    service = LiveService(Settings(_env_file=None, temp_dir=temp, data_dir=data, **settings))
    app = FastAPI()
    app.include_router(http.router)
    app.include_router(ws.router)
    faces = Faces(errors.face)
    faces.install(app)
    app.state.service = service
    app.state.lifecycle = ends = Ends()
    app.state.keyring = keyring = KeyRing(keys)
    app.state.ephemeral_keys = ephemeral = EphemeralKeys()
    app.add_middleware(
        UploadGuard,
        keyring=keyring,
        max_bytes=service.settings.max_audio_size,
        idle_seconds=service.settings.upload_idle_seconds,
        refuse=faces.refusal,
    )
    try:
        with served(app) as port:
            yield RealtimeServer(port, service, ephemeral, ends)
    finally:
        asyncio.run(service.voices.close())
        asyncio.run(service.vocabularies.close())
