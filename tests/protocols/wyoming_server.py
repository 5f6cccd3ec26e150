"""A real server that speaks Wyoming's protocol, with a service whose streams follow a script, and a plain client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ends import Ends
from fastapi import FastAPI
from live_service import Listened, LiveService
from openai_server import wait_until

from app.ports import ServedTcp, TcpServer
from app.protocols.wyoming.events import LONGEST_LINE
from app.protocols.wyoming.tcp import protocol_of
from app.service.auth import KeyRing
from app.settings import Settings

PATIENCE = 20.0
SPEECH = {"rate": 16_000, "width": 2, "channels": 1}
"""What Home Assistant sends."""
SECOND = bytes(32_000)


@dataclass(frozen=True)
class Told:
    """An event that came."""

    type: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass
class WyomingServer:
    port: int
    service: LiveService
    state: Any
    server: TcpServer
    ends: Ends

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self.server._talks)

    @property
    def listened(self) -> Listened:
        """The latest stream."""
        return self.service.listened[-1]

    @contextlib.contextmanager
    def talk(self) -> Iterator[Talk]:
        """A connection."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            talk = Talk(connection)
            with talk.incoming:  # which would keep the connection open
                yield talk


class Talk:
    """A client that says what it is told to."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.incoming = connection.makefile("rb")

    def say(self, kind: str, data: object = None, payload: bytes = b"", /, **header: object) -> None:
        """An event; `header` adds to its line, or changes it."""
        extra = b"" if data is None else json.dumps(data).encode()
        line = {"type": kind, "data_length": len(extra), "payload_length": len(payload), **header}
        self.connection.sendall(json.dumps(line).encode() + b"\n" + extra + payload)

    def speak(self, *chunks: bytes, ask: dict[str, object] | None = None, form: dict[str, int] = SPEECH) -> None:
        """A transcription from its beginning to its end."""
        if ask is not None:
            self.say("transcribe", ask)
        self.say("audio-start", form)
        for chunk in chunks:
            self.say("audio-chunk", form, chunk)
        self.say("audio-stop", {"timestamp": None})

    def next(self) -> Told | None:
        """The next event; None when the server has ended the connection."""
        line = self.incoming.readline()
        if not line:
            return None
        header = json.loads(line)
        data = json.loads(self.incoming.read(header["data_length"])) if "data_length" in header else {}
        assert "payload_length" not in header
        return Told(header["type"], data)

    def until(self, kind: str) -> list[Told]:
        """Events up to the first of that type."""
        events: list[Told] = []
        while not events or events[-1].type != kind:
            event = self.next()
            assert event is not None, events
            events.append(event)
        return events

    def transcript(self) -> list[Told]:
        """Events up to the end of a transcript."""
        return self.until("transcript-stop")

    def error(self) -> Told:
        """The error that comes next, after which the server has nothing to say."""
        event = self.next()
        assert event is not None and event.type == "error", event
        assert self.next() is None
        return event


@contextlib.contextmanager
def serving_wyoming(temp: Path, *, keys: tuple[str, ...] = (), **settings: object) -> Iterator[WyomingServer]:
    """A server that lives as long as the block, and ends as on SIGTERM."""
    data = temp.with_name(f"{temp.name}-data")
    service = LiveService(Settings(_env_file=None, temp_dir=temp, data_dir=data, **settings))
    main = FastAPI()
    served = ServedTcp(protocol_of(main), LONGEST_LINE, "127.0.0.1", 0, "WYOMING_PORT")
    main.state.service = service  # after the protocol was made, as in a lifespan
    main.state.keyring = KeyRing(keys)
    main.state.lifecycle = ends = Ends()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    port = listener.getsockname()[1]
    server = TcpServer(served)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    try:
        yield WyomingServer(port, service, main.state, server, ends)
        assert wait_until(lambda: all(listened.left for listened in service.listened)), "a stream was left open"
    finally:
        server.handle_exit(15, None)
        server.handle_exit(2, None)
        thread.join(10)
        asyncio.run(service.voices.close())
        asyncio.run(service.vocabularies.close())
    assert not thread.is_alive(), "the server did not end"
