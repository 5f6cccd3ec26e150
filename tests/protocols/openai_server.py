"""A real uvicorn server on a free port with the OpenAI face, its middleware, and a service whose answers are known.

The uploaded bytes say what the service does: a key of TRANSCRIPTS, or "fail <name>", "once <name>" (fails the
first time), "part <name>" (fails after the first segment), "slow", "stall" (slow after the first segment), "sleepy".
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from app.domain import errors
from app.domain.engines import Capabilities
from app.domain.options import RecognitionOptions
from app.domain.transcript import Segment, TokenLogprob, Transcript, Usage, Word
from app.protocols.openai import errors as openai_errors
from app.protocols.openai.http import router
from app.service.admission import Admission, Ticket
from app.service.auth import KeyRing
from app.service.connections import GuardedHttp
from app.service.service import ServedModel, SpeechService
from app.service.uploads import RequestId, UploadGuard
from app.settings import Settings

KEY = "test-key-one"
MAX_BYTES = 3 * 1024 * 1024

ABLE = ServedModel(
    "able",
    1_700_000_000,
    Capabilities(
        languages=frozenset({"zh", "en", "yue", "de"}),
        tasks=frozenset({"transcribe", "translate"}),
        max_seconds=30,
        preferred_seconds=15,
        word_times=True,
        prompt=True,
        hotwords=True,
        temperature=True,
        logprobs=True,
    ),
    "Can do everything.",
)
PLAIN = ServedModel(
    "group/plain",
    1_700_000_001,
    Capabilities(frozenset({"zh"}), frozenset({"transcribe"}), max_seconds=30, preferred_seconds=15),
    "Can do one thing.",
)


def characters(text: str, start: float, step: float) -> tuple[Word, ...]:
    """Words of one character each, punctuation attached to the one before."""
    words: list[Word] = []
    for character in text:
        if words and not character.isalnum():
            words[-1] = replace(words[-1], text=words[-1].text + character)
        else:
            at = start + len(words) * step
            words.append(Word(character, at, at + step, 0.9, space_before=False))
    return tuple(words)


def segment(text: str, start: float, end: float, words: tuple[Word, ...] = ()) -> Segment:
    tokens = tuple(TokenLogprob(piece, piece.encode(), -0.25) for piece in text)
    return Segment(
        start, end, text, words, None, tuple(range(len(text))), 0.0, -0.25, 1.1, 0.02, tokens
    )  # fmt: skip


_CHINESE = (
    segment("今天天气很好，", 0.0, 2.3, characters("今天天气很好，", 0.0, 0.3)),
    segment("我们去公园。", 2.5, 4.2, characters("我们去公园。", 2.5, 0.3)),
)
_ENGLISH_WORDS = tuple(
    Word(text, 0.5 * index, 0.5 * index + 0.4) for index, text in enumerate(["Hello", "there,", '"world".'])
)
_ENGLISH = (
    segment('Hello there, "world".', 0.0, 1.4, _ENGLISH_WORDS),
    segment("It's fine <b> & so on -->", 3.0, 4.0),
)
TRANSCRIPTS = {
    "zh": Transcript("今天天气很好，我们去公园。", "zh", 4.25, ABLE.id, _CHINESE, Usage(4.25, 400, 7, 13)),
    "en": Transcript(
        'Hello there, "world". It\'s fine <b> & so on -->', "en", 4.0, ABLE.id, _ENGLISH, Usage(4.0, 10, 0, 9)
    ),
    "empty": Transcript("", None, 1.0, ABLE.id, (), Usage(1.0)),
    "warned": Transcript("好", "zh", 1.0, ABLE.id, (segment("好", 0, 1),), Usage(1.0), ("audio_truncated",)),
    "odd": Transcript(
        "a", "en", 1.0, ABLE.id, (Segment(0.0, 1.0, "a", avg_logprob=float("-inf"), no_speech_prob=None),), Usage(1.0)
    ),
}
FAILURES: dict[str, Exception] = {
    "overloaded": errors.Overloaded("Too busy.", retry_after=0.2),
    "unavailable": errors.ModelUnavailable("Loading."),
    "engine": errors.EngineFailure("The recogniser died."),
    "undecodable": errors.UndecodableAudio("Not audio."),
    "short": errors.AudioTooShort("Audio file is too short."),
    "long": errors.AudioTooLong("More than MAX_AUDIO_SECONDS."),
    "store": errors.DownloadFailed("No mirror."),
    "bug": ZeroDivisionError("secret internals /tmp/x"),
}


@dataclass
class Calls:
    """What the service was asked, for tests to look at."""

    options: list[RecognitionOptions] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    modes: list[int] = field(default_factory=list)
    cancelled: int = 0


class FakeService(SpeechService):
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.calls = Calls()
        self._admission = Admission(max_requests=256, max_wait=30, timeout=3600)

    def models(self) -> list[ServedModel]:
        return [ABLE, PLAIN]

    def resolve(self, name: str | None) -> ServedModel:
        if name in {None, "", "string", "whisper-1", ABLE.id}:
            return ABLE
        if name == PLAIN.id:
            return PLAIN
        raise errors.UnknownModel("No such model here; there is able.", param="model")

    async def transcribe(
        self, path: Path, model: str, options: RecognitionOptions, ticket: Ticket, declared: object = None
    ) -> Transcript:
        async for item in self.stream(path, model, options, ticket):
            if isinstance(item, Transcript):
                return item
        raise AssertionError

    async def stream(
        self, path: Path, model: str, options: RecognitionOptions, ticket: Ticket, declared: object = None
    ) -> AsyncIterator[Segment | Transcript]:
        content = await asyncio.to_thread(path.read_bytes)
        self.calls.options.append(options)
        self.calls.models.append(model)
        self.calls.contents.append(content[:64])
        self.calls.modes.append((await asyncio.to_thread(path.stat)).st_mode & 0o777)
        verb, _, name = content[:64].decode(errors="replace").partition(" ")
        transcript = TRANSCRIPTS.get(verb, TRANSCRIPTS["zh"])
        try:
            if verb == "fail" or (verb == "once" and len(self.calls.options) == 1):
                raise FAILURES[name]
            if verb == "slow":
                await asyncio.sleep(30)
            for item in transcript.segments:
                yield item
                if verb == "part":
                    raise FAILURES[name]
                if verb == "sleepy":
                    await asyncio.sleep(0.5)
                if verb == "stall":
                    await asyncio.sleep(30)
            yield transcript
        except asyncio.CancelledError:
            self.calls.cancelled += 1
            raise


@dataclass
class Running:
    base: str
    service: FakeService
    temp: Path
    port: int

    @property
    def calls(self) -> Calls:
        return self.service.calls


def build(service: FakeService, keys: tuple[str, ...]) -> FastAPI:
    """The application as main assembles it."""
    app = FastAPI()
    app.state.service = service
    app.state.keyring = KeyRing([KEY])
    app.include_router(router)
    openai_errors.install(app)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/bug")
    def bug(number: int) -> None:
        raise FAILURES["bug"]

    app.add_middleware(
        UploadGuard,
        keyring=KeyRing(keys),
        max_bytes=service.settings.max_audio_size,
        idle_seconds=service.settings.upload_idle_seconds,
        refuse=openai_errors.refusal,
    )
    app.add_middleware(RequestId)
    return app


@contextlib.contextmanager
def serving(temp: Path, *, keys: tuple[str, ...] = (KEY,), **settings: object) -> Iterator[Running]:
    """A server that lives as long as the block."""
    service = FakeService(Settings(_env_file=None, temp_dir=temp, max_audio_size=f"{MAX_BYTES}B", **settings))
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        build(service, keys), log_level="critical", lifespan="off", access_log=False, http=GuardedHttp
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield Running(f"http://127.0.0.1:{port}", service, temp, port)
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(10)


def wait_until(condition: object, seconds: float = 5.0) -> bool:
    """Whether `condition()` becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False
