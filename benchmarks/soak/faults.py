"""The faults themselves, each at its time while the load goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from dataclasses import dataclass, field

from benchmarks.soak.load import Load
from benchmarks.soak.looking import age, decoders
from benchmarks.soak.outcomes import Fault
from benchmarks.soak.plan import Planned
from benchmarks.soak.room import Room
from benchmarks.soak.serving import DECODE_SECONDS, Server

_FULL_SECONDS, _REFILL_SECONDS = 3.0, 0.02
_LOOK_SECONDS, _STARTED_SECONDS = 0.1, 5.0
_REPLACED = 8
"""A decoder that hangs is replaced within so many times its patience. A job's has four times a request's, and is not
missed before the next job."""


@dataclass(slots=True)
class Trouble:
    """Makes them. `trouble` are those of the server that are none of the clients': exit statuses, files left behind."""

    server: Server
    room: Room
    load: Load
    chance: random.Random
    seconds: float
    """How long the whole may take: faults come in time even where requests are slow."""
    found: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)
    """Faults that cannot be made here."""
    began: float = 0.0

    async def run(self, planned: list[Planned], count: int) -> None:
        """One after the other, until the load is done."""
        began = time.monotonic()
        for one in planned:
            while self._share(began, count) < one.share and not self.load.stopped:  # noqa: ASYNC110 - it is looked at, not told
                await asyncio.sleep(_LOOK_SECONDS)
            if self.load.stopped:
                return
            match one.kind:
                case "decoder killed":
                    await self._kill()
                case "decoder hung":
                    await self._hang()
                case "disk full":
                    await self._fill()
                case "restart":
                    await self._restart()

    def _share(self, began: float, count: int) -> float:
        return max(self.load.done / count, (time.monotonic() - began) / self.seconds)

    def _begin(self, fault: Fault) -> Fault:
        self.load.judge.faults.append(fault)
        return fault

    async def _kill(self) -> None:
        pid = await self._victim()
        if pid is None:
            return
        fault = self._begin(Fault("decoder killed", time.monotonic(), costs=1))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        fault.ended = time.monotonic() + 1.0  # it is noticed a little later

    async def _victim(self) -> int | None:
        """A decoder that has started for certain: one that has not is another matter, with a patience of its own."""
        while not self.load.stopped:
            old = [pid for pid in decoders(self.server.pid) if age(pid) > _STARTED_SECONDS]
            if old:
                return self.chance.choice(old)
            await asyncio.sleep(_LOOK_SECONDS)
        return None

    async def _hang(self) -> None:
        """One is stopped until the server gives it up; a request that has it waits so long."""
        pid = await self._victim()
        if pid is None:
            return
        fault = self._begin(Fault("decoder hung", time.monotonic(), costs=1))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        deadline = time.monotonic() + _REPLACED * DECODE_SECONDS
        while self._has(pid) and time.monotonic() < deadline:  # noqa: ASYNC110 - the system tells nobody
            await asyncio.sleep(_LOOK_SECONDS)
        if self._has(pid):
            self.found.append("a decoder that hangs was not replaced")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        fault.ended = time.monotonic() + 1.0

    def _has(self, decoder: int) -> bool:
        return not self.load.stopped and decoder in decoders(self.server.pid)

    async def _fill(self) -> None:
        if not self.room.bounded:
            if "disk full" not in self.without:
                self.without.append("disk full")
            return
        fault = self._begin(Fault("disk full", time.monotonic()))
        deadline = time.monotonic() + _FULL_SECONDS
        try:
            while time.monotonic() < deadline:
                await asyncio.to_thread(self.room.fill)
                await asyncio.sleep(_REFILL_SECONDS)
        finally:
            self.room.free()
            fault.ended = time.monotonic()

    async def _restart(self) -> None:
        fault = self._begin(Fault("restart", time.monotonic()))
        self.server.terminate()
        await self.end_well()
        self.server.start()
        try:
            await asyncio.to_thread(self.server.wait_until_ready)
        except RuntimeError as error:
            self.found.append(f"new start: {error}")
            self.load.stopped = True
        fault.ended = time.monotonic()

    async def end_well(self) -> None:
        """Wait for the end of a server that was told to end."""
        status = await asyncio.to_thread(self.server.ended)
        if status != -signal.SIGTERM:
            self.found.append(f"exit status {status} after SIGTERM" if status is not None else "had to be killed")
        self.found.extend(f"left in TEMP_DIR after its end: {name}" for name in self.room.left() if name)
