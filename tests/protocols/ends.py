"""A lifecycle that a test's thread can have go on, while a server's loop lives by it."""

from __future__ import annotations

import asyncio

from app.service.lifecycle import Guest, Lifecycle, Phase


class Ends(Lifecycle):
    """Of a server with one loop, which is known once somebody has connected."""

    def __init__(self) -> None:
        super().__init__()
        self._loop: asyncio.AbstractEventLoop | None = None

    def welcome(self, guest: Guest) -> None:
        self._loop = asyncio.get_running_loop()
        super().welcome(guest)

    async def until_finishing(self) -> None:
        self._loop = asyncio.get_running_loop()
        await super().until_finishing()

    def close(self) -> None:
        """Nothing new begins."""
        self._go_on_to(Phase.CLOSED)

    def finish(self) -> None:
        """Live streams are to end now."""
        self._go_on_to(Phase.FINISHING)

    def _go_on_to(self, phase: Phase) -> None:
        assert self._loop is not None, "nobody has connected"
        self._loop.call_soon_threadsafe(self.go_on_to, phase)
