"""A vLLM process as the server sees it: started, asked, and started again when it has died.

torch and vLLM live in that process only: what goes wrong there, or takes memory there, ends with it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.domain.errors import EngineFailure, ModelUnavailable
from app.domain.meters import NO_METER, Meter
from app.engines.qwen3.channel import Message
from app.engines.qwen3.link import Answer, DiedError, Link, Told
from app.engines.qwen3.spawning import Plan, Spawned

if TYPE_CHECKING:
    from app.domain.engines import Samples

_logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 300.0
"""How long a piece waits for the process to be started again before its request is told to come back."""
RETRY_AFTER_SECONDS = 30.0
_LONGEST_PAUSE = 60.0
"""Seconds between two tries to start what does not start."""
_TOGETHER = 4
"""Pieces tried again at once after a death, of which one may have been the reason."""


class EngineProcess:
    """One vLLM process. `start` and `close` may be called from any thread, `ask` from one event loop.

    `plans` are what to start, and what instead after that has run out of memory, and so on.
    """

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._plan, *self._smaller = plans
        self._spawned: Spawned | None = None
        self._link: Link | None = None
        self._mending: asyncio.Task[None] | None = None
        self._again = asyncio.Semaphore(_TOGETHER)
        self._closing = threading.Lock()
        self._closed = False
        self._ready = False
        self._meter: Meter = NO_METER

    def watch(self, meter: Meter) -> None:
        """Tell `meter` from here on whenever the process has been started again."""
        self._meter = meter

    @property
    def available(self) -> bool:
        """Whether it can be asked now; False while it is being started again."""
        return self._ready and not self._closed

    @property
    def pid(self) -> int | None:
        """The process's id, which is its group's, too; that of the last one where there is none. None before."""
        return self._spawned.pid if self._spawned else None

    def start(self) -> None:
        """Start the process and wait until it can be asked. Blocking, up to minutes.

        Raises:
            EngineFailure: it cannot be started, not even smaller; the message says why.
        """
        while True:
            spawned = self._spawn()
            try:
                spawned.wait_until_ready()
            except EngineFailure as failure:
                spawned.end()
                if not self._shrink(spawned):
                    raise
                _logger.warning("%s; trying again with less", failure.message)
            else:
                self._ready = True
                return

    async def ask(self, message: Message, samples: Samples, told: Told | None = None) -> Answer:
        """Have one piece recognised or aligned. Cancelling ends the work in the process, too.

        While the process is started again, it waits: a piece is part of a recording that was begun.

        Raises:
            EngineFailure: the model failed on this piece.
            ModelUnavailable: the process does not come back, or died twice of this.
        """
        await self._mended()
        try:
            return await self._connected().ask(message, samples, told)
        except DiedError:
            await self._mended()
        async with self._again:
            await self._mended()
            try:
                return await self._connected().ask(message, samples, told)
            except DiedError:
                raise self._unavailable("has died twice while it worked on this") from None

    def close(self) -> None:
        """End the process and all of vLLM's. Blocking."""
        with self._closing:
            self._closed = True
        if (mending := self._mending) is not None:
            mending.get_loop().call_soon_threadsafe(mending.cancel)
        if self._spawned is not None:
            self._spawned.end()

    def _spawn(self) -> Spawned:
        with self._closing:
            if self._closed:
                raise EngineFailure(f"{self._plan.name} was stopped while it was started.")
            self._spawned = Spawned(self._plan)
            return self._spawned

    def _shrink(self, spawned: Spawned) -> bool:
        """Whether it was memory that the process lacked, and there is something smaller to start."""
        if not spawned.ran_out_of_memory or not self._smaller:
            return False
        self._plan = self._smaller.pop(0)
        return True

    def _connected(self) -> Link:
        if self._link is None:
            if not self.available or self._spawned is None:
                raise self._unavailable("is being started again")
            self._link = Link(self._spawned.socket, self._died)
        return self._link

    async def _mended(self) -> None:
        """Wait for the process that follows one that died.

        Raises:
            ModelUnavailable: it takes too long.
        """
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while self._mending is not None:
                    await asyncio.wait({self._mending})
        except TimeoutError:
            raise self._unavailable("cannot be started again for now") from None

    def _died(self) -> None:
        """Called by the link when the other side is gone."""
        self._link = None
        self._ready = False
        if not self._closed and self._mending is None:
            _logger.error("%s has died and is started again", self._plan.name)
            self._mending = asyncio.get_running_loop().create_task(self._mend())

    async def _mend(self) -> None:
        """Start the process again, however often it takes."""
        pause = 1.0
        try:
            if self._spawned is not None:
                await asyncio.to_thread(self._spawned.end)
                self._shrink(self._spawned)
            while not self._closed:
                try:
                    await asyncio.to_thread(self.start)
                except Exception as error:  # this try ends here, and the next may go better
                    unforeseen = not isinstance(error, EngineFailure)
                    _logger.error("%s was not started again: %s", self._plan.name, error, exc_info=unforeseen)
                else:
                    _logger.info("%s answers again", self._plan.name)
                    self._meter.restarted("recogniser")
                    return
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            self._mending = None

    def _unavailable(self, why: str) -> ModelUnavailable:
        return ModelUnavailable(f"{self._plan.name} {why}. Try again later.", retry_after=RETRY_AFTER_SECONDS)
