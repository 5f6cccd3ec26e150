"""How a download tells what it is doing: a bar on a terminal, a line now and then elsewhere, nothing in tests."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from app.modelstore.disk import human_size

if TYPE_CHECKING:
    from tqdm import tqdm

LINE_EVERY_SECONDS = 5.0
"""Often enough to see that it lives, seldom enough for a log that is kept."""


class Progress(Protocol):
    """Told about one transfer at a time, from one thread. `total` and `done` are bytes; total None means unknown."""

    def start(self, label: str, total: int | None, done: int = 0) -> None:
        """A transfer begins, with `done` bytes already here."""
        ...

    def advance(self, count: int) -> None:
        """`count` more bytes arrived."""
        ...

    def finish(self) -> None:
        """The transfer ended, well or not."""
        ...

    def note(self, text: str) -> None:
        """Something worth a line happened."""
        ...


class SilentProgress:
    """Says nothing."""

    def start(self, label: str, total: int | None, done: int = 0) -> None:
        """Nothing."""

    def advance(self, count: int) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


class LineProgress:
    """Whole lines through `write` (print, logger.info): at the start, every few seconds, and at the end."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._label = ""
        self._total: int | None = None
        self._done = 0
        self._last = 0.0

    def start(self, label: str, total: int | None, done: int = 0) -> None:
        """Name the transfer."""
        self._label, self._total, self._done, self._last = label, total, done, time.monotonic()
        size = "" if total is None else f" ({human_size(total)}{', resuming' if done else ''})"
        self._write(f"fetching {label}{size}")

    def advance(self, count: int) -> None:
        """Count, and say so now and then."""
        self._done += count
        now = time.monotonic()
        if now - self._last >= LINE_EVERY_SECONDS:
            self._last = now
            share = "" if not self._total else f" of {human_size(self._total)} ({100 * self._done // self._total} %)"
            self._write(f"  {self._label}: {human_size(self._done)}{share}")

    def finish(self) -> None:
        """Nothing: the next line says what came of it."""

    def note(self, text: str) -> None:
        """One line."""
        self._write(text)


class BarProgress:
    """A tqdm bar on standard error."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def start(self, label: str, total: int | None, done: int = 0) -> None:
        """Draw a bar."""
        from tqdm import tqdm  # noqa: PLC0415 - a start with the models there must not pay for it

        self._bar = tqdm(desc=label, total=total, initial=done, unit="B", unit_scale=True, file=sys.stderr)

    def advance(self, count: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(count)

    def finish(self) -> None:
        """Leave the bar where it ended."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def note(self, text: str) -> None:
        """A line above the bar."""
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - this class is the terminal's


def console_progress() -> Progress:
    """A bar when standard error is a terminal, lines on it otherwise (a container's log, say)."""
    if sys.stderr is not None and sys.stderr.isatty():  # pyright: ignore[reportUnnecessaryComparison] - None when closed
        return BarProgress()
    return LineProgress(lambda text: print(text, file=sys.stderr, flush=True))  # noqa: T201 - as above
