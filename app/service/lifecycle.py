"""Where the server stands between its start and its end, and who wants to know.

    starting -> serving -> draining -> closed -> finishing -> ended

`draining`: it was told to end; everything is still answered, and whoever asks is sent elsewhere. `closed`: no port
listens any more, nothing new begins. `finishing`: live streams that still go on end now, with what was heard.
"""

from __future__ import annotations

import asyncio
import enum
import weakref
from typing import Protocol


class Phase(enum.IntEnum):
    """In their order."""

    STARTING = enum.auto()
    SERVING = enum.auto()
    DRAINING = enum.auto()
    CLOSED = enum.auto()
    FINISHING = enum.auto()
    ENDED = enum.auto()


class Guest(Protocol):
    """Who is to be told when the phase changes, as long as it lives."""

    def heed(self) -> None:
        """Look at the phase."""
        ...


class Lifecycle:
    """One server's. It goes forward only. All but `drain` belong to the event loop."""

    def __init__(self) -> None:
        self._phase = Phase.STARTING
        self._guests: weakref.WeakSet[Guest] = weakref.WeakSet()
        self._finishing = asyncio.Event()
        self._given_up = False

    @property
    def phase(self) -> Phase:
        """Where it stands."""
        return self._phase

    @property
    def draining(self) -> bool:
        """Whether it was told to end."""
        return self._phase >= Phase.DRAINING

    @property
    def closed(self) -> bool:
        """Whether nothing new begins."""
        return self._phase >= Phase.CLOSED

    @property
    def finishing(self) -> bool:
        """Whether what goes on without end is to end now."""
        return self._phase >= Phase.FINISHING

    @property
    def given_up(self) -> bool:
        """Whether what still goes on is waited for no longer: it is cancelled."""
        return self._given_up

    def give_up(self) -> None:
        """Say so, before anything is cancelled."""
        self._given_up = True

    async def until_finishing(self) -> None:
        """Wait for that."""
        await self._finishing.wait()

    def drain(self) -> None:
        """It was told to end. May be said from a signal's handler: nothing but the phase changes."""
        self._phase = max(self._phase, Phase.DRAINING)

    def go_on_to(self, phase: Phase) -> None:
        """`phase`, if it is not over yet; guests are told."""
        if phase <= self._phase:
            return
        self._phase = phase
        if self.finishing:
            self._finishing.set()
        for guest in list(self._guests):
            guest.heed()

    def welcome(self, guest: Guest) -> None:
        """Tell `guest` from here on; it must be hashable."""
        self._guests.add(guest)
