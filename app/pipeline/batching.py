"""Where all requests' pieces meet: one batcher per recogniser.

It hands the recogniser calls filled with pieces that may share one, takes turns between keys and requests so that a
long recording does not hold up a short one, lets live speech go first and jobs last, drops the pieces of requests that
were given up, and keeps as many calls running as the recogniser says are worth it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial

from app.domain.engines import BatchRecognizer, Hypothesis, PieceRequest, WaitingRequest
from app.domain.errors import EngineFailure, Overloaded
from app.domain.meters import NO_METER, Meter
from app.pipeline.computing import Computing
from app.pipeline.speed import Speed
from app.pipeline.turns import Overtaking, Turn, Turns, Urgency
from app.pipeline.yielding import LOOK_SECONDS, Yielding

BOUND = 65_536
"""Pieces that may wait. Admission and the few pieces a request sends ahead keep far below it; a waiting piece holds no
sound, so that even this many are small."""
_STEP_SECONDS = 0.5
"""How long a call may take while somebody listens live, if it is more than one piece: what was said waits for it."""
_GUESSES = 3
"""Calls of guesses in a row while something else waits: a recogniser with one call at a time would do nothing else."""
_logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Waiting:
    request: WaitingRequest
    turn: Turn
    key: Hashable
    cost: float
    since: float = field(default_factory=time.monotonic)
    context: Context = field(default_factory=copy_context)
    done: asyncio.Future[Hypothesis] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Batcher:
    """Batches pieces for one recogniser. Belongs to one event loop.

    A job's pieces share no call with others'. While somebody else is about, each has a short call to itself, and few of
    them run at once (see Yielding).
    """

    def __init__(
        self, recognizer: BatchRecognizer, computing: Computing, *, bound: int = BOUND, meter: Meter = NO_METER
    ) -> None:
        self._recognizer = recognizer
        self._computing = computing
        self._bound = bound
        self._meter = meter
        self._presence = computing.presence
        self._turns: Turns[_Waiting] = Turns()
        self._overtaking = Overtaking()
        self._yielding = Yielding(self._presence)
        self._looks_again: asyncio.TimerHandle | None = None
        self._running = 0
        self._jobs = 0  # calls of jobs among them
        self._drafts = 0
        self._guesses = 0  # calls of guesses since there was another one
        self._listeners = 0
        self._calls: set[asyncio.Task[None]] = set()
        self._speed = Speed()

    @contextmanager
    def listening(self) -> Generator[None]:
        """While somebody listens live, no call is a long one."""
        self._listeners += 1
        try:
            with self._presence.staying():
                yield
        finally:
            self._listeners -= 1

    @property
    def waiting(self) -> int:
        """Pieces that wait for a call and are still wanted."""
        return len(self._turns)

    @property
    def oldest(self) -> float:
        """Seconds that the piece that has waited longest has waited; 0 where none does."""
        since = min((waiting.since for waiting in self._turns.heads()), default=None)
        return 0.0 if since is None else time.monotonic() - since

    def work(self, cost: float) -> float:
        """Seconds in which all calls together get done what costs so much; 0 until a call was timed."""
        return self._speed.seconds(cost) / self._recognizer.parallel_calls

    async def submit(self, request: WaitingRequest, turn: Turn) -> Hypothesis:
        """Recognise one piece, read when its turn comes. Cancelling the caller drops it.

        Raises:
            EngineFailure: the recogniser failed on this piece.
            Overloaded: more pieces wait than ever should.
        """
        if len(self._turns) >= self._bound:
            raise Overloaded("Too much is waiting to be recognised. Try again later.", retry_after=10.0)
        waiting = _Waiting(request, turn, self._recognizer.batch_key(request), self._recognizer.cost(request))
        self._turns.add(waiting, turn)
        # Pieces that arrive in the same turn of the loop are seen together, so that they can share a call.
        asyncio.get_running_loop().call_soon(self._dispatch)
        try:
            with self._here(turn.urgency):
                return await waiting.done
        finally:
            self._turns.remove(waiting, turn)

    def _here(self, urgency: Urgency) -> AbstractContextManager[None]:
        """While a piece waits, somebody is about; but not for a job's."""
        if urgency is Urgency.JOB:
            return nullcontext()
        return self._presence.asking() if urgency is Urgency.FILE else self._presence.staying()

    def _dispatch(self) -> None:
        while self._running < self._recognizer.parallel_calls and (batch := self._next_batch()):
            job = _of_job(batch[0])
            self._overtaking.note(job=job, waiting=self._turns.jobs > 0)
            self._running += 1
            self._jobs += job
            self._drafts += _drafts(batch)
            call = asyncio.get_running_loop().create_task(self._call(batch), context=_context(batch))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    def _next_batch(self) -> list[_Waiting]:
        """One call's worth: jobs' only where nothing else can go, or too much went before them."""
        if self._overtaking.over and (batch := self._batch_of_jobs()):
            return batch
        return self._batch_of_others() or self._batch_of_jobs()

    def _batch_of_others(self) -> list[_Waiting]:
        """One call's worth: whoever is next and, in turns, others with the same key, as far as the cost allows.

        Drafts but first ones leave a call free, if there are several: what was said must not wait for guesses at what
        is being said.
        """
        most_drafts = max(1, self._recognizer.parallel_calls - 1)
        room_for_drafts = self._drafts < most_drafts and self._guesses < _GUESSES

        def wanted(waiting: _Waiting) -> bool:
            return not _of_job(waiting) and (room_for_drafts or waiting.turn.urgency is not Urgency.DRAFT)

        batch = self._batch(wanted, self._share(len(self._turns) - self._turns.jobs))
        if not batch and not room_for_drafts and self._drafts < most_drafts:
            self._guesses = 0  # nobody else waits
            return self._batch_of_others() if len(self._turns) > self._turns.jobs else []
        self._guesses = self._guesses + 1 if _drafts(batch) else 0
        return batch

    def _batch_of_jobs(self) -> list[_Waiting]:
        """One call's worth of jobs' pieces."""
        if self._jobs >= self._yielding.calls(self._recognizer.parallel_calls):
            self._look_again()
            return []
        return self._batch(_of_job, 1 if self._presence.about else self._share(self._turns.jobs))

    def _look_again(self) -> None:
        """In a moment: that nobody is about any more is told by nobody."""
        if self._turns.jobs and self._looks_again is None:
            self._looks_again = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._looks_again = None
        self._dispatch()

    def _share(self, pieces: int) -> int:
        """A call takes no more than its share of what waits: two pieces and two idle threads make two calls."""
        return -(-pieces // self._recognizer.parallel_calls)

    def _batch(self, wanted: Callable[[_Waiting], bool], most: int) -> list[_Waiting]:
        """At most so many pieces that are `wanted` and go together, in turns."""
        batch: list[_Waiting] = []
        cost = 0.0

        def fits(waiting: _Waiting) -> bool:
            # One given up in this turn of the loop still stands in line, and is taken out by who gave it up.
            return wanted(waiting) and not waiting.done.done() and _fits(waiting, batch, self._most_cost - cost)

        while len(batch) < most and (waiting := self._turns.take(fits)):
            batch.append(waiting)
            cost += waiting.cost
        return batch

    @property
    def _most_cost(self) -> float:
        """What a call may cost."""
        whole = self._recognizer.batch_cost
        second = self._speed.seconds(1.0)
        return min(whole, _STEP_SECONDS / second) if self._listeners and second else whole

    async def _call(self, batch: list[_Waiting]) -> None:
        outcomes: list[Hypothesis | EngineFailure] = [EngineFailure("the recogniser was stopped") for _ in batch]
        try:
            outcomes = await self._outcomes(batch)
        finally:
            self._drafts -= _drafts(batch)
            self._jobs -= _of_job(batch[0])
            for waiting, outcome in zip(batch, outcomes, strict=True):
                _settle(waiting.done, outcome)
            self._running -= 1
            self._dispatch()

    async def _outcomes(self, batch: list[_Waiting]) -> list[Hypothesis | EngineFailure]:
        """Results in order. If the call fails, each piece is tried alone: only the guilty one fails."""
        urgency = min(waiting.turn.urgency for waiting in batch)
        began: list[float] = []  # a failed call has begun, too
        try:
            heard, seconds = await self._computing.run(partial(self._recognize, batch, began), urgency)
            if cost := sum(waiting.cost for waiting, one in zip(batch, heard, strict=True) if one is not None):
                self._speed.learn(cost, seconds)
            return [EngineFailure("it was given up") if one is None else one for one in heard]
        except EngineFailure as error:
            failure = error
        except Exception:  # noqa: BLE001 - logged; a bug that one piece brings out must not fail others' requests, too
            told = "the recogniser %s failed in a way it should not"
            _context(batch).run(_logger.exception, told, self._recognizer.id)
            failure = EngineFailure("the recogniser failed unexpectedly")
        finally:
            if began:
                self._tell(batch, began[0])
                if _of_job(batch[0]):
                    self._yielding.ended(time.monotonic() - began[0])
        if len(batch) == 1:
            return [failure]
        return [outcome for waiting in batch for outcome in await self._outcomes([waiting])]

    def _tell(self, batch: list[_Waiting], began: float) -> None:
        most = self._recognizer.batch_cost
        fill = min(1.0, sum(waiting.cost for waiting in batch) / most) if most else 1.0  # 0: one piece fills a call
        self._meter.call(self._recognizer.id, len(batch), fill, [began - waiting.since for waiting in batch])

    def _recognize(self, batch: Sequence[_Waiting], began: list[float]) -> tuple[list[Hypothesis | None], float]:
        """On a compute thread: read the pieces' sound and recognise it; None for those that were given up meanwhile.

        Also how many seconds that took.
        """
        started = time.monotonic()
        began.append(started)
        requests = {number: read for number, waiting in enumerate(batch) if (read := _read(waiting))}
        heard = self._recognizer.recognize(list(requests.values())) if requests else []
        if len(heard) != len(requests):
            raise EngineFailure("the recogniser lost a piece")
        by_number = dict(zip(requests, heard, strict=True))
        return [by_number.get(number) for number in range(len(batch))], time.monotonic() - started


def _read(waiting: _Waiting) -> PieceRequest | None:
    """A piece with its sound; None where it was given up, and its recording may be gone."""
    try:
        return None if waiting.done.done() else waiting.request.read()
    except Exception:
        if waiting.done.done():
            return None
        raise


def _settle(done: asyncio.Future[Hypothesis], outcome: Hypothesis | EngineFailure) -> None:
    if done.done():
        return  # given up while it was recognised
    if isinstance(outcome, EngineFailure):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)


def _context(batch: list[_Waiting]) -> Context:
    """What a call's lines in the log are told in: the piece's, or nobody's where several share it."""
    return batch[0].context.copy() if len(batch) == 1 else Context()


def _of_job(waiting: _Waiting) -> bool:
    """Whether it is a job's."""
    return waiting.turn.urgency is Urgency.JOB


def _drafts(batch: list[_Waiting]) -> bool:
    """Whether a call makes guesses."""
    return any(waiting.turn.urgency is Urgency.DRAFT for waiting in batch)


def _fits(waiting: _Waiting, batch: list[_Waiting], room: float) -> bool:
    return not batch or (waiting.key == batch[0].key and waiting.cost <= room)
