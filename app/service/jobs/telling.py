"""Tells owners at their webhooks what became of their jobs, each time again until it is heard or too late.

A notice is taken for CLAIM_SECONDS, in which no other server sends it. What could not be begun in time is let lie, and
taken anew by whoever comes first when that time is over.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from app.audio.fetching.addresses import Network
from app.audio.fetching.locations import LocationError, parse_location
from app.audio.fetching.posting import POST_SECONDS, Poster
from app.domain.errors import SpeechError, UnknownJob
from app.domain.meters import NO_METER, Meter
from app.service.jobs.job import Face, Notice
from app.service.jobs.messages import Drawer, Message
from app.service.jobs.sending import DRAW_SECONDS, Outcome, Sender
from app.service.jobs.store import JobStore

__all__ = ["Drawer", "Message", "Teller", "pause_after"]

CLAIM_SECONDS: Final = 60.0
_BEGIN_SECONDS: Final = CLAIM_SECONDS - DRAW_SECONDS - POST_SECONDS - 5.0
"""How long after it was taken a notice may still be sent."""
MOST_SENT: Final = 16
"""Notices that are being sent at once,"""
MOST_OF_A_HOST: Final = 2
"""and those of one receiver."""
_MOST_HELD: Final = 1024
"""Notices that are taken at once, which wait for their turn or for the database to hear what came of them,"""
_MOST_HELD_OF_A_HOST: Final = 128
"""and those of one receiver."""
FIRST_PAUSE: Final = 5.0
LONGEST_PAUSE: Final = 900.0
_TROUBLE_SECONDS: Final = 5.0
"""Until the database is asked again when it could not be used."""
_CLOSE_SECONDS: Final = 3.0
"""What is being sent has so long to end when the server does."""
_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Lane:
    """The notices to one receiver."""

    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_OF_A_HOST))
    held: int = 0


class Teller:
    """Takes notices that are due, one server's share of them, and sends them. Belongs to one event loop."""

    def __init__(
        self,
        store: JobStore,
        drawers: Mapping[Face, Drawer],
        *,
        networks: Collection[Network],
        retry_seconds: float,
        meter: Meter = NO_METER,
        poster: Poster | None = None,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        poll_seconds: float = 1.0,
    ) -> None:
        """Send to public addresses and to those in `networks`.

        What does not arrive is tried again until `retry_seconds` after the job came to its state. `clock` is the
        store's, `jitter` gives numbers from 0 to 1, and `poll_seconds` is how often the database is looked into, where
        other servers may leave something to be sent.
        """
        self._store = store
        self._poster = poster or Poster(networks=networks)
        self._sender = Sender(store, drawers, self._poster, clock=clock)
        self._name = uuid.uuid4().hex
        self._retry_seconds = retry_seconds
        self._meter = meter
        self._clock = clock
        self._jitter = jitter
        self._poll_seconds = poll_seconds
        self._changed = asyncio.Event()
        self._places = asyncio.Semaphore(MOST_SENT)
        self._lanes: dict[str, _Lane] = {}
        self._held: dict[str, asyncio.Task[None]] = {}
        self._runner: asyncio.Task[None] | None = None
        self._closing = False
        self._in_trouble = False

    async def run(self) -> None:
        """Take notices and have them sent, until `close`."""
        self._runner = asyncio.current_task()
        try:
            while not self._closing:
                self._changed.clear()
                if await self._take():
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(_TROUBLE_SECONDS if self._in_trouble else self._poll_seconds):
                        await self._changed.wait()
        finally:
            self._runner = None

    def wake(self) -> None:
        """Look now: a job of this server has come to another state."""
        self._changed.set()

    async def close(self) -> None:
        """Take nothing any more, and end what is being sent. What was not answered by then is due again later."""
        self._closing = True
        self.wake()
        ending = {*self._held.values(), *([self._runner] if self._runner is not None else [])}
        late = (await asyncio.wait(ending, timeout=_CLOSE_SECONDS))[1] if ending else set[asyncio.Task[None]]()
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        self._poster.close()

    # --- taking -------------------------------------------------------------------------------------------------------

    async def _take(self) -> bool:
        """Whether there may be another one to take at once."""
        if len(self._held) >= _MOST_HELD:
            return False
        taken = asyncio.get_running_loop().time()
        notice = await self._due()
        if notice is None or self._closing:
            return False
        if notice.id in self._held:  # its time was over before the database could hear what came of it
            return True
        host = _host(notice)
        lane = self._lanes.setdefault(host, _Lane())
        if lane.held >= _MOST_HELD_OF_A_HOST:  # let lie, so that others' come up
            return True
        lane.held += 1
        task = asyncio.create_task(self._handle(notice, host, lane, taken + _BEGIN_SECONDS))
        self._held[notice.id] = task
        task.add_done_callback(lambda _: self._let_go(notice, host, lane))
        return True

    async def _due(self) -> Notice | None:
        try:
            notice = await self._store.due(self._name, CLAIM_SECONDS)
        except Exception as error:  # this look ends here; the next one may go better
            if not self._in_trouble:
                unforeseen = not isinstance(error, SpeechError)
                why = type(error).__name__ if unforeseen else error
                _logger.error("no webhooks are called for now: %s", why, exc_info=unforeseen)
            self._in_trouble = True
            return None
        if self._in_trouble:
            self._in_trouble = False
            _logger.info("webhooks are called again")
        return notice

    def _let_go(self, notice: Notice, host: str, lane: _Lane) -> None:
        del self._held[notice.id]
        lane.held -= 1
        if not lane.held:
            del self._lanes[host]
        self.wake()  # what comes next of this job is due now

    # --- sending ------------------------------------------------------------------------------------------------------

    async def _handle(self, notice: Notice, host: str, lane: _Lane, end: float) -> None:
        """Send it when there is a place before `end` (of the loop's clock), and say what came of it."""
        async with lane.places, self._places:
            if self._closing or asyncio.get_running_loop().time() > end:
                return
            outcome = await self._sent(notice)
        if outcome.kind in {"sent", "nothing"}:
            if outcome.kind == "sent":
                self._meter.notice("sent")
                _logger.info("job %s: %s was told that it is %s", notice.job.id, host, notice.state)
            await self._insist(notice, lambda: self._store.sent(notice))
            return
        self._meter.notice("failed")
        pause = self._pause(notice, outcome)
        told = (notice.job.id, host, notice.state, outcome.reason)
        if pause is None:
            self._meter.notice("given_up")
            _logger.warning("job %s: %s will not be told that it is %s: %s", *told)
        else:
            _logger.info("job %s: %s could not be told that it is %s: %s; again in %.0f s", *told, pause)
        await self._insist(notice, lambda: self._store.postpone(notice, pause))

    async def _sent(self, notice: Notice) -> Outcome:
        try:
            return await self._sender.send(notice)
        except Exception:  # this try ends here
            _logger.exception("job %s: what its webhook is to be told could not be sent", notice.job.id)
            return Outcome("failed", "something unforeseen")

    def _pause(self, notice: Notice, outcome: Outcome) -> float | None:
        """Seconds until it is tried again; None: it is given up."""
        left = notice.created + self._retry_seconds - self._clock()
        if outcome.kind == "refused" or left <= 0:
            return None
        return min(left, pause_after(notice.tries, self._jitter(), outcome.retry_after))

    async def _insist(self, notice: Notice, say: Callable[[], Awaitable[None]]) -> None:
        """Have the database hear it, however long that takes: else what has arrived would be sent again."""
        told = False
        while True:
            try:
                await say()
            except UnknownJob:  # it was deleted meanwhile
                return
            except Exception as error:  # this try ends here; the next one may go better
                if not told:
                    unforeseen = not isinstance(error, SpeechError)
                    said = "job %s: what came of telling its webhook is not written down yet: %s"
                    why = type(error).__name__ if unforeseen else error
                    _logger.error(said, notice.job.id, why, exc_info=unforeseen)
                told = True
                await asyncio.sleep(_TROUBLE_SECONDS)
            else:
                return


def pause_after(tries: int, jitter: float, retry_after: float | None = None) -> float:
    """Seconds until the next try after so many in vain and one more: FIRST_PAUSE, then twice as long each time up to
    LONGEST_PAUSE, a tenth more or less as `jitter` (0 to 1) has it; longer, up to LONGEST_PAUSE, if the receiver wants
    to be asked `retry_after` seconds later."""
    pause = min(FIRST_PAUSE * 2.0 ** min(tries, 30), LONGEST_PAUSE) * (0.9 + 0.2 * jitter)
    return max(pause, min(retry_after or 0.0, LONGEST_PAUSE))


def _host(notice: Notice) -> str:
    """Who is called, as it may be logged: nothing of the address but the host."""
    webhook = notice.job.request.webhook
    try:
        return parse_location(webhook.url).raw_host.decode("ascii")[:100] if webhook is not None else "-"
    except LocationError:
        return "-"
