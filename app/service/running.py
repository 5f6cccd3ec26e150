"""What is being worked on: recordings and live streams, from the moment they are let in to their end, which is logged
and told to a meter."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol, TypeAlias, TypeVar

from app.domain.errors import EndedByOperator, NotRunning, Overloaded, SpeechError
from app.domain.events import Closed, Final, StreamEvent
from app.domain.meters import NO_METER, REFUSALS, Meter, Outcome
from app.service import logs
from app.service.admission import Caller, Ticket
from app.streaming.stream import LiveStream

Step: TypeAlias = Literal["upload", "load", "decode", "detect", "recognise", "answer", "listen"]
"""What a recording is at: its upload arrives, a model is loaded or waited for, it is decoded, its speech is found, its
pieces are recognised (or wait for that), it is drawn and sent; or that a stream is listened to."""
_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class Listening(LiveStream, Protocol):
    """A live stream as who keeps it sees it."""

    @property
    def heard(self) -> float:
        """Seconds of sound heard so far."""
        ...

    async def fail(self, error: SpeechError) -> None:
        """End it with this error."""
        ...


@dataclass(slots=True, eq=False)
class Running:
    """One recording or live stream. `audio` are the seconds that a recording lasts, 0 before it was decoded."""

    kind: Literal["recording", "stream"]
    caller: Caller
    end: Callable[[SpeechError], None]
    step: Step
    model: str = ""
    audio: float = 0.0
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    ticket: Ticket | None = None
    stream: Listening | None = None
    told: bool = False
    """Whether all of its text was."""
    failure: Exception | None = None
    """What its request ended with, as far as it failed."""

    @property
    def stage(self) -> Step:
        """What it is at."""
        if self.step == "detect" and self.ticket is not None and self.ticket.expected:
            return "recognise"
        return self.step

    @property
    def seconds(self) -> float:
        """How much sound there is, as far as that is known: of a stream, what was heard so far."""
        return self.stream.heard if self.stream is not None else self.audio

    @property
    def share(self) -> float | None:
        """How much of it is done, 0 to 1; None where that cannot be known."""
        return self.ticket.share if self.ticket is not None else None


class Register:
    """Everything that runs. Belongs to one event loop."""

    def __init__(self, meter: Meter = NO_METER, *, transcripts: bool = False) -> None:
        """`transcripts`: log what was said, too."""
        self._meter = meter
        self._transcripts = transcripts
        self._inside: dict[Running, None] = {}
        self._recordings: dict[Ticket, Running] = {}
        self._ends: set[asyncio.Task[None]] = set()

    @property
    def entries(self) -> list[Running]:
        """What runs, oldest first."""
        return list(self._inside)

    def end(self, name: str) -> int:
        """End what runs under a request's id; returns how many that were. Clients may choose ids, so there may be more.

        Raises:
            NotRunning: there is nothing.
        """
        found = [one for one in self._inside if one.caller.request_id == name]
        if not found:
            raise NotRunning("Nothing runs here under this id.", param="id")
        for one in found:
            one.end(EndedByOperator("An operator of this server ended this request."))
        return len(found)

    @contextmanager
    def refusing(self, caller: Caller) -> Generator[None]:
        """While somebody is being let in: who is not is counted."""
        try:
            yield
        except Overloaded as error:
            self._meter.refused(caller.path, error.code)
            raise

    def admit(self, ticket: Ticket) -> None:
        """A recording was let in; it goes when its place is freed. If it fails before it is worked on, it is counted as
        if it had not been let in."""
        one = Running("recording", ticket.caller, ticket.fail, "upload", ticket=ticket)
        self._inside[one] = None
        self._recordings[ticket] = one

        def regret(error: Exception) -> None:
            one.failure = error

        def gone() -> None:
            self._inside.pop(one, None)
            self._recordings.pop(ticket, None)
            if one.step == "upload" and isinstance(one.failure, REFUSALS):
                self._meter.refused(one.caller.path, one.failure.code)

        ticket.when_failed(regret)
        ticket.when_left(gone)

    @contextmanager
    def working(self, ticket: Ticket, model: str, *, voice: bool = False) -> Generator[Running]:
        """While a recording is worked on. The block sets the entry's `step`, `audio` and `told`.

        `voice`: it is one of perhaps several in its request whose voice alone is wanted.
        """
        one = self._recordings.get(ticket) or Running("recording", ticket.caller, ticket.fail, "load", ticket=ticket)
        one.model, one.step = model, "load"
        since = time.monotonic() if voice or ticket.arrived is None else ticket.arrived
        error: BaseException | None = None
        try:
            yield one
        except BaseException as raised:
            error = raised
            if isinstance(raised, Overloaded):  # now that it is known how long it is
                self._meter.refused(one.caller.path, raised.code)
            raise
        finally:
            one.step = "answer"
            took, outcome = time.monotonic() - since, _outcome(error, told=one.told)
            self._log("voice done" if voice else "recording done", one, took, outcome)
            self._meter.recording(model, one.caller.path, one.audio, took, outcome)

    @contextmanager
    def streaming(self, caller: Caller, model: str) -> Generator[Place]:
        """From when a live stream was let in, to its end."""
        place = Place(self, caller, model)
        one = place.entry
        self._inside[one] = None
        since = time.monotonic()
        error: BaseException | None = None
        try:
            yield place
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._inside.pop(one, None)
            took, outcome = time.monotonic() - since, place.outcome(error)
            self._log("stream done", one, took, outcome)
            self._meter.stream(model, caller.path, one.seconds, took, outcome)

    def tell(self, text: str) -> None:
        """Log what was said, where that is wanted."""
        if self._transcripts:
            _logger.info("transcript", extra={"text": text})

    async def settle(self) -> None:
        """Wait until what was to be ended has been told."""
        await asyncio.gather(*self._ends, return_exceptions=True)

    def fail(self, stream: Listening, error: SpeechError) -> None:
        """End a stream with this error, after what was said before."""
        task = asyncio.get_running_loop().create_task(stream.fail(error))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)

    def _log(self, message: str, one: Running, took: float, outcome: Outcome) -> None:
        fields: dict[str, object] = {
            "path": one.caller.path,
            "model": one.model,
            "outcome": outcome,
            "audio_duration_sec": round(one.seconds, 3),
            "duration_ms": round(took * 1000),
            "rtf": round(took / one.seconds, 4) if one.seconds else None,
            "key": logs.short(one.caller.key),
        }
        _logger.info(message, extra=fields)


class Place:
    """A live stream's, which waits for its model first and is listened to then."""

    def __init__(self, register: Register, caller: Caller, model: str) -> None:
        self._register = register
        self._patience: asyncio.Timeout | None = None
        self._ended: SpeechError | None = None
        self._watched: _Watched | None = None
        self.entry = Running("stream", caller, self._end, "load", model)

    def outcome(self, error: BaseException | None) -> Outcome:
        """How it ended, if with this error or none."""
        watched = self._watched
        return _outcome((watched and watched.failure) or error, told=watched is not None and watched.told)

    async def unless_ended(self, step: Awaitable[_T]) -> _T:
        """The outcome of `step`, which is cancelled when the stream is to end. One at a time.

        Raises:
            EndedByOperator: it is.
        """
        if self._ended is not None:
            raise self._ended
        try:
            async with asyncio.timeout(None) as self._patience:
                return await step
        except TimeoutError:
            if self._ended is None:  # the step's own
                raise
            raise self._ended from None
        finally:
            self._patience = None

    def listened(self, stream: Listening) -> LiveStream:
        """From here on it is listened to: the stream that its protocol is to use."""
        self.entry.step, self.entry.stream = "listen", stream
        self._watched = _Watched(stream, self._register.tell)
        if self._ended is not None:
            self._register.fail(stream, self._ended)
        return self._watched

    def _end(self, error: SpeechError) -> None:
        self._ended = self._ended or error
        if self.entry.stream is not None:
            self._register.fail(self.entry.stream, error)
        elif self._patience is not None and not self._patience.expired():
            self._patience.reschedule(asyncio.get_running_loop().time())


