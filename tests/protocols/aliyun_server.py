"""A real server that speaks Alibaba Cloud's protocol, with a service whose streams follow a script.

A message of sound is a name in `AliyunService.script`, and what happens is what stands there: events, or an error that
the stream fails with. What stands there as "" happens at the stream's end, before Closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from openai_server import KEY, OTHER_KEY, FakeService
from served import served
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from app.audio.declared import DeclaredSound
from app.domain.errors import SpeechError
from app.domain.events import Closed, Final, Partial, SpeechStarted, SpeechStopped, StreamEvent
from app.domain.options import LiveOptions, RecognitionOptions
from app.domain.transcript import Segment, Word
from app.protocols.aliyun.ws import router
from app.service.admission import Caller
from app.service.auth import KeyRing
from app.settings import Settings

PATIENCE = 20.0
HELLO_WORDS = (
    Word("Hello,", 0.52, 0.9, 0.9),
    Word("world.", 1.0, 1.6, 0.8),
)


def final(index: int, start: float, end: float, text: str, words: tuple[Word, ...] = ()) -> Final:
    """What an utterance says, certain 0.8 s after its end."""
    segments = (Segment(start, end, text, words),) if text else ()
    return Final(index, start, end, end + 0.8, text, segments)


SCRIPT: dict[str, Sequence[StreamEvent | Exception]] = {
    "begins": [SpeechStarted(1, 0.5)],
    "hello": [Partial(1, 0.5, 1.0, "Hello", "Hello")],
    "hello world": [Partial(1, 0.5, 1.7, "Hello, world", "Hello")],
    "pause": [SpeechStopped(1, 1.6, 2.4), final(1, 0.5, 1.6, "Hello, world.", HELLO_WORDS)],
    "noise": [SpeechStarted(2, 3.0), SpeechStopped(2, 3.2, 4.0), final(2, 3.0, 3.2, "")],
    "more": [
        SpeechStarted(3, 5.0),
        Partial(3, 5.0, 5.9, "How", "How"),
        SpeechStopped(3, 6.2, 7.0),
        final(3, 5.0, 6.2, "How are you?"),
    ],
    "": [],
}


@dataclass
class Heard:
    """One stream, for tests to look at."""

    model: str
    options: RecognitionOptions
    live: LiveOptions
    caller: Caller
    declared: DeclaredSound | None
    fed: list[bytes] = field(default_factory=list)
    finished: bool = False
    left: bool = False

    @property
    def data(self) -> bytes:
        return b"".join(self.fed)


class ScriptedStream:
    def __init__(self, heard: Heard, service: AliyunService) -> None:
        self._heard = heard
        self._service = service
        self._events: asyncio.Queue[StreamEvent | Exception] = asyncio.Queue()
        self._failure: SpeechError | None = None

    async def feed(self, data: bytes) -> None:
        if self._failure:
            raise self._failure
        await asyncio.sleep(self._service.slow)
        self._heard.fed.append(data)
        self._say(data.decode(errors="replace"))

    async def finish(self) -> None:
        self._heard.finished = True
        self._say("")
        self._events.put_nowait(Closed(self._service.seconds))

    async def events(self) -> AsyncIterator[StreamEvent]:
        while True:
            event = await self._events.get()
            await asyncio.sleep(self._service.late)
            if isinstance(event, Exception):
                raise event
            yield event
            if isinstance(event, Closed):
                return

    def _say(self, name: str) -> None:
        for event in self._service.script.get(name, ()):
            if isinstance(event, SpeechError):
                self._failure = event
            self._events.put_nowait(event)


class AliyunService(FakeService):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.forget()

    def forget(self) -> None:
        """As new, for the next test. `slow` is how long each message takes to hear, `late` how long each event takes
        to be told, `seconds` how long all sound is."""
        self.script = dict(SCRIPT)
        self.refusal: Exception | None = None
        self.slow = self.late = 0.0
        self.seconds = 8.0
        self.heard: list[Heard] = []

    @contextlib.asynccontextmanager
    async def listen(
        self,
        model: str,
        options: RecognitionOptions,
        live: LiveOptions,
        caller: Caller,
        declared: DeclaredSound | None = None,
    ) -> AsyncGenerator[ScriptedStream, None]:
        if self.refusal is not None:
            raise self.refusal
        heard = Heard(model, options, live, caller, declared)
        self.heard.append(heard)
        try:
            yield ScriptedStream(heard, self)
        finally:
            heard.left = True


@dataclass
class AliyunServer:
    port: int
    service: AliyunService

    @property
    def heard(self) -> Heard:
        """The latest stream."""
        return self.service.heard[-1]

    @contextlib.contextmanager
    def talk(
        self, path: str = "/ws/v1", *, headers: Mapping[str, str] | None = None, speech: str = "Transcription"
    ) -> Iterator[Talk]:
        """A connection of a client with a good token, or other headers."""
        headers = {"X-NLS-Token": KEY} if headers is None else headers
        address = f"ws://127.0.0.1:{self.port}{path}"
        with connect(address, additional_headers=headers, open_timeout=PATIENCE, proxy=None) as connection:
            yield Talk(connection, speech)


@dataclass
class Talk:
    """A client that says what it is told to."""

    connection: ClientConnection
    speech: str
    task_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def namespace(self) -> str:
        return {"Transcription": "SpeechTranscriber", "Recognition": "SpeechRecognizer"}[self.speech]

    def say(self, name: str, payload: object = None, **header: object) -> None:
        """A command; `header` replaces fields of its header, None leaves one out."""
        given = {"message_id": uuid.uuid4().hex, "task_id": self.task_id, "namespace": self.namespace, "name": name}
        given |= {"appkey": "default", **header}
        message: dict[str, object] = {"header": {key: value for key, value in given.items() if value is not None}}
        self.send(json.dumps(message if payload is None else {**message, "payload": payload}))

    def send(self, *messages: str | bytes) -> None:
        for message in messages:
            self.connection.send(message)

    def start(self, **payload: object) -> dict[str, Any]:
        """Start, and the answer."""
        self.say(f"Start{self.speech}", payload)
        return self.next()

    def stop(self) -> list[dict[str, Any]]:
        """Stop, and all that comes up to the last message."""
        self.say(f"Stop{self.speech}")
        return self.until(f"{self.speech}Completed")

    def next(self) -> dict[str, Any]:
        return json.loads(self.connection.recv(PATIENCE))

    def until(self, name: str) -> list[dict[str, Any]]:
        """The messages up to the first of that name."""
        messages = [self.next()]
        while messages[-1]["header"]["name"] not in {name, "TaskFailed"}:
            messages.append(self.next())
        assert messages[-1]["header"]["name"] == name, messages[-1]["header"]
        return messages

    def ends(self) -> int:
        """The code that the connection is closed with, after nothing more."""
        try:
            message = self.connection.recv(PATIENCE)
        except ConnectionClosed:
            return self.connection.close_code or 0
        raise AssertionError(message)

    def fails(self) -> tuple[int, str]:
        """The failure that comes next: its status, and its text."""
        header = self.next()["header"]
        assert (header["namespace"], header["name"]) == ("Default", "TaskFailed")
        return header["status"], header["status_text"]

    def goes_on(self) -> bool:
        """Whether a task can be had on this connection."""
        self.task_id = uuid.uuid4().hex
        return self.start()["header"]["name"] == f"{self.speech}Started"


def named(messages: Sequence[Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    """The payloads of messages of a name."""
    return [message.get("payload") for message in messages if message["header"]["name"] == name]  # type: ignore[misc]


def names(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    return [message["header"]["name"] for message in messages]


@contextlib.contextmanager
def serving_aliyun(
    temp: Path, *, keys: tuple[str, ...] = (KEY, OTHER_KEY), **settings: object
) -> Iterator[AliyunServer]:
    """A server that lives as long as the block."""
    data = temp.with_name(f"{temp.name}-data")
    service = AliyunService(Settings(_env_file=None, temp_dir=temp, data_dir=data, **settings))
    app = FastAPI()
    app.state.service = service
    app.state.keyring = KeyRing(keys)
    app.include_router(router)
    try:
        with served(app) as port:
            yield AliyunServer(port, service)
    finally:
        asyncio.run(service.vocabularies.close())
