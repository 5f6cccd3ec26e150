"""A real server that speaks vLLM's realtime dialect, with a service whose streams follow a script."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ends import Ends
from fastapi import FastAPI, WebSocket
from live_service import Listened, LiveService
from served import served
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from app.protocols.sockets import Socket
from app.protocols.vllm.session import talk
from app.service.admission import Caller
from app.settings import Settings

PATIENCE = 20.0
CALLER = Caller("somebody")
SECOND = bytes(32_000)


@dataclass
class VllmServer:
    port: int
    service: LiveService
    ends: Ends

    @property
    def listened(self) -> Listened:
        """The latest stream."""
        return self.service.listened[-1]

    @contextlib.contextmanager
    def talk(self, **update: object) -> Iterator[Talk]:
        """A connection that was greeted and has said its first message."""
        with connect(f"ws://127.0.0.1:{self.port}/", open_timeout=PATIENCE, proxy=None) as connection:
            talk = Talk(connection)
            talk.say("session.update", **{"model": "able", **update})
            yield talk


@dataclass
class Talk:
    """A client that says what it is told to."""

    connection: ClientConnection

    def say(self, kind: str, **fields: object) -> None:
        self.connection.send(json.dumps({"type": kind, **fields}))

    def speak(self, *chunks: bytes) -> None:
        for chunk in chunks:
            self.say("input_audio_buffer.append", audio=base64.b64encode(chunk).decode())

    def commit(self, **fields: object) -> None:
        self.say("input_audio_buffer.commit", **fields)

    def next(self) -> dict[str, Any]:
        return json.loads(self.connection.recv(PATIENCE))

    def until(self, kind: str) -> list[dict[str, Any]]:
        """The messages up to the first of that type."""
        messages = [self.next()]
        while messages[-1]["type"] != kind:
            messages.append(self.next())
        return messages

    def closing(self) -> tuple[int, str]:
        """How the server ends the connection, which is what it does next."""
        try:
            message = self.connection.recv(PATIENCE)
        except ConnectionClosed as closed:
            assert closed.rcvd is not None
            return closed.rcvd.code, closed.rcvd.reason
        raise AssertionError(message)


def done(text: str, tokens: int = 0) -> Mapping[str, Any]:
    """The last message of a stretch of sound."""
    usage = {"prompt_tokens": 0, "completion_tokens": tokens, "total_tokens": tokens}
    return {"type": "transcription.done", "text": text, "usage": usage}


@contextlib.contextmanager
def serving_vllm(temp: Path) -> Iterator[VllmServer]:
    """A server that lives as long as the block."""
    service = LiveService(Settings(_env_file=None, temp_dir=temp, data_dir=temp / "data", max_hotwords=3))
    app = FastAPI()
    app.state.lifecycle = ends = Ends()

    @app.websocket("/")
    async def route(websocket: WebSocket) -> None:
        socket = Socket(websocket)
        await socket.accept()
        first = await socket.receive()
        assert isinstance(first, str)
        await talk(socket, service, CALLER, json.loads(first))

    try:
        with served(app) as port:
            yield VllmServer(port, service, ends)
    finally:
        asyncio.run(service.voices.close())
        asyncio.run(service.vocabularies.close())