class _Watched:
    """A live stream of which it is known what became of it: whether all was told, and why not."""

    def __init__(self, stream: Listening, tell: Callable[[str], None]) -> None:
        self._stream = stream
        self._tell = tell
        self.told = False
        self.failure: SpeechError | None = None

    async def feed(self, data: bytes) -> None:
        """See LiveStream.feed."""
        try:
            await self._stream.feed(data)
        except SpeechError as error:
            self.failure = error
            raise

    async def finish(self) -> None:
        """See LiveStream.finish."""
        await self._stream.finish()

    async def commit(self) -> None:
        """See LiveStream.commit."""
        await self._stream.commit()

    async def clear(self) -> None:
        """See LiveStream.clear."""
        await self._stream.clear()

    async def events(self) -> AsyncIterator[StreamEvent]:
        """See LiveStream.events."""
        try:
            async for event in self._stream.events():
                if isinstance(event, Final) and event.text:
                    self._tell(event.text)
                self.told = self.told or isinstance(event, Closed)
                yield event
        except SpeechError as error:
            self.failure = error
            raise


def _outcome(error: BaseException | None, *, told: bool) -> Outcome:
    """How work ended. Who has left before all was told has cancelled it, however that showed."""
    if isinstance(error, SpeechError):
        return error.code
    if told:
        return "ok"
    return SpeechError.code if isinstance(error, Exception) else "cancelled"
