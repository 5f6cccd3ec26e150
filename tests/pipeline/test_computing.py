"""Threads on which what is waited for most goes first."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.pipeline.computing import ComputeThreads, Computing
from app.pipeline.turns import Urgency

from .test_batching import until


class Busy:
    """One thread that a first call holds until it is let go; later calls are written down."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(1)
        self.threads = ComputeThreads(self.pool)
        self.model = Computing(self.threads)
        self.done: list[str] = []
        self._free, self._begun = threading.Event(), threading.Event()
        self._first: asyncio.Task[None] | None = None

    async def hold(self) -> None:
        self._first = asyncio.create_task(self.model.run(self._wait, Urgency.FILE))
        await until(self._begun.is_set)

    def _wait(self) -> None:
        self._begun.set()
        assert self._free.wait(10)

    def free(self) -> None:
        self._free.set()

    def put(self, name: str, urgency: Urgency, model: Computing | None = None) -> asyncio.Task[None]:
        return asyncio.create_task((model or self.model).run(lambda: self.done.append(name), urgency))


def run(scenario: Callable[[Busy], Awaitable[None]]) -> None:
    async def main() -> None:
        busy = Busy()
        try:
            async with asyncio.timeout(20):
                await busy.hold()
                await scenario(busy)
        finally:
            busy.free()
            busy.pool.shutdown()

    asyncio.run(main())


def test_the_most_urgent_goes_first_and_equals_in_the_order_they_came() -> None:
    async def scenario(busy: Busy) -> None:
        other = Computing(busy.threads)
        works = [
            busy.put("guess", Urgency.DRAFT),
            busy.put("file", Urgency.FILE, other),
            busy.put("another guess", Urgency.DRAFT),
            busy.put("first guess", Urgency.FIRST_DRAFT),
            busy.put("final", Urgency.FINAL, other),
            busy.put("another final", Urgency.FINAL),
        ]
        await asyncio.sleep(0)
        busy.free()
        await asyncio.gather(*works)
        assert busy.done == ["final", "another final", "first guess", "guess", "file", "another guess"]

    run(scenario)


def test_what_is_given_up_does_not_run() -> None:
    async def scenario(busy: Busy) -> None:
        kept, left = busy.put("kept", Urgency.FILE), busy.put("left", Urgency.FINAL)
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.sleep(0)
        busy.free()
        await asyncio.gather(kept, left, return_exceptions=True)
        assert busy.done == ["kept"]

    run(scenario)


def test_failures_are_the_callers() -> None:
    async def scenario(busy: Busy) -> None:
        busy.free()
        with pytest.raises(ZeroDivisionError):
            await busy.model.run(lambda: 1 // 0, Urgency.FINAL)
        assert await busy.model.run(lambda: 2, Urgency.FINAL) == 2

    run(scenario)


def test_one_models_work_is_settled_when_it_is_done() -> None:
    async def scenario(busy: Busy) -> None:
        other = Computing(busy.threads)
        assert not other.busy
        await asyncio.wait_for(other.settled(), 1)
        settled = asyncio.create_task(busy.model.settled())
        await asyncio.sleep(0.05)
        assert busy.model.busy
        assert not settled.done()
        busy.free()
        await settled
        assert not busy.model.busy

    run(scenario)


def test_work_that_waits_when_the_threads_are_shut_down_is_cancelled() -> None:
    async def scenario(busy: Busy) -> None:
        work = busy.put("late", Urgency.FINAL)
        await asyncio.sleep(0)
        busy.pool.shutdown(wait=False, cancel_futures=True)
        with pytest.raises(asyncio.CancelledError):
            await work
        assert busy.done == []

    run(scenario)
