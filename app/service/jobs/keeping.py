"""What is kept of one job's work while somebody works on it: read once, written piece by piece, and how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from app.domain.engines import Hypothesis
from app.domain.errors import JobsUnavailable, StorageFull
from app.service.jobs.job import Kept, Lease, Plan, Progress, Step
from app.service.jobs.progress import Tally
from app.service.jobs.store import JobStore

TRY_AGAIN_SECONDS: Final = 0.5
"""Between two tries to read or write what the database does not let."""


class LeaseError(Exception):
    """The job is somebody else's, or nobody's: it was cancelled, deleted, or leased anew."""


class Keeping:
    """A job's Memory and Watch. Belongs to one event loop.

    What the database does not take is written again and again: who holds the lease ends that when it is over.
    """

    def __init__(
        self,
        store: JobStore,
        lease: Callable[[], Lease],
        kept: Kept,
        *,
        moved: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        """`lease` is the present one. `moved` is called when there is progress that was not written; `changed` when
        something was."""
        self._store = store
        self._lease = lease
        self._plans = dict(kept.plans)
        self._heard = dict(kept.heard)
        self._tally = Tally(kept.plans, kept.heard)
        self._moved = moved
        self._changed = changed
        self._step: Step = "decode"
        self._duration = lease().job.progress.duration
        self.gained = False
        """Whether something was kept."""
        self.trouble = ""
        """Why what is heard cannot be kept now; "" where it can."""

    @property
    def pieces(self) -> int:
        """How many are kept."""
        return len(self._heard)

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return self._tally.progress(self._step, self._duration)

    # --- Watch --------------------------------------------------------------------------------------------------------

    def at(self, step: Step) -> None:
        """It has come to this step."""
        self._step = step
        self._moved()

    def lasts(self, seconds: float) -> None:
        """The recording is so long."""
        self._duration = seconds
        self._moved()

    # --- Memory -------------------------------------------------------------------------------------------------------

    def plan(self, channel: int) -> Plan | None:
        """What is to be recognised of a channel."""
        return self._plans.get(channel)

    def heard(self, channel: int, number: int) -> Hypothesis | None:
        """What was heard in a piece."""
        return self._heard.get((channel, number))

    async def keep_plan(self, channel: int, plan: Plan) -> None:
        """Keep what is to be recognised of a channel.

        Raises:
            LeaseError: the job is not ours any more.
        """
        await self._written(lambda: self._store.keep_plan(self._lease(), channel, plan))
        self._plans[channel] = plan
        self._tally.plan(channel, plan)

    async def keep(self, channel: int, number: int, hypothesis: Hypothesis) -> None:
        """Keep what was heard in a piece.

        Raises:
            LeaseError: the job is not ours any more.
        """
        new = self._tally.keep(channel, number)  # at once: what is written from here on is written after it

        async def write() -> bool:
            progress = self._tally.progress(self._step, self._duration, (channel, number))
            keeping = self._store.keep(self._lease(), channel, number, hypothesis, progress)
            try:
                return await asyncio.shield(keeping)  # it is heard, though another piece may end the work now
            except (JobsUnavailable, StorageFull):
                if new:  # from here on only its own writing counts it
                    self._tally.drop(channel, number)
                raise

        await self._written(write)
        self._heard[channel, number] = hypothesis
        self._tally.keep(channel, number)

    async def _written(self, write: Callable[[], Awaitable[bool]]) -> None:
        while True:
            try:
                ours = await write()
            except (JobsUnavailable, StorageFull) as error:
                self._tell(error.message)
                await asyncio.sleep(TRY_AGAIN_SECONDS)
                continue
            self._tell("")
            if not ours:
                raise LeaseError
            self.gained = True
            self._changed()
            return

    def _tell(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            self._moved()
