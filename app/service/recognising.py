"""One recording or live stream from its admission to its end, with the models and tools that the service has ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import ExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from app.audio.declared import DeclaredSound
from app.audio.decoding import DecoderPool
from app.audio.fetching.fetcher import Fetcher
from app.audio.storing import room_for_recording
from app.domain.errors import BadAudio, ModelUnavailable, UnsupportedFeature
from app.domain.meters import NO_METER, Meter
from app.domain.options import LiveOptions, RecognitionOptions
from app.domain.speakers import Voiceprint
from app.domain.transcript import Segment, Spoken, Transcript
from app.service.admission import Admission, Caller, Ticket
from app.service.languages import LEADING_SECONDS, HeardLanguage, heard_language
from app.service.live import LiveAdmission, LiveTools, live_stream
from app.service.loading import compute_threads
from app.service.models import Models
from app.service.quotas import Quotas, sound_of
from app.service.running import Register
from app.service.transcription import Tools, Transcription
from app.settings import Settings
from app.streaming.stream import LiveStream

if TYPE_CHECKING:
    from app.pipeline.diarization.diarizer import Diarizer

_Given = ParamSpec("_Given")
_Drawn = TypeVar("_Drawn")
LOADING: Final = "The model is still loading."


class RecognisingService:
    """The half of the service that recognises. The other, SpeechService, sees to the models."""

    def __init__(self, settings: Settings, meter: Meter = NO_METER) -> None:
        """`meter` is told what is worth counting."""
        self.settings = settings
        self.meter = meter
        self.running = Register(meter, transcripts=settings.log_transcripts)
        self._decoders = DecoderPool(
            workers=settings.threads,
            temp_dir=settings.temp_dir,
            max_seconds=settings.max_audio_seconds,
            timeout=settings.decode_timeout_seconds,
            meter=meter,
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
        self._models = Models(settings, self._detection, meter)
        self._admission = Admission(
            max_requests=settings.max_requests,
            max_wait=settings.max_wait_seconds,
            timeout=settings.request_timeout_seconds,
            keys=len(settings.keys),
        )
        self._live = LiveAdmission(settings.max_live_streams, len(settings.keys))
        self.quotas = Quotas.of(settings)

    # --- recognition --------------------------------------------------------------------------------------------------

    def admit(self, caller: Caller) -> Ticket:
        """A place for a request; to be asked before its body is read. Leaving the ticket frees the place.

        Raises:
            Overloaded: it would wait too long, there is no place, or its caller has made as many as it may.
        """
        with self.running.refusing(caller):
            ticket = self.quotas.request(caller, self._admission.enter)
        self.running.admit(ticket)
        return ticket

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
            began = time.monotonic()
            await ticket.in_time(self._fetcher.fetch(url, room, param=param, key=ticket.key))
            self.meter.stage("fetch", time.monotonic() - began)
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

    async def drawing(self, draw: Callable[_Given, _Drawn], *given: _Given.args, **named: _Given.kwargs) -> _Drawn:
        """What `draw` makes of a transcript for its protocol. In a thread: a day of words takes a second to draw, and
        the loop has live sessions to serve."""
        began = time.monotonic()
        drawn = await asyncio.to_thread(draw, *given, **named)
        self.meter.stage("render", time.monotonic() - began)
        return drawn

    async def language(
        self, path: Path, model: str, ticket: Ticket, declared: DeclaredSound | None = None
    ) -> HeardLanguage:
        """The language of a recording's leading speech. Arguments are those of `transcribe`.

        Raises:
            SpeechError: any leaf.
        """
        ticket.begin()
        working = self.running.working(ticket, model)
        with ticket.worked_on(), working as running, self._models.using(model) as resident:
            loaded = await ticket.in_time(resident.ready())
            tools = self._ready_tools()
            running.step = "decode"
            decoding = self._decoders.decode(path, declared, leading=LEADING_SECONDS)
            with await ticket.in_time(decoding) as recording:
                self.quotas.sound(ticket, recording.duration)
                running.step, running.audio = "detect", recording.duration
                heard = await heard_language(recording, tools, loaded, ticket)
            running.told = True
            return heard

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
            Overloaded: there are as many as may be, or as its caller may have.
            UnknownModel, ModelUnavailable: the model does not answer any more, or cannot be had now.
            UndecodableAudio: `declared` is what nobody sends.
            UnsupportedFeature, ModelUnavailable: speakers are asked for and cannot be told apart.
        """
        await self.quotas.stream_room(caller)
        with ExitStack() as stack:
            with self.running.refusing(caller):
                allowance = stack.enter_context(self.quotas.stream(caller))
                stack.enter_context(self._live.place(caller))
            place = stack.enter_context(self.running.streaming(caller, model))
            loaded = await place.unless_ended(stack.enter_context(self._models.using(model)).ready())
            if options.speakers is not None:
                self.check_speakers()
            tools, key = self._live_tools(), caller.key
            listening = live_stream(tools, loaded, options, live, declared, key=key, allowance=allowance)
            async with listening as stream:
                yield place.listened(stream)

    def _live_tools(self) -> LiveTools:
        models = self._models
        if models.detector is None:
            raise ModelUnavailable(LOADING)
        helpers = models.helpers
        return LiveTools(
            models.detector,
            self._listening,
            models.writing,
            self.settings,
            helpers.streaming,
            helpers.live_punctuator,
            models.diarizer,
            self.meter,
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
        working = self.running.working(ticket, model)
        with ticket.worked_on(), working as running, self._models.using(model) as resident:
            loaded = await ticket.in_time(resident.ready())
            tools = self._ready_tools()
            if options.speakers is not None and not options.split_channels:
                self.check_speakers()
            running.step = "decode"
            recording = await ticket.in_time(self._decoders.decode(path, declared, split=options.split_channels))
            running.step, running.audio = "detect", recording.duration
            with recording:
                self.quotas.sound(ticket, sound_of(recording))
                work = Transcription(tools, loaded.recognizer, loaded.batcher, options, ticket, early=early)
                async with aclosing(work.run(recording)) as items:
                    async for item in items:
                        if isinstance(item, Transcript):
                            self.running.tell(item.text)
                            running.told = True
                        yield item

    def _ready_tools(self) -> Tools:
        models = self._models
        if models.detector is None:
            raise ModelUnavailable(LOADING)
        return Tools(
            models.detector,
            self._detection,
            models.writing,
            self.settings.max_segment_sec,
            models.diarizer,
            self.meter,
        )

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
        with ticket.worked_on(), self.running.working(ticket, diarizer.encoder_id, voice=True) as running:
            running.step = "decode"
            try:
                recording = await ticket.in_time(self._decoders.decode(path, declared))
            except BadAudio as error:
                raise type(error)(error.message, param=param) from error
            running.step, running.audio = "detect", recording.duration
            with recording:
                self.quotas.sound(ticket, recording.duration)
                spans = await ticket.in_time(tools.spans(recording, RecognitionOptions()))
                ticket.worked, running.step = True, "recognise"
                voiceprint = await ticket.in_time(diarizer.voiceprint(recording, spans, param=param))
            running.told = True
            return voiceprint

    def _speaker_tools(self, param: str | None = None) -> Diarizer:
        if self._models.diarizer is not None:
            return self._models.diarizer
        if self.settings.speaker_diarization == "off":
            told = "Speakers are not told apart on this server (SPEAKER_DIARIZATION=off)."
            raise UnsupportedFeature(told, param=param)
        failure = self._models.speakers_failure
        raise ModelUnavailable(failure.message if failure else LOADING)
