"""One recording or live stream from its admission to its end, with the models and tools that the service has ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import ExitStack, aclosing, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from app.audio.declared import DeclaredSound
from app.audio.recording import Recording
from app.audio.storing import room_for_recording
from app.domain.errors import ModelUnavailable
from app.domain.options import LiveOptions, RecognitionOptions
from app.domain.transcript import Segment, Spoken, Transcript
from app.service import logs
from app.service.admission import Caller, Ticket
from app.service.equipped import LOADING, EquippedService
from app.service.jobs.job import Kept
from app.service.languages import LEADING_SECONDS, HeardLanguage, heard_language
from app.service.live import LiveTools, live_stream
from app.service.partial import partial_transcript
from app.service.quotas import JOBS_ADDRESS, sound_of
from app.service.remembering import Memory, Watch
from app.service.residents import Loaded
from app.service.transcription import Tools, Transcription
from app.service.working import JobWork
from app.streaming.stream import LiveStream

_Given = ParamSpec("_Given")
_Drawn = TypeVar("_Drawn")
_Made = TypeVar("_Made")
JOBS: Final = "/v1/jobs"
"""The path that jobs are worked on under, whatever protocol they were asked in."""


class RecognisingService(EquippedService):
    """The part of the service that recognises. Another, SpeechService, sees to the models."""

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

    async def work_on(  # noqa: PLR0917 - a job is more than a request
        self,
        path: Path,
        model: str,
        options: RecognitionOptions,
        owner: str,
        declared: DeclaredSound | None,
        memory: Memory,
        watch: Watch,
        *,
        name: str = "-",
    ) -> Transcript:
        """A job's recording's transcript, in its own time, behind everybody else, however often it was interrupted.

        `owner` is a Caller's key, in whose name it is; `name` what the job is called among what runs. What `memory` has
        is not done again; its sound counts once it is planned. Other arguments are those of `transcribe`.

        Raises:
            EndedByOperator: somebody who runs this server ended it.
            SpeechError: any leaf; text never goes missing from a success.
            Exception: what `memory` raises.
        """
        caller = Caller(owner, address="" if owner else JOBS_ADDRESS, request_id=name, path=JOBS)
        with logs.named(name), self._job_admission.enter(caller) as ticket:
            self.running.admit(ticket)
            ticket.begin()
            job = JobWork(memory, watch)
            async with aclosing(self._work(path, model, options, ticket, declared, job=job)) as work:
                async for item in work:
                    if isinstance(item, Transcript):
                        return item
        raise AssertionError("a recognition ends with its transcript")

    async def read_kept(self, made: Callable[[], _Made]) -> _Made:
        """What `made` makes of what is kept of a job, in a thread that stands back."""
        return await self._job_tools.read(made)

    async def partial(self, kept: Kept, model: str, options: RecognitionOptions) -> Transcript:
        """What can be read of a job's recording, of which so much is kept; see partial_transcript.

        Raises:
            ModelUnavailable: the model with this id does not answer on this server now.
            EngineFailure: the punctuation model failed.
        """
        able = next((served.capabilities for served in self._models.served() if served.id == model), None)
        if able is None:
            raise ModelUnavailable(f"{model} does not answer on this server now. Ask again later.")
        writing = self._models.writing
        return await self._job_tools.read(partial(partial_transcript, kept, model, options, able, writing))

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
            with loaded.computing.presence.asking(), await ticket.in_time(decoding) as recording:
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
        job: JobWork | None = None,
    ) -> AsyncGenerator[Segment | Spoken | Transcript, None]:
        working = self.running.working(ticket, model)
        with ticket.worked_on(), working as running, self._models.using(model) as resident:
            loaded = await ticket.in_time(resident.ready())
            tools = self._ready_tools()
            if options.speakers is not None and not options.split_channels:
                self.check_speakers()
            running.step = "decode"
            # From here on: what is recognised in a moment must not find a job's long call in the way.
            with nullcontext() if job else loaded.computing.presence.asking():
                recording = await ticket.in_time(self._decoded(path, declared, options, job))
                running.step, running.audio = "detect", recording.duration
                with recording, self._counted(recording, ticket, job):
                    work = self._transcription(tools, loaded, options, ticket, early=early, job=job)
                    async with aclosing(work.run(recording)) as items:
                        async for item in items:
                            if isinstance(item, Transcript):
                                self.running.tell(item.text)
                                running.told = True
                            yield item

    async def _decoded(
        self, path: Path, declared: DeclaredSound | None, options: RecognitionOptions, job: JobWork | None
    ) -> Recording:
        if job is None:
            return await self._decoders.decode(path, declared, split=options.split_channels)
        job.watch.at("decode")
        recording = await self._job_tools.decode(path, declared, split=options.split_channels)
        job.watch.lasts(recording.duration * recording.time_scale)
        return recording

    @contextmanager
    def _counted(self, recording: Recording, ticket: Ticket, job: JobWork | None) -> Generator[None]:
        """A recording's sound counts from here on. A job's does once: when there is a plan of what is to be recognised,
        with which every later attempt begins; one that is interrupted before costs nothing."""
        seconds = sound_of(recording)
        if job is None:
            self.quotas.sound(ticket, seconds)
        elif job.memory.plan(0) is None:
            with self.quotas.job_sound(ticket.caller, seconds, lambda: job.memory.plan(0) is not None):
                yield
            return
        yield

    def _transcription(
        self,
        tools: Tools,
        loaded: Loaded,
        options: RecognitionOptions,
        ticket: Ticket,
        *,
        early: bool,
        job: JobWork | None,
    ) -> Transcription:
        """The work on a recording."""
        recognizer, batcher = loaded.recognizer, loaded.batcher
        if job is None:
            return Transcription(tools, recognizer, batcher, options, ticket, early=early)
        tools = self._job_tools.of(tools, loaded.computing.presence)
        return Transcription(tools, recognizer, batcher, options, ticket, memory=job.memory, watch=job.watch)
