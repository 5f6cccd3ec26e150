"""The three standard streams, of which any may be closed, full, or left by whoever reads it."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO, cast


def open_all() -> None:
    """Fill closed descriptors 0, 1 and 2 with the null device, and give Python the streams that it went without.

    Started without them (some supervisors do), the next files and sockets opened would get these numbers, and libuv
    aborts a child process that it is to hand one of them to: no decoder would ever start.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
    # What is printed to no stream at all goes to standard output, among the texts.
    if cast("TextIO | None", sys.stdout) is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the process
    if cast("TextIO | None", sys.stderr) is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as above
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")  # a name of a file need not be text


def complain(message: str, *hints: str) -> None:
    """A line on standard error, and one for each hint."""
    with suppress(OSError):  # nobody reads it
        print(f"error: {message}", file=sys.stderr)
        for hint in hints:
            print(f"hint: {hint}", file=sys.stderr)


def flush_all() -> OSError | None:
    """Write what is left in the streams; why standard output cannot be written, if it cannot."""
    with suppress(OSError):
        _flush(sys.stderr, 2)
    try:
        _flush(sys.stdout, 1)
    except OSError as error:
        return error
    return None


def give_output_up() -> None:
    """Write nothing more to standard output."""
    _give_up(1)


def _flush(stream: TextIO, number: int) -> None:
    try:
        stream.flush()
    except OSError:
        _give_up(number)
        raise


def _give_up(number: int) -> None:
    """Python would try again when it ends, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def enduring(stream: TextIO) -> TextIO:
    """`stream`, which from its first fault on takes in what is written and drops it."""
    return cast("TextIO", _Enduring(stream))


class _Enduring:
    """In everything else it is the stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._broken = False

    def write(self, text: str) -> int:
        if not self._broken:
            try:
                self._stream.write(text)
            except OSError:
                self._broken = True
        return len(text)

    def flush(self) -> None:
        if not self._broken:
            try:
                self._stream.flush()
            except OSError:
                self._broken = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
