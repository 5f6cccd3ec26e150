"""Whether anybody is about for whom jobs must make room: a request, a live stream, or one that was a moment ago."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

LINGERS = 30.0
"""Seconds. Who was here so lately may be back at any moment, and must not find a long call in the way."""


class Presence:
    """Who is about, jobs aside. Belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds and never goes back."""
        self._clock = clock
        self._here = 0
        self._left = -math.inf

    @contextmanager
    def staying(self) -> Generator[None]:
        """While somebody is here."""
        self._here += 1
        try:
            yield
        finally:
            self._here -= 1
            self._left = self._clock()

    @property
    def about(self) -> bool:
        """Whether somebody is, or was within the last LINGERS seconds."""
        return self._here > 0 or self._clock() - self._left < LINGERS
