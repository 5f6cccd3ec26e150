"""Where all requests' pieces meet: one batcher per recogniser.

It hands the recogniser calls filled with pieces that may share one, takes turns between requests so that a long
recording does not hold up a short one, drops the pieces of requests that were given up, and keeps as many calls
running as the recogniser says are worth it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Hashable
from concurrent.futures import Executor
from dataclasses import dataclass, field

from app.domain.engines import Hypothesis, PieceRequest, Recognizer
from app.domain.errors import EngineFailure

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    request: PieceRequest
    key: Hashable
    cost: float
    done: asyncio.Future[Hypothesis] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Batcher:
    """Batches pieces for one recogniser. Belongs to one event loop."""

    def __init__(self, recognizer: Recognizer, executor: Executor) -> None:
        self._recognizer = recognizer
        self._executor = executor
        self._queues: OrderedDict[Hashable, deque[_Waiting]] = OrderedDict()
        self._running = 0
        self._calls: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Pieces that wait for a call and are still wanted."""
        return sum(not waiting.done.done() for queue in self._queues.values() for waiting in queue)

    async def submit(self, request: PieceRequest, owner: Hashable) -> Hypothesis:
        """Recognise one piece. Owners (requests) take turns. Cancelling the caller drops the piece.

        Raises:
            EngineFailure: the recogniser failed on this piece.
        """
        waiting = _Waiting(request, self._recognizer.batch_key(request), self._recognizer.cost(request))
        self._queues.setdefault(owner, deque()).append(waiting)
        # Pieces that arrive in the same turn of the loop are seen together, so that they can share a call.
        asyncio.get_running_loop().call_soon(self._dispatch)
        return await waiting.done

    def _dispatch(self) -> None:
        while self._running < self._recognizer.parallel_calls and (batch := self._next_batch()):
            self._running += 1
            call = asyncio.get_running_loop().create_task(self._call(batch))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    def _next_batch(self) -> list[_Waiting]:
        """One call's worth: the next owner's piece and, in turns, others with its key, as far as the cost allows.

        A call takes no more than its share of what waits: two pieces and two idle threads make two calls.
        """
        self._drop_abandoned()
        share = -(-self.waiting // self._recognizer.parallel_calls)
        batch: list[_Waiting] = []
        cost = 0.0
        size = -1
        while size < len(batch) < share:  # another round as long as the last one found something
            size = len(batch)
            for owner, queue in list(self._queues.items()):
                room = self._recognizer.batch_cost - cost
                if queue and len(batch) < share and _fits(queue[0], batch, room):
                    batch.append(queue.popleft())
                    cost += batch[-1].cost
                    self._queues.move_to_end(owner)  # only who was served goes to the back of the line
        self._drop_abandoned()
        return batch

    def _drop_abandoned(self) -> None:
        for owner, queue in list(self._queues.items()):
            kept = deque(waiting for waiting in queue if not waiting.done.done())
            if kept:
                self._queues[owner] = kept
            else:
                del self._queues[owner]

    async def _call(self, batch: list[_Waiting]) -> None:
        outcomes: list[Hypothesis | EngineFailure] = [EngineFailure("the recogniser was stopped") for _ in batch]
        try:
            outcomes = await self._outcomes(batch)
        finally:
            for waiting, outcome in zip(batch, outcomes, strict=True):
                _settle(waiting.done, outcome)
            self._running -= 1
            self._dispatch()

    async def _outcomes(self, batch: list[_Waiting]) -> list[Hypothesis | EngineFailure]:
        """Results in order. If the call fails, each piece is tried alone: only the guilty one fails."""
        loop = asyncio.get_running_loop()
        requests = [waiting.request for waiting in batch]
        try:
            heard = await loop.run_in_executor(self._executor, self._recognizer.recognize, requests)
            if len(heard) != len(batch):
                raise EngineFailure("the recogniser lost a piece")
            return list(heard)
        except EngineFailure as error:
            failure = error
        except Exception:  # a bug that one piece brings out must not fail its neighbours' requests either
            _logger.exception("the recogniser %s failed in a way it should not", self._recognizer.id)
            failure = EngineFailure("the recogniser failed unexpectedly")
        if len(batch) == 1:
            return [failure]
        return [outcome for waiting in batch for outcome in await self._outcomes([waiting])]


def _settle(done: asyncio.Future[Hypothesis], outcome: Hypothesis | EngineFailure) -> None:
    if done.done():
        return  # given up while it was recognised
    if isinstance(outcome, EngineFailure):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)


def _fits(waiting: _Waiting, batch: list[_Waiting], room: float) -> bool:
    return not batch or (waiting.key == batch[0].key and waiting.cost <= room)
