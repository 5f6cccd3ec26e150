"""Where models compute: threads, on which what is waited for most goes first."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from app.pipeline.presence import Presence
from app.pipeline.turns import Overtaking, Urgency

_Outcome = TypeVar("_Outcome")


@dataclass(frozen=True, slots=True, order=True)
class _Work:
    urgency: Urgency
    number: int
    call: Callable[[], Any] = field(compare=False)
    outcome: Future[Any] = field(compare=False)


class ComputeThreads:
    """The threads that all models share. What is as urgent goes in the order it came.

    A recording's pieces count like guesses that are not the first ones: behind so many of them a file would never end.
    Jobs' go behind all others, but for one now and then. `presence` tells all models whether somebody else is about.
    """

    def __init__(self, pool: Executor) -> None:
        self.presence = Presence()
        self._pool = pool
        self._waiting: list[_Work] = []
        self._jobs: list[_Work] = []
        self._overtaking = Overtaking()
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    def submit(self, call: Callable[[], _Outcome], urgency: Urgency) -> Future[_Outcome]:
        """What `call` returns or raises, once its turn has come."""
        outcome: Future[_Outcome] = Future()
        named = partial(contextvars.copy_context().run, call)  # what it logs says for whom
        job = urgency is Urgency.JOB
        with self._lock:
            work = _Work(min(urgency, Urgency.DRAFT), next(self._numbers), named, outcome)
            heapq.heappush(self._jobs if job else self._waiting, work)
        # A place in the pool's own line for each, but not for any in particular.
        self._pool.submit(self._work).add_done_callback(self._give_up)
        return outcome

    def _next(self) -> _Work:
        """What is to be done now."""
        with self._lock:
            job = bool(self._jobs) and (not self._waiting or self._overtaking.over)
            self._overtaking.note(job=job, waiting=bool(self._jobs))
            return heapq.heappop(self._jobs if job else self._waiting)

    def _work(self) -> None:
        work = self._next()
        if not work.outcome.set_running_or_notify_cancel():
            return
        try:
            work.outcome.set_result(work.call())
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            work.outcome.set_exception(error)

    def _give_up(self, place: Future[None]) -> None:
        if place.cancelled():  # the pool is shut down
            self._next().outcome.cancel()


class Computing:
    """One model's use of the threads: knows of its work that still runs, also of that which nobody waits for."""

    def __init__(self, threads: ComputeThreads) -> None:
        self._threads = threads
        self._unfinished: set[Future[Any]] = set()

    @property
    def presence(self) -> Presence:
        """Who is about, whichever model they use."""
        return self._threads.presence

    async def run(self, call: Callable[[], _Outcome], urgency: Urgency) -> _Outcome:
        """What `call` returns or raises. Cancelling the caller drops it if its turn has not come."""
        outcome = self._threads.submit(call, urgency)
        self._unfinished.add(outcome)
        outcome.add_done_callback(self._unfinished.discard)
        return await asyncio.wrap_future(outcome)

    @property
    def busy(self) -> bool:
        """Whether any of its work runs, or waits to."""
        return bool(self._unfinished)

    async def settled(self) -> None:
        """Wait until what there is of its work now is done."""
        await asyncio.gather(*map(asyncio.wrap_future, list(self._unfinished)), return_exceptions=True)
