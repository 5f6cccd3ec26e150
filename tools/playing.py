"""Playing recordings as streams, several at once."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from tools.dialects.hearing import Heard, Said, StreamFailedError, Wishes
from tools.dialects.session import PATIENCE, Session
from tools.display import Display, Shown
from tools.recordings import RATE, Recording, UnreadableError, read

HOPELESS = frozenset({"unreachable", 401, 403, 404})
"""What would happen to the next stream, too."""
_TICK = 0.1
_BREATH = 1.0
"""Seconds between a stream that failed and the next one."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How to play. `pace`: times as fast as it was recorded, None: as fast as it is taken."""

    dialect: type[Session]
    url: str
    wishes: Wishes
    pace: float | None = 1.0
    concurrency: int = 1
    loop: bool = False


@dataclass(slots=True)
class Outcomes:
    """What became of the streams so far."""

    heard: list[Heard] = field(default_factory=list)
    failures: list[StreamFailedError | UnreadableError] = field(default_factory=list)


async def play(recordings: Sequence[Recording], manner: Manner, display: Display, outcomes: Outcomes) -> None:
    """Play them all, and tell `display` and `outcomes`. Where there are fewer than may be played at once, they are
    repeated; in a loop it goes on until it is cancelled, or until there is no point in it."""
    streams = _streams(recordings, manner)
    over = asyncio.Event()

    async def worker() -> None:
        for number, recording in streams:
            if over.is_set():
                return
            _end_if_cancelled()
            failure = await _one(number, recording, manner, display, outcomes)
            if isinstance(failure, StreamFailedError) and failure.status in HOPELESS:
                over.set()
            elif failure:
                await asyncio.sleep(_BREATH if manner.loop else 0)

    drawing = asyncio.create_task(_draw(display))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(manner.concurrency):
                group.create_task(worker())
    finally:
        drawing.cancel()


def _end_if_cancelled() -> None:
    """A library that waits for something else in the same moment may keep a cancellation to itself; a loop would then
    never end."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _streams(recordings: Sequence[Recording], manner: Manner) -> Iterator[tuple[int, Recording]]:
    """Streams with their numbers, from 1."""
    repeated = itertools.cycle(recordings)
    count = max(len(recordings), manner.concurrency)
    for number, recording in enumerate(repeated if manner.loop else itertools.islice(repeated, count)):
        turn = number // len(recordings)
        yield number + 1, replace(recording, name=f"{recording.name} #{turn + 1}") if turn else recording


async def _one(
    number: int, recording: Recording, manner: Manner, display: Display, outcomes: Outcomes
) -> StreamFailedError | UnreadableError | None:
    """Play one; returns why it was not heard."""
    shown: Shown | None = None
    try:
        samples = await asyncio.to_thread(read, recording.path)
        session = manner.dialect(manner.url, manner.wishes, tell=lambda said: _told(display, shown, said))
        async with session:
            shown = Shown(number, recording.name, len(samples) / RATE, session.heard)
            display.begun(shown)
            await session.play(samples, manner.pace)
            await session.stop(max(PATIENCE, len(samples) / RATE))
    except (StreamFailedError, UnreadableError) as error:
        outcomes.failures.append(error)
        status = error.status if isinstance(error, StreamFailedError) else "unreadable"
        reason = error.reason if isinstance(error, StreamFailedError) else str(error)
        _gone(display, shown)
        display.failed(recording.name, status, reason)
        return error
    outcomes.heard.append(session.heard)
    _gone(display, shown)
    return None


def _told(display: Display, shown: Shown | None, said: Said) -> None:
    if shown:
        display.told(shown, said)


def _gone(display: Display, shown: Shown | None) -> None:
    if shown:
        display.finished(shown)


async def _draw(display: Display) -> None:
    while True:
        display.tick()
        await asyncio.sleep(_TICK)
