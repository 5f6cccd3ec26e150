"""One live session that goes on for hours: does the server's memory grow, or its answers slow down?"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.live_sessions import SOCKET, Script, processor_seconds
from benchmarks.measures import percentile
from benchmarks.memory import sample
from benchmarks.progress import bar
from benchmarks.report import Table
from benchmarks.server import Server
from tests.real.live_client import LiveClient, Message

_SAMPLE_SECONDS = 0.5
_PATIENCE = 600.0


@dataclass(frozen=True, slots=True)
class Point:
    """Something measured at a time of the stream; both times and delays are seconds, memory is MiB."""

    at: float
    value: float


@dataclass(frozen=True, slots=True)
class Endured:
    """What a long stream cost: anonymous memory, processor seconds so far, delay of final texts, and how late sound was
    taken, each along the stream. `differing` counts sentences that a later turn of the loop said otherwise; `speed` was
    reached."""

    seconds: float
    own: tuple[Point, ...]
    work: tuple[Point, ...]
    delays: tuple[Point, ...]
    slips: tuple[Point, ...]
    sentences: int
    differing: int
    speed: float


def endure(server: Server, script: Script, minutes: float, speed: float) -> Endured:
    """Play the script again and again for so many minutes of sound, `speed` times as fast as it was said."""
    return asyncio.run(_endure(server, script, round(minutes * 60 / script.seconds) or 1, speed))


async def _endure(server: Server, script: Script, turns: int, speed: float) -> Endured:
    own, work = list[Point](), list[Point]()
    async with LiveClient(server.url + SOCKET) as client:
        heard = client.heard

        async def watch() -> None:
            while True:
                now = await asyncio.to_thread(sample, server.pid)
                at = heard.frames[-1].end if heard.frames else 0.0
                own.append(Point(at, now.own))
                work.append(Point(at, processor_seconds(server.pid)))
                await asyncio.sleep(_SAMPLE_SECONDS)

        watching = asyncio.create_task(watch())
        try:
            with bar("turns of the loop", turns) as progress:
                for _ in range(turns):
                    await client.play(script.sound, speed)
                    progress.update()
            await client.stop(_PATIENCE)
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
    delays = [
        Point(final.payload["time"] / 1000, delay)
        for final, delay in zip(heard.finals, heard.final_delays(), strict=True)
    ]
    return Endured(
        seconds=turns * script.seconds,
        own=tuple(own),
        work=tuple(work),
        delays=tuple(delays),
        slips=tuple(Point(frame.end, frame.sent - frame.due) for frame in heard.frames),
        sentences=len(heard.finals),
        differing=_differing(heard.finals, script.seconds, turns),
        speed=turns * script.seconds / (heard.frames[-1].sent - heard.frames[0].sent),
    )


def _differing(finals: Sequence[Message], loop: float, turns: int) -> int:
    """Sentences of the last turn that the first one (of those which began in the middle of a stream) did not say."""
    if turns < 3:
        return 0
    said: list[list[str]] = [[] for _ in range(turns)]
    for final in finals:
        turn = min(int(final.payload["begin_time"] / 1000 / loop), turns - 1)
        said[turn].append(final.payload["result"])
    return len(set(said[-1]) ^ set(said[1]))


def table(endured: Endured, speed: float) -> Table:
    """First and last quarter beside each other."""
    rows = [
        _row("anonymous memory, median MiB", endured.own, endured.seconds, 0.5),
        _cost_row(endured),
        _row("final after endpoint, p50 s", endured.delays, endured.seconds, 0.5),
        _row("final after endpoint, p95 s", endured.delays, endured.seconds, 0.95),
        _row("sound taken late, p95 s", endured.slips, endured.seconds, 0.95),
    ]
    title = f"One stream of {endured.seconds / 60:.0f} minutes at {speed:g} times real time"
    notes = (
        f"the server took {endured.speed:.1f} times real time; {endured.sentences} sentences; "
        f"{endured.differing} of the last turn of the loop differ from the second turn's",
    )
    return Table(title, ("", "first quarter", "last quarter", "last / first", "slope an hour"), tuple(rows), notes)


def _row(name: str, points: Sequence[Point], seconds: float, share: float) -> tuple[str, ...]:
    first, last = quarters(points, seconds)
    before, after = percentile(first, share), percentile(last, share)
    slope = 3600 * slope_of(points)
    return (name, f"{before:.3f}", f"{after:.3f}", f"{after / before:.2f}" if before > 0 else "-", f"{slope:+.3f}")


def _cost_row(endured: Endured) -> tuple[str, ...]:
    """Hardly depends on what else the machine does, as delays do."""
    bounds = (0.0, endured.seconds / 4), (endured.seconds * 3 / 4, endured.seconds)
    spans = [[point for point in endured.work if low <= point.at <= high] or list(endured.work) for low, high in bounds]
    before, after = ((span[-1].value - span[0].value) / max(span[-1].at - span[0].at, 1.0) for span in spans)
    ratio = f"{after / before:.2f}" if before else "-"
    return ("processor seconds a second of sound", f"{before:.3f}", f"{after:.3f}", ratio, "")


def quarters(points: Sequence[Point], seconds: float) -> tuple[list[float], list[float]]:
    """What was measured in the first and in the last quarter of the stream."""
    first = [point.value for point in points if point.at <= seconds / 4]
    last = [point.value for point in points if point.at >= seconds * 3 / 4]
    return first or [points[0].value], last or [points[-1].value]


def slope_of(points: Sequence[Point]) -> float:
    """Change a second of stream, by least squares."""
    if len({point.at for point in points}) < 2:
        return 0.0
    return statistics.linear_regression([point.at for point in points], [point.value for point in points]).slope
