"""What a second signal demands: an end of the process that waits for nothing."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time

_AT_ONCE_SECONDS = 1.5
"""How long what is given up may take to end by itself."""
_DELIVERY_SECONDS = 0.1
_logger = logging.getLogger(__name__)


class HardEnd:
    """The end that a second signal demands: by that signal, and soon, even if something cannot be interrupted."""

    def __init__(self) -> None:
        self._signal = 0
        self._demanded = threading.Event()

    def demand(self, sig: int) -> None:
        """From a signal's handler, in the main thread. A third signal ends the process there and then."""
        signal.signal(sig, signal.SIG_DFL)
        if not self._signal:  # else another signal's handler is at it, perhaps in the middle of the following
            self._signal = sig
            self._demanded.set()

    def watch(self) -> None:
        """See to it, whatever the event loop does."""
        threading.Thread(target=self._wait, name="hard-end", daemon=True).start()

    def now_if_demanded(self) -> None:
        """End the process, if that was demanded."""
        if self._signal:
            _logger.warning("ended by a second signal")
            self._end()

    def _wait(self) -> None:
        self._demanded.wait()
        time.sleep(_AT_ONCE_SECONDS)
        self._end()

    def _end(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os.kill(os.getpid(), self._signal)
        time.sleep(_DELIVERY_SECONDS)
        os._exit(128 + self._signal)  # a container's first process cannot be killed by its own signal
