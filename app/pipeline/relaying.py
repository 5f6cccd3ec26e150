"""Where pieces wait for a recogniser that batches by itself: in turns, and as many at once as it can hold.

It does for a `ContinuousRecognizer` what `batching.py` does for one that is called with a batch.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial

from app.domain.engines import ContinuousRecognizer, Hypothesis, Said, WaitingRequest
from app.domain.errors import EngineFailure, Overloaded, SpeechError
from app.domain.meters import NO_METER, Meter
from app.pipeline.batching import BOUND
from app.pipeline.computing import Computing
from app.pipeline.speed import Speed
from app.pipeline.turns import Overtaking, Turn, Turns, Urgency

_logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Waiting:
    request: WaitingRequest
    urgency: Urgency
    said: Said | None
    since: float = field(default_factory=time.monotonic)
    context: Context = field(default_factory=copy_context)
    done: asyncio.Future[Hypothesis] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    call: asyncio.Task[None] | None = None


class Relay:
    """Hands pieces on to one recogniser. Belongs to one event loop; `reading` is where sound is read.

    Jobs' pieces go last, and have at most half of the places while somebody else is about (see Presence).
    """

    def __init__(
        self, recognizer: ContinuousRecognizer, reading: Computing, *, bound: int = BOUND, meter: Meter = NO_METER
    ) -> None:
        self._recognizer = recognizer
        self._reading = reading
        self._bound = bound
        self._meter = meter
        self._presence = reading.presence
        self._turns: Turns[_Waiting] = Turns()
        self._overtaking = Overtaking()
        self._running = 0
        self._jobs = 0  # of jobs among them
        self._calls: set[asyncio.Task[None]] = set()
        self._speed = Speed()

    @contextmanager
    def listening(self) -> Generator[None]:
        """While somebody listens live. What batches by itself needs no telling, but jobs make room."""
        with self._presence.staying():
            yield

    @property
    def waiting(self) -> int:
        """Pieces that wait for their turn and are still wanted."""
        return len(self._turns)

    @property
    def oldest(self) -> float:
        """Seconds that the piece that has waited longest has waited; 0 where none does."""
        since = min((waiting.since for waiting in self._turns.heads()), default=None)
        return 0.0 if since is None else time.monotonic() - since

    def work(self, cost: float) -> float:
        """Seconds in which all calls together get done what costs so much; 0 until one was timed."""
        return self._speed.seconds(cost)

    async def submit(self, request: WaitingRequest, turn: Turn, said: Said | None = None) -> Hypothesis:
        """Recognise one piece, read when its turn comes. Cancelling the caller ends the work, too.

        `said` is told the text so far while it grows.

        Raises:
            EngineFailure: the recogniser failed on this piece.
            ModelUnavailable: the recogniser is being started again.
            Overloaded: more pieces wait than ever should.
        """
        if len(self._turns) >= self._bound:
            raise Overloaded("Too much is waiting to be recognised. Try again later.", retry_after=10.0)
        waiting = _Waiting(request, turn.urgency, said)
        self._turns.add(waiting, turn)
        self._dispatch()
        try:
            with nullcontext() if _of_job(waiting) else self._presence.staying():
                return await waiting.done
        finally:
            self._turns.remove(waiting, turn)
            if waiting.call is not None and not waiting.call.done():
                waiting.call.cancel()

    def _dispatch(self) -> None:
        while self._running < self._recognizer.parallel_calls and (waiting := self._next()):
            job = _of_job(waiting)
            self._overtaking.note(job=job, waiting=self._turns.jobs > 0)
            self._running += 1
            self._jobs += job
            waiting.call = asyncio.get_running_loop().create_task(self._call(waiting), context=waiting.context)
            self._calls.add(waiting.call)
            # A task that is cancelled before it runs runs nothing, not even what stands at its end.
            waiting.call.add_done_callback(partial(self._ended, waiting))

    def _next(self) -> _Waiting | None:
        """Whose turn it is: a job's only where nothing else waits, or too much went before it."""
        most = self._recognizer.parallel_calls
        room = self._jobs < (max(1, most // 2) if self._presence.about else most)
        if room and self._overtaking.over and (waiting := self._turns.take(_wanted_of_job)):
            return waiting
        return self._turns.take(_wanted if room else _wanted_of_others)

    async def _call(self, waiting: _Waiting) -> None:
        failure: SpeechError = EngineFailure("The recogniser was stopped.")
        try:
            started, beside = time.monotonic(), self._running
            request = await self._reading.run(waiting.request.read, waiting.urgency)
            fill = min(1.0, self._running / self._recognizer.parallel_calls)
            self._meter.call(self._recognizer.id, 1, fill, [time.monotonic() - waiting.since])
            hypothesis = await self._recognizer.hear(request, waiting.said)
            # As many as were beside it took about as long.
            together = self._recognizer.cost(request) * max(beside, self._running)
            self._speed.learn(together, time.monotonic() - started)
            if not waiting.done.done():
                waiting.done.set_result(hypothesis)
        except SpeechError as error:
            failure = error
        except Exception:  # a bug that one piece brings out must not end the others' calls
            _logger.exception("the recogniser %s failed in a way it should not", self._recognizer.id)
            failure = EngineFailure("The recogniser failed unexpectedly.")
        finally:
            if not waiting.done.done():
                waiting.done.set_exception(failure)

    def _ended(self, waiting: _Waiting, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._running -= 1
        self._jobs -= _of_job(waiting)
        self._dispatch()


def _of_job(waiting: _Waiting) -> bool:
    return waiting.urgency is Urgency.JOB


def _wanted(waiting: _Waiting) -> bool:
    return not waiting.done.done()


def _wanted_of_job(waiting: _Waiting) -> bool:
    return _of_job(waiting) and _wanted(waiting)


def _wanted_of_others(waiting: _Waiting) -> bool:
    return not _of_job(waiting) and _wanted(waiting)
