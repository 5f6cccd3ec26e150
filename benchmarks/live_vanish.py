"""Clients that vanish in the middle of a live session, and what the server still holds when they are gone."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from benchmarks.memory import children, sample
from tools.dialects.hearing import StreamFailedError
from tools.dialects.session import RATE, Session

if TYPE_CHECKING:
    from benchmarks.audio import Sixteen

AT_ONCE = 50
_SECONDS = 0.2, 2.0
"""How much each says before it vanishes."""
_LOOK_SECONDS = 0.5
_LINGER = 0.3
"""Seconds it may stay after that."""
_MOMENTS = ("before the start", "in silence", "in speech", "in a frame", "after the stop")


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a server process and its children hold. `own` is anonymous memory in MiB, `files` are of its TEMP_DIR,
    `active` is what it says of itself: requests and streams."""

    sockets: int
    descriptors: int
    threads: int
    processes: int
    files: int
    active: int
    own: float

    def nothing_beyond(self, before: Holdings) -> bool:
        """Whether nothing is held that was not held before; of memory, which is never the same, nothing is said."""
        counted = [field.name for field in fields(self) if field.name != "own"]
        return all(getattr(self, name) <= getattr(before, name) for name in counted)


def holdings(pid: int, url: str, temp: Path) -> Holdings:
    """What it holds now; `url` is where it answers."""
    processes = [pid, *children(pid)]
    targets = [target for process in processes for target in _open(process)]
    threads = sum(len(list(Path(f"/proc/{process}/task").iterdir())) for process in processes)
    # Last, because it takes a connection.
    state = httpx.get(f"{url}/health", trust_env=False, timeout=30, headers={"Connection": "close"}).json()
    return Holdings(
        sockets=sum(target.startswith("socket:") for target in targets),
        descriptors=len(targets),
        threads=threads,
        processes=len(processes),
        files=len(list(temp.iterdir())),
        active=sum(int(value) for name, value in state.items() if name.startswith("active_")),
        own=sample(pid).own,
    )


def _open(process: int) -> list[str]:
    """What its descriptors stand for."""
    found: list[str] = []
    for link in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.append(str(link.readlink()))
    return found


def settled(look: Callable[[], Holdings], before: Holdings, seconds: float) -> Holdings:
    """What is held once it is no more than `before`, or after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (now := look()).nothing_beyond(before) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    return now


async def vanish(
    sessions: Sequence[Callable[[], Session]], sound: Sixteen, count: int, *, seed: int, at_once: int = AT_ONCE
) -> Counter[str]:
    """Have so many clients come, speak and vanish, `at_once` of them, each as one of `sessions`; returns how many did
    so when."""
    room = asyncio.Semaphore(at_once)
    rng = random.Random(seed)
    done: Counter[str] = Counter()

    async def client(chance: random.Random) -> None:
        moment = chance.choice(_MOMENTS)
        session = chance.choice(sessions)()
        async with room:
            try:
                await _one(session, sound, moment, chance)
            except StreamFailedError as error:
                moment = f"refused ({error.status})"
        done[moment] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(client(random.Random(rng.random())))
    return done


async def _one(session: Session, sound: Sixteen, moment: str, chance: random.Random) -> None:
    reset = chance.random() < 0.5
    if moment == "before the start":
        await session.knock()
        return
    size = round(chance.uniform(*_SECONDS) * RATE)
    first = chance.randrange(0, len(sound) - size)
    async with session as client:
        if moment != "in silence":
            await client.play(sound[first : first + size])
        if moment == "after the stop":
            await client.leave()
        await asyncio.sleep(chance.uniform(0, _LINGER))
        client.vanish(reset=reset, within=client.half_a_message if moment == "in a frame" else b"")
