"""Threads of jobs' own for what goes through a whole recording: asyncio's, which draw all answers, stay free."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Final, TypeVar

_THREADS: Final = 2
"""One disk is no faster for more, and a small recording need not wait for a single large one."""
_T = TypeVar("_T")


class Aside:
    """Does what blocks for long, two things at a time. Belongs to one event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="recordings")

    async def run(self, step: Callable[[], _T]) -> _T:
        """What `step` returns. Who is cancelled does not wait for it."""
        named = copy_context().run  # what it logs says for whom
        return await asyncio.get_running_loop().run_in_executor(self._threads, named, step)

    async def close(self) -> None:
        """End the threads, after what they are at. Nothing may be asked afterwards."""
        await asyncio.to_thread(self._threads.shutdown)
