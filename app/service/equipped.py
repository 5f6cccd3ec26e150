"""What recordings and live streams are worked on with: decoders, threads, models, and room for those who ask."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from app.audio.declared import DeclaredSound
from app.audio.decoding import DecoderPool
from app.audio.fetching.fetcher import Fetcher
from app.domain.errors import BadAudio, ModelUnavailable, UnsupportedFeature
from app.domain.meters import NO_METER, Meter
from app.domain.options import RecognitionOptions
from app.domain.speakers import Voiceprint
from app.service.admission import Admission, Caller, Ticket
from app.service.live import LiveAdmission
from app.service.loading import compute_threads
from app.service.models import Models
from app.service.quotas import Quotas
from app.service.running import Register
from app.service.transcription import Tools
from app.service.working import JobTools
from app.settings import Settings

if TYPE_CHECKING:
    from app.pipeline.diarization.diarizer import Diarizer

LOADING: Final = "The model is still loading."
_MOST_HANDED_OVER: Final = 64
"""Jobs that are handed over at once: what they upload is on its way, and the voices that come with them are heard."""


class EquippedService:
    """The part of the service that has what it takes; RecognisingService works with it."""

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
        # Jobs' work is nobody's backlog: nobody waits, or is turned away, for it.
        self._handing_over = Admission(
            max_requests=_MOST_HANDED_OVER,
            max_wait=settings.max_wait_seconds,
            timeout=settings.request_timeout_seconds,
            keys=len(settings.keys),
        )
        self._job_admission = Admission(max_requests=sys.maxsize, max_wait=math.inf, timeout=math.inf)
        self._job_tools = JobTools(settings, meter)
        self._live = LiveAdmission(settings.max_live_streams, len(settings.keys))
        self.quotas = Quotas.of(settings)

    async def close_job_tools(self) -> None:
        """End what only jobs work with. None may be worked on any more."""
        await self._job_tools.close()

    # --- who is let in ------------------------------------------------------------------------------------------------

    def admit(self, caller: Caller) -> Ticket:
        """A place for a request; to be asked before its body is read. Leaving the ticket frees the place.

        Raises:
            Overloaded: it would wait too long, there is no place, or its caller has made as many as it may.
        """
        return self._let_in(caller, self._admission)

    def admit_job(self, caller: Caller) -> Ticket:
        """A place for the request that hands a job over, among others that do; as `admit`.

        Raises:
            Overloaded: there is none, or its caller has made as many requests as it may.
        """
        return self._let_in(caller, self._handing_over)

    def _let_in(self, caller: Caller, admission: Admission) -> Ticket:
        with self.running.refusing(caller):
            ticket = self.quotas.request(caller, admission.enter)
        self.running.admit(ticket)
        return ticket

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
