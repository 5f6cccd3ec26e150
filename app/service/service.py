"""The service object: what every protocol shares. Built in the application's lifespan and handed down."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from app.audio.declared import DeclaredSound
from app.audio.decoding import DecoderPool
from app.audio.fetching.fetcher import Fetcher
from app.audio.storing import room_for_recording
from app.domain.errors import BadAudio, EngineFailure, ModelUnavailable, SpeechError, UnsupportedFeature
from app.domain.hotwords import Hotword
from app.domain.options import LiveOptions, RecognitionOptions
from app.domain.speakers import Voiceprint
from app.domain.transcript import Segment, Spoken, Transcript
from app.modelstore.selection import Choice
from app.pipeline.hotwords.parsing import parse_hotwords
from app.service import leftovers
from app.service.admission import Admission, Caller, Ticket
from app.service.improving import Improvement
from app.service.languages import LEADING_SECONDS, HeardLanguage, heard_language
from app.service.live import LiveAdmission, LiveTools, live_stream
from app.service.loading import compute_threads
from app.service.models import Models, ModelState
from app.service.residents import ServedModel
from app.service.transcription import Tools, Transcription
from app.service.vocabularies.store import VocabularyStore
from app.service.voices.store import VoiceStore
from app.settings import Settings
from app.streaming.stream import LiveStream

if TYPE_CHECKING:
    from app.pipeline.diarization.diarizer import Diarizer

_logger = logging.getLogger(__name__)

_SLACK_SECONDS = 3600.0
_LOADING = "The model is still loading."
_ID = re.compile(r"vocab_\w+|[0-9a-f]{32}")
"""What a stored vocabulary is called here, and at Alibaba Cloud, from where clients may bring ids."""


class SpeechService:
    """Recognition for protocols: resolve a model by the caller's name, transcribe a file with it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.failure: SpeechError | None = None
        self._decoders = DecoderPool(
            workers=settings.threads,
            temp_dir=settings.temp_dir,
            max_seconds=settings.max_audio_seconds,
            timeout=settings.decode_timeout_seconds,
        )
        self._fetcher = Fetcher(
            networks=settings.audio_address_networks,
            max_bytes=settings.max_audio_size,
            seconds=settings.audio_address_seconds,
            idle_seconds=settings.upload_idle_seconds,
        )
        # Detection is short beside recognition; on threads of its own it never waits for a call to end.
        self._detection = compute_threads("detect", settings.threads)
        # And live speech never waits for an hour of sound to be gone through.
        self._listening = compute_threads("listen", settings.threads)
        self._models = Models(settings, self._detection)
        self._background: set[asyncio.Task[None]] = set()
        self._improvement = Improvement(self._models)
        self._improving: asyncio.Task[None] | None = None
        self.voices = VoiceStore(settings.data_dir / "voices.db", max_voices=settings.max_voices)
        self.vocabularies = VocabularyStore(
            settings.data_dir / "vocabularies.db",
            max_vocabularies=settings.max_vocabularies,
            max_hotwords=settings.max_hotwords,
        )
        self._admission = Admission(
            max_requests=settings.max_requests,
            max_wait=settings.max_wait_seconds,
            timeout=settings.request_timeout_seconds,
            keys=len(settings.keys),
        )
        self._live = LiveAdmission(settings.max_live_streams, len(settings.keys))

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load the models and warm the decoders up. A failure is kept in `failure`, so that health can tell it."""
        started = time.monotonic()
        # No request lasts longer than this after its file was last written to.
        longest = self.settings.request_timeout_seconds + self.settings.decode_timeout_seconds + _SLACK_SECONDS
        try:
            await asyncio.to_thread(leftovers.prepare, self.settings.temp_dir, longest)
            # Both to their end, whatever becomes of the other: decoders that are still starting cannot be closed.
            for outcome in await asyncio.gather(self._decoders.start(), self._models.load(), return_exceptions=True):
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
        self._improve()
        self._begin(self._models.load_more())

    async def close(self) -> None:
        """End the decoders and free the models. Requests in progress must have ended."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._fetcher.close()
        await self._decoders.close()
        self._detection.shutdown(wait=True, cancel_futures=True)
        self._listening.shutdown(wait=True, cancel_futures=True)
        await self.voices.close()
        await self.vocabularies.close()
        await self._models.close()

    def _improve(self) -> None:
        """See to it that what is missing is fetched."""
        if self._improving is None or self._improving.done():
            self._improving = self._begin(self._improvement.run())

    def _begin(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    # --- models -------------------------------------------------------------------------------------------------------

    @property
    def choice(self) -> Choice:
        """The model this machine serves, and why."""
        return self._models.choice

    @property
    def ready(self) -> bool:
        """Whether requests can be answered."""
        return self._models.ready

    @property
    def device(self) -> str:
        """What DEVICE meant on this machine when the server started: cpu, or a card, as cuda:0."""
        return self._models.device

    @property
    def active(self) -> int:
        """Requests in progress."""
        return self._admission.active

    @property
    def active_streams(self) -> int:
        """Live streams that go on."""
        return self._live.active

    @property
    def waiting_pieces(self) -> int:
        """Pieces that wait for a recogniser."""
        return self._models.waiting_pieces

    @property
    def punctuates(self) -> bool:
        """Whether text that was recognised without marks gets some."""
        return self._models.writing.punctuator is not None

    @property
    def writes_numbers(self) -> bool:
        """Whether numbers said as words are written in digits."""
        return self._models.writing.numbers is not None

    @property
    def has_language_model(self) -> bool:
        """Whether the default model decodes with a language model."""
        return self._models.has_language_model

    def models(self) -> list[ServedModel]:
        """Models that answer now, the default first."""
        return self._models.served()

    def resolve(self, name: str | None) -> ServedModel:
        """The model a caller means by `name`; see Models.resolve.

        Raises:
            UnknownModel: nobody knows it, or it is not loaded (the message names what is).
            ModelUnavailable: still loading.
        """
        self._check_ready()
        return self._models.resolve(name)

    def states(self) -> list[ModelState]:
        """Which models are in memory, the default first, and which were to be and are not."""
        return self._models.states()

    async def load_model(self, model_id: str) -> ServedModel:
        """Have a model of this machine answer beside those that do; see Models.admit for errors.

        Raises:
            ModelUnavailable: the first is still loading.
        """
        self._check_ready()
        served = await self._models.admit(model_id)
        self._improve()  # it may be served better with something that is not here
        return served

    async def unload_model(self, model_id: str) -> str:
        """End a model's answering, and free it once nobody uses it; see Models.unload for errors. Returns its id.

        Raises:
            ModelUnavailable: the first is still loading.
        """
        self._check_ready()
        return await self._models.unload(model_id)

    def _check_ready(self) -> None:
        if not self.ready:
            raise ModelUnavailable(self.failure.message if self.failure else _LOADING)

    # --- recognition --------------------------------------------------------------------------------------------------

    def admit(self, caller: Caller) -> Ticket:
        """A place for a request; to be asked before its body is read. Leaving the ticket frees the place.

        Raises:
            Overloaded: it would wait too long, or there is no place.
        """
        return self._admission.enter(caller)

    @asynccontextmanager
    async def fetched(self, url: str, ticket: Ticket, *, param: str = "audio_address") -> AsyncGenerator[Path, None]:
        """Where the recording at an address lies, which is removed when the block ends. Errors name `param`.

        Raises:
            InvalidParameter: it is no http or https address.
            AddressNotFetched: it cannot be had, or must not.
            UploadTooLarge, EmptyAudio: it has more bytes than this server takes, or none.
            DeadlineExceeded: the request's time is over.
            Overloaded: too many names are being looked up, or the disk is nearly full.
            EngineFailure: the disk does not take it.
        """
        with room_for_recording(self.settings.temp_dir) as room:
            await ticket.in_time(self._fetcher.fetch(url, room, param=param, key=ticket.key))
            yield Path(room.name)

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
        *,
        early: bool = False,
    ) -> AsyncIterator[Segment | Spoken | Transcript]:
        """Segments in order as pieces finish, then the Transcript they make. Same errors as `transcribe`.

        `early`: text comes ahead of them as Spoken, some of it while its piece is still heard (see Transcription).
        """
        ticket.begin(streamed=True)
        return self._work(path, model, options, ticket, declared, early=early)

    async def language(
        self, path: Path, model: str, ticket: Ticket, declared: DeclaredSound | None = None
    ) -> HeardLanguage:
        """The language of a recording's leading speech. Arguments are those of `transcribe`.

        Raises:
            SpeechError: any leaf.
        """
        ticket.begin()
        with self._models.using(model) as resident:
            loaded = await ticket.in_time(resident.ready())
            tools = self._ready_tools()
            decoding = self._decoders.decode(path, declared, leading=LEADING_SECONDS)
            with await ticket.in_time(decoding) as recording:
                return await heard_language(recording, tools, loaded, ticket)

    @asynccontextmanager
    async def listen(
        self,
        model: str,
        options: RecognitionOptions,
        live: LiveOptions,
        caller: Caller,
        declared: DeclaredSound | None = None,
    ) -> AsyncGenerator[LiveStream, None]:
        """A live stream, heard by a ServedModel's id. Leaving it drops everything at once.

        `declared` is what its bytes are; None: the beginning of a file says.

        Raises:
            Overloaded: there are as many as may be.
            UnknownModel, ModelUnavailable: the model does not answer any more, or cannot be had now.
            UndecodableAudio: `declared` is what nobody sends.
            UnsupportedFeature, ModelUnavailable: speakers are asked for and cannot be told apart.
        """
        with self._live.place(caller), self._models.using(model) as resident:
            loaded = await resident.ready()
            if options.speakers is not None:
                self.check_speakers()
            async with live_stream(self._live_tools(), loaded, options, live, declared, key=caller.key) as stream:
                yield stream

    def _live_tools(self) -> LiveTools:
        models = self._models
        if models.detector is None:
            raise ModelUnavailable(_LOADING)
        helpers = models.helpers
        return LiveTools(
            models.detector,
            self._listening,
            models.writing,
            self.settings,
            helpers.streaming,
            helpers.live_punctuator,
            models.diarizer,
        )

    async def _work(
        self,
        path: Path,
        model: str,
        options: RecognitionOptions,
        ticket: Ticket,
        declared: DeclaredSound | None = None,
        *,
        early: bool = False,
    ) -> AsyncGenerator[Segment | Spoken | Transcript, None]:
        with self._models.using(model) as resident:
            loaded = await ticket.in_time(resident.ready())
            tools = self._ready_tools()
            if options.speakers is not None and not options.split_channels:
                self.check_speakers()
            recording = await ticket.in_time(self._decoders.decode(path, declared, split=options.split_channels))
            with recording:
                work = Transcription(tools, loaded.recognizer, loaded.batcher, options, ticket, early=early)
                async with aclosing(work.run(recording)) as items:
                    async for item in items:
                        yield item

    def _ready_tools(self) -> Tools:
        models = self._models
        if models.detector is None:
            raise ModelUnavailable(_LOADING)
        return Tools(models.detector, self._detection, models.writing, self.settings.max_segment_sec, models.diarizer)

    # --- hotwords -----------------------------------------------------------------------------------------------------

    async def vocabulary(self, owner: str, said: str, *, param: str) -> tuple[Hotword, ...]:
        """The hotwords of the stored vocabulary or class of words whose id is `said`; or, as in funasr-api, those that
        `said` lists.

        Raises:
            UnknownVocabulary: it is an id, and `owner` has stored none of that id.
            InvalidParameter: it is neither.
            VocabulariesUnavailable: the database cannot be used.
        """
        if _ID.fullmatch(said.strip()):
            return await self.vocabularies.hotwords_of(owner, said.strip(), param=param)
        return parse_hotwords(said, param=param, most=self.settings.max_hotwords)

    # --- speakers -----------------------------------------------------------------------------------------------------

    @property
    def tells_speakers(self) -> bool:
        """Whether speakers can be told apart."""
        return self._models.diarizer is not None

    def check_speakers(self, *, param: str | None = None) -> None:
        """Make sure that speakers can be told apart. `param` is the field that asks for it, for errors.

        Raises:
            UnsupportedFeature, ModelUnavailable: they cannot.
        """
        self._speaker_tools(param)

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

    def _speaker_tools(self, param: str | None = None) -> Diarizer:
        if self._models.diarizer is not None:
            return self._models.diarizer
        if self.settings.speaker_diarization == "off":
            told = "Speakers are not told apart on this server (SPEAKER_DIARIZATION=off)."
            raise UnsupportedFeature(told, param=param)
        failure = self._models.speakers_failure
        raise ModelUnavailable(failure.message if failure else _LOADING)
