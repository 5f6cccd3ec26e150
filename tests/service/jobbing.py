"""A job's memory that a test looks into, and a service that works on jobs' recordings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from house import ENGLISH, House, children, work_left

from app.domain.engines import Hypothesis
from app.domain.options import RecognitionOptions
from app.domain.transcript import Transcript
from app.service.jobs.job import Kept, Plan
from app.service.service import SpeechService

_PATIENCE = 120.0
"""Seconds."""
Place = tuple[int, int]
"""A channel, and a piece's number in it."""


class Interrupted(Exception):  # noqa: N818 - an event
    """The server was, while it kept something."""


@dataclass
class Notes:
    """A Memory and a Watch that last from one attempt to the next. There is room for so many more entries, plans
    included; then the work is interrupted."""

    plans: dict[int, Plan] = field(default_factory=dict)
    pieces: dict[Place, Hypothesis] = field(default_factory=dict)
    room: int = 10_000
    steps: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def plan(self, channel: int) -> Plan | None:
        return self.plans.get(channel)

    async def keep_plan(self, channel: int, plan: Plan) -> None:
        await self._use()
        self.plans[channel] = plan

    def heard(self, channel: int, number: int) -> Hypothesis | None:
        return self.pieces.get((channel, number))

    async def keep(self, channel: int, number: int, hypothesis: Hypothesis) -> None:
        await self._use()
        self.pieces[channel, number] = hypothesis

    async def _use(self) -> None:
        await asyncio.sleep(0)
        if self.room == 0:
            raise Interrupted
        self.room -= 1

    def at(self, step: str) -> None:
        self.steps.append(step)

    def lasts(self, seconds: float) -> None:
        self.seconds.append(seconds)

    @property
    def kept(self) -> Kept:
        return Kept(dict(self.plans), dict(self.pieces))


async def worked_on(
    service: SpeechService,
    sound: Path,
    options: RecognitionOptions = ENGLISH,
    notes: Notes | None = None,
    *,
    owner: str = "",
    name: str = "job_1",
) -> Transcript:
    """What comes of a job's recording, as a runner has it worked on."""
    notes = notes or Notes()
    return await service.work_on(sound, "whisper-base", options, owner, None, notes, notes, name=name)


def run(house: House, scenario: Callable[[SpeechService], Awaitable[None]], **settings: object) -> None:
    """As House.run, with all the time that a busy machine may take; this server takes no jobs of its own."""
    before = children()

    async def main() -> None:
        service = SpeechService(house.settings(max_running_jobs=0, **settings))
        try:
            async with asyncio.timeout(_PATIENCE):
                await service.start()
                await scenario(service)
                assert service.active == 0
                assert service.waiting_pieces == 0
                assert work_left() == []
        finally:
            await service.close_job_tools()
            await service.close()

    asyncio.run(main())
    assert list(house.temp.iterdir()) == []
    assert children() <= before, "a decoder was left running"


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in threads and other processes."""
    async with asyncio.timeout(_PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)
