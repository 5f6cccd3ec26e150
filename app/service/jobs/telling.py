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
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Final

from app.audio.fetching.addresses import Network
from app.audio.fetching.locations import LocationError, parse_location
from app.audio.fetching.posting import POST_SECONDS, Poster
from app.domain.errors import SpeechError, UnknownJob
from app.domain.meters import NO_METER, Meter
from app.service.jobs.job import Face, Notice
from app.service.jobs.messages import Drawer, Message
from app.service.jobs.places import Bounds, Places, Room, Whose, take_from
from app.service.jobs.sending import DRAW_SECONDS, Outcome, Sender
from app.service.jobs.store import JobStore

__all__ = ["Drawer", "Message", "Teller", "pause_after"]

CLAIM_SECONDS: Final = 70.0
_CLOCK_SECONDS: Final = 10.0
"""By so much may the servers' clocks differ before one takes what another still sends."""
BEGIN_SECONDS: Final = CLAIM_SECONDS - DRAW_SECONDS - POST_SECONDS - 5.0 - _CLOCK_SECONDS
"""How long after it was taken a notice may still be sent."""
MOST_SENT: Final = 16
"""Notices that are being sent at once,"""
MOST_OF_AN_OWNER: Final = 12
"""those of one owner, all of whose receivers may be slow: enough where nobody else is, and the rest is for others,"""
MOST_OF_A_HOST: Final = 2
"""and those of one receiver."""
_MOST_HELD: Final = 1024
"""Notices that are taken at once, which wait for their turn or for the database to hear what came of them,"""
_MOST_HELD_OF_AN_OWNER: Final = 256
"""those of one owner,"""
_MOST_HELD_OF_A_HOST: Final = 128
"""those of one receiver,"""
_MOST_HELD_OF_AN_OWNER_FOR_A_HOST: Final = 96
"""and of those the ones of one owner, which so cannot keep others' from a receiver that they share."""
_MANY_LET_LIE: Final = 128
"""An owner of whom so many are let lie comes after all others."""
FIRST_PAUSE: Final = 5.0
LONGEST_PAUSE: Final = 900.0
_TROUBLE_SECONDS: Final = 5.0
"""Until the database is asked again when it could not be used."""
_CLOSE_SECONDS: Final = 3.0
"""What is being sent has so long to end when the server does."""
_logger = logging.getLogger(__name__)


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
        self._places = Places(Bounds(MOST_SENT, MOST_OF_AN_OWNER, MOST_OF_A_HOST, MOST_OF_A_HOST))
        held = _MOST_HELD, _MOST_HELD_OF_AN_OWNER, _MOST_HELD_OF_A_HOST, _MOST_HELD_OF_AN_OWNER_FOR_A_HOST
        self._room = Room(Bounds(*held))
        self._let_lie: Counter[str] = Counter()
        self._look_at_others = 0.0
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
        loop = asyncio.get_running_loop()
        taken = loop.time()
        notice = await self._next()
        if notice is None or self._closing:
            return False
        if notice.id in self._held:  # its time was over before the database could hear what came of it
            return True
        whose = Whose(notice.job.owner, _host(notice))
        if not self._room.has_room(whose):  # so that what is for other receivers comes up
            self._let_lie[whose.owner] += 1
            loop.call_later(CLAIM_SECONDS, take_from, self._let_lie, whose.owner)
            return True
        self._room.enter(whose)
        task = asyncio.create_task(self._handle(notice, whose, taken + BEGIN_SECONDS))
        self._held[notice.id] = task
        task.add_done_callback(lambda _: self._let_go(notice, whose))
        return True

    async def _next(self) -> Notice | None:
        """The one that is due longest, of those that there is room for. Owners of whom many are let lie come last.

        What owners who have no room have due has to be gone through to find somebody else's: that is done each
        `poll_seconds`, not each time that one of theirs is let go.
        """
        full = self._room.full_owners()
        late = {owner for owner, number in self._let_lie.items() if number >= _MANY_LET_LIE} - full
        now = asyncio.get_running_loop().time()
        if not (full or late) or now >= self._look_at_others:
            notice = await self._due(full | late)
            if notice is not None or self._in_trouble:
                return notice
            self._look_at_others = now + self._poll_seconds
        return await self._due(full) if late else None

    async def _due(self, passing_over: Collection[str]) -> Notice | None:
        try:
            notice = await self._store.due(self._name, CLAIM_SECONDS, passing_over)
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

    def _let_go(self, notice: Notice, whose: Whose) -> None:
        del self._held[notice.id]
        self._room.leave(whose)
        self.wake()  # what comes next of this job is due now

    # --- sending ------------------------------------------------------------------------------------------------------

    async def _handle(self, notice: Notice, whose: Whose, end: float) -> None:
        """Send it when there is a place before `end` (of the loop's clock), and say what came of it."""
        try:
            async with asyncio.timeout_at(end):
                await self._places.take(whose)
        except TimeoutError:
            return
        try:
            if self._closing or asyncio.get_running_loop().time() > end:
                return
            outcome = await self._sent(notice)
        finally:
            self._places.free(whose)
        await self._note(notice, whose.host, outcome)

    async def _note(self, notice: Notice, host: str, outcome: Outcome) -> None:
        """Write down what came of it, in the database, the log and the metrics."""
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
