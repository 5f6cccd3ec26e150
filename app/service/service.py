"""The service object: what every protocol shares. Built in the application's lifespan and handed down."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.audio.declared import DeclaredSound
from app.audio.decoding import DecoderPool
from app.domain.engines import Capabilities, Recognizer, SpeakerModels, VoiceActivityDetector
from app.domain.errors import (
    BadAudio,
    EngineFailure,
    ModelStoreError,
    ModelUnavailable,
    SpeechError,
    UnknownModel,
    UnsupportedFeature,
)
from app.domain.options import RecognitionOptions
from app.domain.speakers import Voiceprint
from app.domain.transcript import Segment, Transcript
from app.modelstore.catalog import CATALOG, ModelEntry
from app.modelstore.machine import read_machine
from app.modelstore.selection import Choice, choose, wanted
from app.modelstore.store import ModelStore
from app.pipeline.batching import Batcher
from app.pipeline.chinese import ChineseWriting
from app.pipeline.diarization.diarizer import Diarizer
from app.service import leftovers
from app.service.admission import Admission, Caller, Ticket
from app.service.loading import compute_threads, existing_engines, load_detector, load_recognizer, load_speakers
from app.service.transcription import Tools, Transcription
from app.service.voices.store import VoiceStore
from app.settings import Settings

_logger = logging.getLogger(__name__)

_SLACK_SECONDS = 3600.0
_DEFAULT_NAMES = frozenset({"", "string", "gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-transcribe-diarize"})
"""Names that clients send without choosing: nothing, Swagger's placeholder, OpenAI's own."""
_DEFAULT_PREFIXES = ("whisper", "gpt-4o-mini-transcribe")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that answers now. `created` is the epoch second it was loaded."""

    id: str
    created: int
    capabilities: Capabilities
    description: str


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A model in memory and what runs it."""

    served: ServedModel
    recognizer: Recognizer
    batcher: Batcher


class SpeechService:
    """Recognition for protocols: resolve a model by the caller's name, transcribe a file with it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.choice: Choice = choose(settings, read_machine(), existing_engines())
        self.failure: SpeechError | None = None
        self._store = ModelStore(settings)
        self._decoders = DecoderPool(
            workers=settings.threads,
            temp_dir=settings.temp_dir,
            max_seconds=settings.max_audio_seconds,
            timeout=settings.decode_timeout_seconds,
        )
        self._compute = compute_threads("recognise", settings.threads)
        # Detection is short beside recognition; on threads of its own it never waits for a call to end.
        self._detection = compute_threads("detect", settings.threads)
        self._detector: VoiceActivityDetector | None = None
        self._diarizer: Diarizer | None = None
        self.speakers_failure: SpeechError | None = None
        self.voices = VoiceStore(settings.data_dir / "voices.db", max_voices=settings.max_voices)
        self._loaded: dict[str, _Loaded] = {}
        self._chinese = ChineseWriting()
        self._admission = Admission(
            max_requests=settings.max_requests,
            max_wait=settings.max_wait_seconds,
            timeout=settings.request_timeout_seconds,
            keys=len(settings.keys),
        )

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load the models and warm the decoders up. A failure is kept in `failure`, so that health can tell it."""
        started = time.monotonic()
        # No request lasts longer than this after its file was last written to.
        longest = self.settings.request_timeout_seconds + self.settings.decode_timeout_seconds + _SLACK_SECONDS
        try:
            await asyncio.to_thread(leftovers.prepare, self.settings.temp_dir, longest)
            # Both to their end, whatever becomes of the other: decoders that are still starting cannot be closed.
            for outcome in await asyncio.gather(self._decoders.start(), self._load_models(), return_exceptions=True):
                if outcome is not None:
                    raise outcome
        except SpeechError as error:
            self.failure = error
            _logger.error("not ready: %s", error.message)
            return
        except OSError:
            self.failure = EngineFailure("TEMP_DIR cannot be used; the server's log says why.")
            _logger.exception("not ready")
            return
        except Exception:  # this task ends here, and health must not say "loading" for ever
            self.failure = EngineFailure("The model could not be loaded; the server's log says why.")
            _logger.exception("not ready")
            return
        _logger.info("ready in %.1f s: %s, %s", time.monotonic() - started, self.choice.model_id, self.choice.reason)
        for model_id, reason in self.choice.passed_over:
            _logger.warning("%s would be the better model here, but %s", model_id, reason)

    async def close(self) -> None:
        """End the decoders and free the models. Requests in progress must have ended."""
        await self._decoders.close()
        for threads in (self._detection, self._compute):
            threads.shutdown(wait=True, cancel_futures=True)
        await self.voices.close()
        for loaded in self._loaded.values():
            loaded.recognizer.close()

    async def _load_models(self) -> None:
        entry = _model_entry(self.choice.model_id)
        detector = next(model for model in CATALOG.models if model.role == "vad")
        loop = asyncio.get_running_loop()
        # On a compute thread, so that the threads an engine starts inherit its niceness.
        self._detector = await loop.run_in_executor(
            self._compute, lambda: load_detector(detector, self._store.ensure(detector.id), self.settings)
        )
        recognizer = await loop.run_in_executor(
            self._compute, lambda: load_recognizer(entry, self._store.ensure(entry.id), self.settings)
        )
        served = ServedModel(entry.id, int(time.time()), recognizer.capabilities, entry.title)
        await self._load_speakers()
        self._loaded[entry.id] = _Loaded(served, recognizer, Batcher(recognizer, self._compute))

    async def _load_speakers(self) -> None:
        """What tells speakers apart, unless it is off. Without it everything else is served, and the log says so."""
        loop = asyncio.get_running_loop()
        try:
            for model_id in wanted(self.settings):
                entry = _model_entry(model_id)
                load = partial(self._loaded_speakers, entry)
                models = await loop.run_in_executor(self._detection, load)
                self._diarizer = Diarizer(
                    models.segmenter,
                    models.encoder,
                    self._detection,
                    parallel=self.settings.threads,
                    threshold=self.settings.voice_threshold,
                )
        except SpeechError as error:
            self.speakers_failure = error
            _logger.error("speakers will not be told apart: %s", error.message)
        except Exception:  # this attempt ends here, and everything else can be served
            self.speakers_failure = EngineFailure("What tells speakers apart could not be loaded.")
            _logger.exception("speakers will not be told apart")

    def _loaded_speakers(self, entry: ModelEntry) -> SpeakerModels:
        folder = self._store.locate(entry.id)
        if folder is None:  # what could not be fetched before is not waited for again now
            raise ModelStoreError("The models that tell speakers apart are not on this machine.")
        return load_speakers(entry, folder, self.settings)

    # --- models -------------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether requests can be answered."""
        return bool(self._loaded) and self._detector is not None

    @property
    def active(self) -> int:
        """Requests in progress."""
        return self._admission.active

    @property
    def waiting_pieces(self) -> int:
        """Pieces that wait for a recogniser."""
        return sum(loaded.batcher.waiting for loaded in self._loaded.values())

    def models(self) -> list[ServedModel]:
        """Models that answer now, the default first."""
        return [loaded.served for loaded in self._loaded.values()]

    def resolve(self, name: str | None) -> ServedModel:
        """The model a caller means by `name`.

        None, "", "string", OpenAI's own names and whisper* mean the default.

        Raises:
            UnknownModel: nobody knows it, or it is not loaded (the message names what is).
            ModelUnavailable: still loading.
        """
        if not self.ready:
            reason = self.failure.message if self.failure else "The model is still loading."
            raise ModelUnavailable(reason)
        wanted = (name or "").strip().lower()
        default = next(iter(self._loaded.values())).served
        if wanted in self._loaded:
            return self._loaded[wanted].served
        if wanted in _DEFAULT_NAMES or wanted.startswith(_DEFAULT_PREFIXES):
            return default
        known = CATALOG.model(wanted)
        if known is None and self.settings.asr_unknown_model == "default":
            return default
        problem = "is not loaded" if known is not None and known.role == "asr" else "does not exist"
        raise UnknownModel(
            f"The model '{(name or '')[:100]}' {problem}. Available: {', '.join(self._loaded)}.", param="model"
        )

    # --- recognition --------------------------------------------------------------------------------------------------

    def admit(self, caller: Caller) -> Ticket:
        """A place for a request; to be asked before its body is read. Leaving the ticket frees the place.

        Raises:
            Overloaded: it would wait too long, or there is no place.
        """
        return self._admission.enter(caller)

    async def transcribe(
        self, path: Path, model: str, options: RecognitionOptions, ticket: Ticket, declared: DeclaredSound | None = None
    ) -> Transcript:
        """A whole recording's transcript. `model` is a ServedModel's id. The file and the ticket stay the caller's.

        `declared` is what the file's bytes are if they have no container.

        Raises:
            SpeechError: any leaf; text never goes missing from a success.
        """
        ticket.begin()
        async with aclosing(self._work(path, model, options, ticket, declared)) as work:
            async for item in work:
                if isinstance(item, Transcript):
                    return item
        raise AssertionError("a recognition ends with its transcript")

    def stream(
        self,
        path: Path,
        model: str,
        options: RecognitionOptions,
        ticket: Ticket,
        declared: DeclaredSound | None = None,
    ) -> AsyncIterator[Segment | Transcript]:
        """Segments in order as pieces finish, then the Transcript they make. Same errors as `transcribe`."""
        ticket.begin(streamed=True)
        return self._work(path, model, options, ticket, declared)

    async def _work(
        self,
        path: Path,
        model: str,
        options: RecognitionOptions,
        ticket: Ticket,
        declared: DeclaredSound | None = None,
    ) -> AsyncGenerator[Segment | Transcript, None]:
        loaded = self._loaded[model]
        tools = self._ready_tools()
        if options.speakers is not None and not options.split_channels:
            self.check_speakers()
        recording = await ticket.in_time(self._decoders.decode(path, declared, split=options.split_channels))
        with recording:
            work = Transcription(tools, loaded.recognizer, loaded.batcher, options, ticket)
            async with aclosing(work.run(recording)) as items:
                async for item in items:
                    yield item

    def _ready_tools(self) -> Tools:
        if self._detector is None:
            raise ModelUnavailable("The model is still loading.")
        return Tools(self._detector, self._detection, self._chinese, self.settings.max_segment_sec, self._diarizer)

    # --- speakers -----------------------------------------------------------------------------------------------------

    @property
    def tells_speakers(self) -> bool:
        """Whether speakers can be told apart."""
        return self._diarizer is not None

    def check_speakers(self) -> None:
        """Make sure that speakers can be told apart.

        Raises:
            UnsupportedFeature, ModelUnavailable: they cannot.
        """
        self._speaker_tools()

    @property
    def encoder_id(self) -> str:
        """The model that makes voiceprints.

        Raises:
            UnsupportedFeature, ModelUnavailable: there is none.
        """
        return self._speaker_tools().encoder_id

    @property
    def voice_threshold(self) -> float:
        """The least similarity at which a known voice is recognised."""
        return self.settings.voice_threshold

    async def voiceprint(
        self, path: Path, ticket: Ticket, declared: DeclaredSound | None = None, param: str = "file"
    ) -> Voiceprint:
        """What the one voice in the recording at `path` sounds like; `param` names it in errors.

        Raises:
            SpeechError: any leaf; AudioTooShort where there is hardly any speech, InvalidParameter where several speak.
        """
        tools, diarizer = self._ready_tools(), self._speaker_tools()
        try:
            recording = await ticket.in_time(self._decoders.decode(path, declared))
        except BadAudio as error:
            raise type(error)(error.message, param=param) from error
        with recording:
            spans = await ticket.in_time(tools.spans(recording, RecognitionOptions()))
            return await ticket.in_time(diarizer.voiceprint(recording, spans, param=param))

    def _speaker_tools(self) -> Diarizer:
        if self._diarizer is not None:
            return self._diarizer
        if self.settings.speaker_diarization == "off":
            raise UnsupportedFeature("Speakers are not told apart on this server (SPEAKER_DIARIZATION=off).")
        raise ModelUnavailable(
            self.speakers_failure.message if self.speakers_failure else "The model is still loading."
        )


def _model_entry(model_id: str) -> ModelEntry:
    entry = CATALOG.model(model_id)
    if entry is None:
        raise UnknownModel(f"The catalog has no model {model_id}.", param="model")
    return entry
