"""A live stream through the models: sound is listened to, utterances are recognised while they are said, and each is
final as soon as it is over.

The final text is asked for as soon as an utterance may be over, while the silence that ends it is still awaited; if
more is said after all, it is asked for again. So it is mostly there when it is needed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Executor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from app.audio.live import Cue, LiveSource
from app.domain.engines import SAMPLE_RATE
from app.domain.errors import EngineFailure, SpeechError
from app.domain.events import Cleared, Closed, Committed, Partial, SpeechStarted, SpeechStopped, StreamEvent
from app.domain.options import LiveOptions
from app.pipeline.segmentation import MAX_SILENCE, PADDING
from app.streaming.drafting import Drafting
from app.streaming.endpointing import Endpoint, Mark, Onset, Quiet, Resumed
from app.streaming.hearing import Ear
from app.streaming.outbox import Outbox
from app.streaming.recognising import Recognising
from app.streaming.sound import RollingSound
from app.streaming.speech import OpenPiece, Utterance, lead_in
from app.streaming.timing import Timing

if TYPE_CHECKING:
    from app.domain.engines import Samples

_logger = logging.getLogger(__name__)

_BLOCK = SAMPLE_RATE // 10
"""Samples listened to at once, at least: some clients send 10 ms a message."""
_KEPT = 2.0
"""Seconds kept while nobody speaks: an onset is known a quarter of a second later, and has its lead-in."""
_AHEAD = 8
"""Utterances whose text is awaited; sound that comes faster than it is recognised is not listened to meanwhile."""


_NOTHING: Samples = np.zeros(0, dtype=np.float32)


class LiveSession:
    """See LiveStream. An async context manager: leaving it drops everything at once, but does not close its source."""

    def __init__(
        self,
        source: LiveSource,
        open_ear: Callable[[float], Ear],
        recognising: Recognising,
        listening: Executor,
        options: LiveOptions,
        *,
        longest_piece: float,
        drafting: Callable[[Callable[[Utterance], None]], Drafting] | None = None,
        timing: Timing | None = None,
    ) -> None:
        """`open_ear` makes what listens from so many seconds on. `listening` are the threads that listen. No piece is
        longer than `longest_piece` seconds. `drafting` makes what guesses at what is being said, which tells of new
        text; None: nothing does. `timing` tells how long things take; None: nobody asks."""
        able = recognising.able
        self._source = source
        self._open_ear = open_ear
        self._ear = open_ear(0.0)
        self._recognising = recognising
        self._listening = listening
        self._longest = options.longest_seconds
        piece = min(longest_piece, able.preferred_seconds)
        self._room = max(piece - PADDING, piece / 2)
        self._max_silence = min(MAX_SILENCE, able.max_silence)
        self._drafting = drafting(self._tell_partial) if drafting is not None and options.partials else None
        self._sound = RollingSound()
        self._timing = timing or Timing()
        self._outbox = Outbox()
        self._utterance: Utterance | None = None
        self._count = self._closed = 0  # utterances that began, and those that are over
        self._spoken_until = 0.0
        self._over: deque[Utterance] = deque()
        self._ended = False
        self._failure: SpeechError | None = None  # of the sound
        self._changed = asyncio.Event()
        self._hearings: set[asyncio.Task[Any]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    # --- what protocols see -------------------------------------------------------------------------------------------

    async def feed(self, data: bytes) -> None:
        """See LiveStream.feed."""
        self._check()
        await self._source.feed(data)
        self._check()

    async def finish(self) -> None:
        """See LiveStream.finish."""
        await self._source.finish()

    async def commit(self) -> None:
        """See LiveStream.commit."""
        await self._say(Cue.COMMIT)

    async def clear(self) -> None:
        """See LiveStream.clear."""
        await self._say(Cue.CLEAR)

    async def _say(self, cue: Cue) -> None:
        self._check()
        await self._source.cue(cue)
        self._check()

    @property
    def heard(self) -> float:
        """Seconds of sound heard so far."""
        return self._sound.end

    async def fail(self, error: SpeechError) -> None:
        """End here with `error`, after what was said before; who feeds it is told, too."""
        self._outbox.fail(error)
        await self._source.close()

    def events(self) -> AsyncIterator[StreamEvent]:
        """See LiveStream.events."""
        return self._outbox.read()

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._guarded(work)) for work in (self._listen, self._finalise)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        tasks = [*self._tasks, *self._hearings]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._drafting is not None:
            await self._drafting.close()

    def _check(self) -> None:
        if self._outbox.failure is not None:
            raise self._outbox.failure

    async def _guarded(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """One of the stream's two tasks; where one fails, the stream has."""
        try:
            await work()
        except SpeechError as error:
            await self.fail(error)
        except Exception:  # the stream ends here, and its client must be told
            _logger.exception("a live stream failed in a way it should not")
            await self.fail(EngineFailure("The stream failed unexpectedly; the server's log says why."))

    # --- listening ----------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """All of the sound, a block at a time. If it fails at some place, what was said before is still told."""
        gathered = [_NOTHING]
        blocks = self._source.blocks()
        while (samples := await self._next(blocks)) is not None:
            if isinstance(samples, Cue):
                await self._obey(samples, np.concatenate(gathered))
            else:
                gathered.append(samples)
                if sum(map(len, gathered)) < _BLOCK:
                    continue
                await self._take(np.concatenate(gathered))
            gathered = [_NOTHING]
        await self._take(np.concatenate(gathered), last=True)
        self._ended = True
        self._changed.set()

    async def _next(self, blocks: AsyncIterator[Samples | Cue]) -> Samples | Cue | None:
        try:
            return await anext(blocks, None)
        except SpeechError as error:
            self._failure = error
            return None

    async def _take(self, samples: Samples, *, last: bool = False) -> None:
        self._append(samples)
        loop = asyncio.get_running_loop()
        for mark in await loop.run_in_executor(self._listening, lambda: self._ear.listen(samples, last=last)):
            self._act(mark)
        utterance = self._utterance
        self._sound.forget(self._needed_from(utterance))
        if utterance is not None and utterance.open.hearing is None:  # somebody speaks
            utterance.open.speak(*self._ear.endpointer.spoken)
            self._cut_if_long(utterance)
            if self._drafting is not None and self._utterance is not None:
                self._drafting.listen(self._utterance, self._sound)
        while len(self._over) >= _AHEAD:
            self._changed.clear()
            await self._changed.wait()

    def _append(self, samples: Samples) -> None:
        self._sound.append(samples)
        self._timing.heard(len(samples) / SAMPLE_RATE, self._sound.end)

    def _needed_from(self, utterance: Utterance | None) -> float:
        """Where the sound begins that may still be recognised, in seconds."""
        recent = self._sound.end - _KEPT
        if utterance is None:
            return recent
        piece = utterance.open
        # After so long a pause what was said is a piece by itself, whatever follows; that may never come.
        done = piece.hearing is not None and recent - piece.spans[-1].end > self._max_silence
        return recent if done else piece.start

    async def _obey(self, cue: Cue, samples: Samples) -> None:
        """What the caller says of the sound up to these samples. What follows is listened to anew."""
        if cue is Cue.COMMIT:
            await self._take(samples)
            over = self._closed
            await self._take(_NOTHING, last=True)
            self._outbox.put(Committed(self._count, self._closed > over, self._sound.end))
        else:
            self._append(samples)
            self._outbox.put(Cleared(self._forget(), self._sound.end))
        self._spoken_until = self._sound.end
        self._ear = self._open_ear(self._sound.end)

    def _forget(self) -> int | None:
        """Drop the utterance that goes on; returns its index."""
        utterance, self._utterance = self._utterance, None
        self._sound.forget(self._sound.end)
        if utterance is None:
            return None
        utterance.time = self._sound.end  # nothing more is told of it
        for piece in utterance.pieces:
            if piece.hearing is not None:
                piece.hearing.cancel()
        return utterance.index

    def _act(self, mark: Mark) -> None:
        if isinstance(mark, Onset):
            self._begin(mark.start, lead_in(mark.start, self._spoken_until))
        elif self._utterance is None:
            return
        elif isinstance(mark, Quiet):
            self._pause(self._utterance, mark)
        elif isinstance(mark, Resumed):
            self._resume(self._utterance, mark.start)
        else:
            self._end(self._utterance, mark)

    def _begin(self, start: float, heard_from: float) -> None:
        self._count += 1
        self._utterance = Utterance(self._count, start, [OpenPiece(heard_from, [])])
        self._timing.begin(self._utterance.clock, start)
        self._outbox.put(SpeechStarted(self._count, start))

    def _pause(self, utterance: Utterance, mark: Quiet) -> None:
        """It may be over: what was said is recognised now."""
        piece = utterance.open
        piece.speak(mark.start, mark.end)
        self._hear(utterance, piece, mark.time)

    def _resume(self, utterance: Utterance, start: float) -> None:
        """It is not over. After a long pause what was recognised stays, and what follows is another piece."""
        piece, last = utterance.open, utterance.open.spans[-1].end
        if start - last > self._max_silence:
            piece.end = min(last + PADDING, (last + start) / 2)
            if last - utterance.start < self._longest:
                utterance.pieces.append(OpenPiece(lead_in(start, last), []))
            else:  # it has lasted long enough
                self._close(utterance, last, self._sound.end)
                self._begin(start, lead_in(start, last))
        elif piece.hearing is not None:
            piece.hearing.cancel()
            piece.hearing = None

    def _end(self, utterance: Utterance, mark: Endpoint) -> None:
        piece = utterance.open
        if piece.hearing is None:  # the stream ends in the middle of speech
            piece.speak(mark.start, mark.end)
            self._hear(utterance, piece, self._sound.end)
        piece.end = min(mark.end + PADDING, self._sound.end)
        self._close(utterance, mark.end, mark.time)

    def _cut_if_long(self, utterance: Utterance) -> None:
        """Speech that does not pause is cut where that does least harm; so is an utterance that never ends."""
        piece = utterance.open
        while self._sound.end - piece.start > self._room + PADDING:
            heard = self._sound.stretch(piece.start, self._sound.end)
            place = piece.place_to_cut(heard, self._room)
            rest = piece.divided(place)
            self._hear(utterance, piece, place)
            if place - utterance.start < self._longest:
                utterance.pieces.append(rest)
            else:
                self._close(utterance, place, self._sound.end)
                self._begin(place, place)
                assert self._utterance is not None  # noqa: S101 - begun just now
                utterance = self._utterance
                utterance.pieces[0] = rest
                utterance.clock.told = True  # its first words were, as those of what was cut
            piece = rest

    def _close(self, utterance: Utterance, end: float, time: float) -> None:
        self._closed += 1
        utterance.end, utterance.time = end, time
        self._utterance, self._spoken_until = None, end
        self._timing.end(utterance.clock)
        self._outbox.put(SpeechStopped(utterance.index, end, time))
        self._over.append(utterance)
        self._changed.set()

    # --- recognising --------------------------------------------------------------------------------------------------

    def _hear(self, utterance: Utterance, piece: OpenPiece, until: float) -> None:
        """Have a piece recognised, as far as `until`."""
        stretch = self._sound.stretch(piece.start, until)
        piece.hearing = hearing = asyncio.create_task(self._recognising.hear(stretch, tuple(piece.spans)))
        self._hearings.add(hearing)

        def done(task: asyncio.Task[Any]) -> None:
            self._hearings.discard(task)
            if not task.cancelled() and task.exception() is None and self._drafting is not None and not utterance.time:
                self._drafting.hear(utterance, piece, task.result().written)

        hearing.add_done_callback(done)

    async def _finalise(self) -> None:
        """Every utterance that is over, in order, as soon as its text is there."""
        while True:
            while self._over:
                final = await self._recognising.final(self._over[0])
                self._timing.final(self._over.popleft().clock, text=bool(final.text) and self._drafting is not None)
                self._outbox.put(final)
                self._changed.set()
                if self._utterance is not None:
                    self._tell_partial(self._utterance)
            if self._ended:
                if self._failure is not None:
                    raise self._failure
                self._outbox.put(Closed(self._sound.end))
                return
            self._changed.clear()
            await self._changed.wait()

    def _tell_partial(self, utterance: Utterance) -> None:
        """Not after its end, which would be after its final text, and not before all final texts that come first."""
        if utterance.time or self._over:
            return
        text, stable = self._recognising.so_far(utterance)
        if text:
            self._timing.partial(utterance.clock)
            self._outbox.put(Partial(utterance.index, utterance.start, self._sound.end, text, stable))
