"""What the work on a job remembers from one attempt to the next, and whom it tells how far it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from app.domain.engines import Hypothesis
from app.service.jobs.job import Plan, Step


class Memory(Protocol):
    """What is kept of a job's work, by channel (0 where they are mixed) and number of the piece in the channel's plan.

    Called on the event loop. What it raises ends the work at once, with that.
    """

    def plan(self, channel: int) -> Plan | None:
        """What is to be recognised of a channel; None: nobody knows yet."""
        ...

    async def keep_plan(self, channel: int, plan: Plan) -> None:
        """Keep what is to be recognised of a channel. The plans of all channels are kept before any piece is."""
        ...

    def heard(self, channel: int, number: int) -> Hypothesis | None:
        """What was heard in a piece; None: nothing is kept of it."""
        ...

    async def keep(self, channel: int, number: int, hypothesis: Hypothesis) -> None:
        """Keep what was heard in a piece, in place of what was kept of it before.

        Pieces are kept as they are heard, a few of them at once, not always in order. The leading ones of a recording
        whose language is not given may be kept a second time: heard anew in the language that they settled.
        """
        ...


class Watch(Protocol):
    """Is told how far a job's work is. Called on the event loop; must return at once."""

    def at(self, step: Step) -> None:
        """It has come to this step."""
        ...

    def lasts(self, seconds: float) -> None:
        """The recording is decoded, and so many seconds long, on its container's clock."""
        ...


class PiecesOf:
    """One channel's pieces in a job's memory: a PieceMemory. `failed` is told what the memory raises, so that the work
    need not go on to the piece it was raised for."""

    def __init__(self, memory: Memory, channel: int, failed: Callable[[Exception], None]) -> None:
        self._memory = memory
        self._channel = channel
        self._failed = failed

    def heard(self, number: int) -> Hypothesis | None:
        """What is kept of a piece."""
        return self._memory.heard(self._channel, number)

    async def keep(self, number: int, hypothesis: Hypothesis) -> None:
        """Keep what was heard in a piece."""
        await self._or_fail(self._memory.keep(self._channel, number, hypothesis))

    async def _or_fail(self, step: Awaitable[None]) -> None:
        try:
            await step
        except Exception as error:
            self._failed(error)
            raise
