"""Whether anybody is about for whom jobs must make room: a request, a live stream, or one that was a moment ago."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

LINGERS = 30.0
"""Seconds. Who was here so lately may be back at any moment, and must not find a long call in the way."""
RETURNS = 1.0
"""Seconds in which a client that asks for one recording after the other is back with the next."""


class Presence:
    """Who is about, jobs aside. Belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds and never goes back."""
        self.clock = clock
        self._here = 0
        self._left = -math.inf
        self._asking = 0
        self._answered = -math.inf

    @contextmanager
    def staying(self) -> Generator[None]:
        """While somebody is here, if only to listen."""
        self._here += 1
        try:
            yield
        finally:
            self._here -= 1
            self._left = self.clock()

    @contextmanager
    def asking(self) -> Generator[None]:
        """While somebody waits for the answer to a request."""
        self._asking += 1
        try:
            with self.staying():
                yield
        finally:
            self._asking -= 1
            self._answered = self.clock()

    @property
    def about(self) -> bool:
        """Whether somebody is here, or was within the last LINGERS seconds."""
        return self._here > 0 or self.clock() - self._left < LINGERS

    @property
    def asked(self) -> bool:
        """Whether somebody waits for an answer, or has had it within the last RETURNS seconds."""
        return self._asking > 0 or self.clock() - self._answered < RETURNS
