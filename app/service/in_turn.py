"""One thread in which things are done one after the other, what is urgent before what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from itertools import count
from queue import PriorityQueue
from typing import TypeVar

_T = TypeVar("_T")


@dataclass(order=True)
class _Call:
    """In the order in which they are done."""

    behind: bool
    number: int
    run: Callable[[], None] = field(compare=False)


class InTurn:
    """Started at the first call."""

    def __init__(self, name: str) -> None:
        """`name` is the thread's."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._calls: PriorityQueue[_Call] = PriorityQueue()
        self._numbers = count()

    async def run(self, work: Callable[[], _T], *, first: bool = False) -> _T:
        """What `work` returns, in the thread; `first`: before all that wait and are not. Who is cancelled before it has
        begun has not begun it."""
        named = copy_context().run  # what it logs says for whom
        done: Future[_T] = Future()

        def run() -> None:
            if done.set_running_or_notify_cancel():
                try:
                    done.set_result(named(work))
                except BaseException as error:  # noqa: BLE001 - who waits has it
                    done.set_exception(error)

        self._calls.put(_Call(not first, next(self._numbers), run))
        self._thread.submit(lambda: self._calls.get().run())  # as many as there are calls; each does the most urgent
        return await asyncio.wrap_future(done)

    async def close(self, last: Callable[[], None]) -> None:
        """Do what waits, then `last`, and end. Nothing may be asked afterwards."""
        self._thread.submit(last)
        await asyncio.to_thread(self._thread.shutdown)
