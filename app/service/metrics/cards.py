"""How full the machine's cards are, as nvidia-smi told it last: it may take seconds, or hang with its driver."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from app.modelstore.machine import Gpu, read_gpus

_KEPT_SECONDS = 10.0
_STALE_SECONDS = 300.0
"""As long as Prometheus takes a sample for the present one."""
_TIMEOUT_SECONDS = 3.0


class Cards:
    """Reads cards on a thread of its own, one reading at a time, where somebody asks. Belongs to one event loop."""

    def __init__(
        self,
        read: Callable[[], tuple[Gpu, ...]] = lambda: read_gpus(_TIMEOUT_SECONDS),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._clock = clock
        self._reader: threading.Thread | None = None
        self._began = 0.0
        self._told: tuple[float, tuple[Gpu, ...]] | None = None

    def latest(self) -> tuple[Gpu, ...]:
        """What was read last: returns at once. Where that is 10 s old or more, it is read anew for who asks next.

        Empty before the first reading has ended, after one that failed, and after 5 minutes without one.
        """
        now = self._clock()
        if self._reader is None or (not self._reader.is_alive() and now - self._began >= _KEPT_SECONDS):
            self._began = now
            # A daemon: a driver that hangs keeps nobody from ending.
            self._reader = threading.Thread(target=self._take, name="cards", daemon=True)
            self._reader.start()
        if self._told is None or now - self._told[0] > _STALE_SECONDS:
            return ()
        return self._told[1]

    def _take(self) -> None:
        found = self._read()
        self._told = self._clock(), found
