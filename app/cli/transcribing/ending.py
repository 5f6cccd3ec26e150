"""How a run ends before its time: what is finished is kept, and whoever asked need not wait for the rest."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Generator
from types import FrameType

_LEAVING_SECONDS = 0.5
"""How long an interrupted run may take to free what it holds. A model that computes cannot be stopped, and need not."""
_STUCK_SECONDS = 3.0
"""How long it may take until it is so far. It takes for ever where a text waits for somebody to read it."""
_KINDS = ("SIGINT", "SIGTERM", "SIGHUP")


@contextlib.contextmanager
def ending(running: asyncio.Future[None], status: int) -> Generator[None]:
    """Ctrl-C, and the other polite ways to end a program, cancel `running`, whose loop's main thread this is. Should
    the loop not come to it, the process ends nevertheless, with `status`. Signals that are ignored stay ignored."""
    loop = asyncio.get_running_loop()
    told, over = threading.Event(), threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        told.set()
        loop.call_soon_threadsafe(running.cancel)

    def watch() -> None:
        told.wait()
        if not over.wait(_STUCK_SECONDS):
            os._exit(status)

    threading.Thread(target=watch, name="ending", daemon=True).start()
    kinds = [getattr(signal, name) for name in _KINDS if hasattr(signal, name)]
    before = {kind: signal.getsignal(kind) for kind in kinds if signal.getsignal(kind) != signal.SIG_IGN}
    for kind in before:
        signal.signal(kind, end)
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
        over.set()
        told.set()


def leave_soon(status: int) -> None:
    """End the program within a moment. What is finished is written by now, and no file is left behind."""
    leave = threading.Timer(_LEAVING_SECONDS, os._exit, (status,))
    leave.daemon = True
    leave.start()
