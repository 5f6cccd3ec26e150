"""What a live stream has decoded and nobody has read yet: one writes, one reads, and neither outruns the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from app.domain.engines import SAMPLE_RATE
from app.domain.errors import SpeechError

if TYPE_CHECKING:
    from app.domain.engines import Samples

BLOCK = SAMPLE_RATE // 2
"""Samples (0.5 s): the most that is handed on at once. Less is, as soon as there is any."""
_WIDTH = 4  # bytes a sample
_CUE = SAMPLE_RATE // 10
"""Samples for which a cue counts: who only says what is over must wait, too."""


class Cue(Enum):
    """What is said of the sound before it: to be taken as it is, or to be forgotten."""

    COMMIT = "commit"
    CLEAR = "clear"


class Backlog:
    """Samples in order. Belongs to one event loop; one task writes, one reads."""

    def __init__(self, bound: int) -> None:
        """`bound`: while more samples than that are unread, `room` waits."""
        self._bound = bound
        # Bytes, not a list of arrays: some clients send a sample or two at a time, and an array costs 112 bytes.
        self._store = bytearray()
        self._cues: deque[tuple[int, Cue]] = deque()  # and where they stand, in bytes of everything
        self._taken = 0  # bytes
        self._ended = False
        self._error: SpeechError | None = None
        self._changed = asyncio.Event()  # for the reader
        self._room = asyncio.Event()
        self._room.set()

    @property
    def unread(self) -> int:
        """Samples that were put in and not read yet."""
        return len(self._store) // _WIDTH

    @property
    def full(self) -> bool:
        """Whether `room` waits."""
        return not self._room.is_set()

    @property
    def ended(self) -> bool:
        """Whether nothing more will come: the end, a failure, or `drop`."""
        return self._ended

    @property
    def error(self) -> SpeechError | None:
        """What the stream failed of."""
        return self._error

    async def room(self) -> None:
        """Until no more than the bound is unread, cues included, or nothing more will be wanted."""
        await self._room.wait()

    def put(self, samples: Samples) -> None:
        """Add samples, however many; after the end they are not wanted any more."""
        if self._ended or not len(samples):
            return
        self._store += samples.astype(np.float32, copy=False).tobytes()
        self._update()

    def cue(self, cue: Cue) -> None:
        """Say something of everything that was put in so far; after the end it is not wanted."""
        if self._ended:
            return
        self._cues.append((self._taken + len(self._store), cue))
        self._update()

    def end(self, error: SpeechError | None = None) -> None:
        """Nothing more will come: the reader gets what is there, then the end, or `error`. The first call counts."""
        if self._ended:
            return
        self._ended, self._error = True, error
        self._update()

    def drop(self) -> None:
        """Forget everything: whoever waits, waits no longer."""
        self._store.clear()
        self._cues.clear()
        self.end()
        self._update()

    async def blocks(self) -> AsyncIterator[Samples | Cue]:
        """What is put in: float32 of shape (n,), at most BLOCK samples at a time, and cues in their places.

        Raises:
            SpeechError: the one given to `end`, after everything before it.
        """
        while True:
            await self._changed.wait()
            most = BLOCK * _WIDTH
            if self._cues:
                most = min(most, self._cues[0][0] - self._taken)
                if not most:
                    _, cue = self._cues.popleft()
                    self._update()
                    yield cue
                    continue
            if not self._store:
                break
            taken = self._store[:most]
            del self._store[: len(taken)]
            self._taken += len(taken)
            self._update()
            yield np.frombuffer(taken, np.float32)
        if self._error:
            raise self._error.with_traceback(None)

    def _update(self) -> None:
        _set(self._changed, to=bool(self._store or self._cues) or self._ended)
        _set(self._room, to=self.unread + _CUE * len(self._cues) <= self._bound or self._ended)


def _set(event: asyncio.Event, *, to: bool) -> None:
    if to:
        event.set()
    else:
        event.clear()
