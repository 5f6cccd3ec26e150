"""A real uvicorn server on a free port with the OpenAI face, its middleware, and a service whose answers are known.

The uploaded bytes say what the service does: a key of TRANSCRIPTS, or "fail <name>", "once <name>" (fails the
first time), "part <name>" (fails after the first segment), "slow", "stall" (slow after the first segment), "sleepy".
A reference's bytes say what its voiceprint is made from, or "fail <name>", "crowd" (several speak), "slow".
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from fastapi import FastAPI
from served import served

from app.audio.declared import DeclaredSound
from app.audio.fetching.fetcher import Fetcher
from app.domain import errors
from app.domain.engines import Capabilities
from app.domain.meters import NO_METER
from app.domain.options import RecognitionOptions
from app.domain.speakers import Speaker, Voiceprint
from app.domain.transcript import Segment, TokenLogprob, Transcript, Usage, Word, join_texts
from app.protocols.errors import Faces
from app.protocols.funasr import http as funasr_http
from app.protocols.openai import errors as openai_errors
from app.protocols.openai.http import router
from app.protocols.spellings import Spellings
from app.protocols.voices.http import router as voices_router
from app.protocols.whisper_asr import errors as whisper_asr_errors
from app.protocols.whisper_asr.http import router as whisper_asr_router
from app.service.admission import Admission, Ticket
from app.service.auth import KeyRing
from app.service.languages import HeardLanguage
from app.service.models import ServedModel
from app.service.quotas import Quotas
from app.service.running import Register
from app.service.service import SpeechService
from app.service.uploads import RequestId, UploadGuard
from app.service.vocabularies.store import VocabularyStore
from app.service.voices.store import VoiceStore
from app.settings import Settings

KEY = "test-key-one"
OTHER_KEY = "test-key-two"
ENCODER = "encoder-one"
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
UNMARKED = ServedModel(
    "group/unmarked",
    1_700_000_002,
    Capabilities(
        languages=frozenset({"zh", "en"}),
        tasks=frozenset({"transcribe"}),
        max_seconds=60,
        preferred_seconds=20,
        word_times=True,
        punctuates=False,
        writes_numbers=False,
        detects_language=False,
    ),
    "Writes neither marks nor digits.",
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


def spoken(speaker: Speaker, segment: Segment) -> Segment:
    """The segment with a speaker."""
    words = tuple(replace(word, speaker=speaker) for word in segment.words)
    return replace(segment, speaker=speaker, words=words)


def conversation(*segments: Segment) -> Transcript:
    """A transcript of people who speak in turn, or at once."""
    speakers = tuple(dict.fromkeys(segment.speaker for segment in segments if segment.speaker))
    text = join_texts(segment.text for segment in segments)
    return Transcript(text, "zh", 6.5, ABLE.id, segments, Usage(6.5, 650, 0, 30), speakers=speakers)


_FIRST, _ANNA, _THIRD = Speaker(0), Speaker(1, "Anna"), Speaker(2)
_TWO = (
    spoken(_FIRST, segment("今天天气很好，", 0.0, 1.8, characters("今天天气很好，", 0.0, 0.3))),
    spoken(_ANNA, segment("Hello there!", 1.5, 2.4, (Word("Hello", 1.5, 1.9), Word("there!", 2.0, 2.4)))),
    spoken(_FIRST, segment("我们去公园。", 2.2, 3.7, characters("我们去公园。", 2.2, 0.3))),
)
TRANSCRIPTS = {
    "two": conversation(*_TWO),
    "three": conversation(*_TWO, spoken(_THIRD, segment("好啊。", 4.0, 4.6, characters("好啊。", 4.0, 0.3)))),
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
class Reference:
    """A recording that a voiceprint was asked of."""

    content: bytes
    mode: int
    declared: DeclaredSound | None
    param: str


@dataclass
class Calls:
    """What the service was asked, for tests to look at."""

    options: list[RecognitionOptions] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    modes: list[int] = field(default_factory=list)
    declared: list[DeclaredSound | None] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    cancelled: int = 0


class FakeService(SpeechService):
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.meter = NO_METER
        self.calls = Calls()
        self.voices = VoiceStore(settings.data_dir / "voices.db", max_voices=settings.max_voices)
        self.vocabularies = VocabularyStore(
            settings.data_dir / "vocabularies.db",
            max_vocabularies=settings.max_vocabularies,
            max_hotwords=settings.max_hotwords,
        )
        self._models = SimpleNamespace(  # type: ignore[assignment]
            diarizer=None, speakers_failure=None, writing=None, has_language_model=False, device="cpu"
        )
        self.can_write(punctuation=True, numbers=True)
        self.has_speakers(settings.speaker_diarization != "off")
        self._admission = Admission(max_requests=256, max_wait=30, timeout=settings.request_timeout_seconds)
        self.quotas = Quotas.of(settings)
        self.running = Register()
        self._fetcher = Fetcher(
            networks=settings.audio_address_networks,
            max_bytes=settings.max_audio_size,
            seconds=settings.audio_address_seconds,
            idle_seconds=settings.upload_idle_seconds,
        )

    def has_speakers(self, there: bool) -> None:
        """Whether what tells speakers apart could be loaded."""
        failure = None if there else errors.DownloadFailed("No mirror has the speaker models.")
        self._models.diarizer = SimpleNamespace(encoder_id=ENCODER) if there else None  # type: ignore[assignment]
        self._models.speakers_failure = failure

    def can_write(self, *, punctuation: bool, numbers: bool) -> None:
        """Whether marks and digits can be added to what a model writes without."""
        writing = SimpleNamespace(punctuator=punctuation or None, numbers=numbers or None)
        self._models.writing = writing  # type: ignore[assignment]

    def models(self) -> list[ServedModel]:
        return [ABLE, PLAIN]

    def resolve(self, name: str | None) -> ServedModel:
        if name in {None, "", "string", "whisper-1", ABLE.id}:
            return ABLE
        for model in (PLAIN, UNMARKED):
            if name == model.id:
                return model
        raise errors.UnknownModel("No such model here; there is able.", param="model")

    async def transcribe(
        self, path: Path, model: str, options: RecognitionOptions, ticket: Ticket, declared: DeclaredSound | None = None
    ) -> Transcript:
        async for item in self.stream(path, model, options, ticket, declared):
            if isinstance(item, Transcript):
                return item
        raise AssertionError

    async def stream(
        self,
        path: Path,
        model: str,
        options: RecognitionOptions,
        ticket: Ticket,
        declared: DeclaredSound | None = None,
        *,
        early: bool = False,
    ) -> AsyncIterator[Segment | Transcript]:
        content = await asyncio.to_thread(path.read_bytes)
        self.calls.options.append(options)
        self.calls.models.append(model)
        self.calls.declared.append(declared)
        self.calls.contents.append(content[:64])
        self.calls.modes.append((await asyncio.to_thread(path.stat)).st_mode & 0o777)
        verb, _, name = content[:64].decode(errors="replace").partition(" ")
        transcript = TRANSCRIPTS.get(verb, TRANSCRIPTS["zh"])
        if options.speakers is None and not options.split_channels:
            transcript = nobody(transcript)
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

    async def language(
        self, path: Path, model: str, ticket: Ticket, declared: DeclaredSound | None = None
    ) -> HeardLanguage:
        transcript = await self.transcribe(path, model, RecognitionOptions(), ticket, declared)
        return HeardLanguage(transcript.language, 0.875 if transcript.language else 0.0)

    async def voiceprint(
        self, path: Path, ticket: Ticket, declared: DeclaredSound | None = None, param: str = "file"
    ) -> Voiceprint:
        content = await asyncio.to_thread(path.read_bytes)
        mode = (await asyncio.to_thread(path.stat)).st_mode & 0o777
        self.calls.references.append(Reference(content, mode, declared, param))
        verb, _, name = content[:64].decode(errors="replace").partition(" ")
        if not content:
            raise errors.EmptyAudio("The audio file is empty.", param=param)
        if verb == "fail":
            failure = FAILURES[name]
            raise type(failure)(failure.message, param=param) if isinstance(failure, errors.BadAudio) else failure
        if verb == "crowd":
            raise errors.InvalidParameter("The sample holds more than one voice.", param=param)
        if verb == "slow":
            try:
                await ticket.in_time(asyncio.sleep(30))
            except asyncio.CancelledError:
                self.calls.cancelled += 1
                raise
        return voiceprint(content[0])


def voiceprint(seed: int, encoder: str = ENCODER) -> Voiceprint:
    """A made-up voice."""
    embedding = np.random.default_rng(seed).standard_normal(192)
    return Voiceprint((embedding / np.linalg.norm(embedding)).astype(np.float32), 2.0, encoder)


def nobody(transcript: Transcript) -> Transcript:
    """The transcript where speakers are not told apart."""
    segments = tuple(
        replace(segment, speaker=None, words=tuple(replace(word, speaker=None) for word in segment.words))
        for segment in transcript.segments
    )
    return replace(transcript, segments=segments, speakers=())


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
    app.state.keyring = keyring = KeyRing(keys)
    app.include_router(router)
    app.include_router(voices_router)
    app.include_router(whisper_asr_router)
    app.include_router(funasr_http.router)
    others = dict.fromkeys(("/asr", "/detect-language"), whisper_asr_errors.face)
    faces = Faces(openai_errors.face, {**others, "/recognition": funasr_http.face})
    faces.install(app)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/bug")
    def bug(number: int) -> None:
        raise FAILURES["bug"]

    app.add_middleware(
        UploadGuard,
        keyring=keyring,
        max_bytes=service.settings.max_audio_size,
        idle_seconds=service.settings.upload_idle_seconds,
        refuse=faces.refusal,
    )
    app.add_middleware(Spellings)
    app.add_middleware(RequestId)
    return app


@contextlib.contextmanager
def serving(temp: Path, *, keys: tuple[str, ...] = (KEY,), **settings: object) -> Iterator[Running]:
    """A server that lives as long as the block."""
    data = temp.with_name(f"{temp.name}-data")
    given = {"temp_dir": temp, "data_dir": data, "max_audio_size": f"{MAX_BYTES}B", **settings}
    service = FakeService(Settings(_env_file=None, **given))
    try:
        with served(build(service, keys)) as port:
            yield Running(f"http://127.0.0.1:{port}", service, temp, port)
    finally:
        service._fetcher.close()
        asyncio.run(service.voices.close())
        asyncio.run(service.vocabularies.close())


def wait_until(condition: object, seconds: float = 5.0) -> bool:
    """Whether `condition()` becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False
