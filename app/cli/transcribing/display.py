"""What is shown on standard error meanwhile: a bar on a terminal, a line for each recording elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TextIO

from tqdm import tqdm

from app.cli.transcribing.outputs import printable
from app.domain.errors import EngineFailure

_LONGEST_NAME = 40


@dataclass(slots=True)
class Tally:
    """How far a run is. `sound` is in seconds, of recordings that were recognised."""

    count: int
    began: float
    done: int = 0
    failed: int = 0
    sound: float = 0.0

    @property
    def wall(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    def speed(self, more: float = 0.0) -> str:
        """How many times as fast as it was spoken, `more` seconds of unfinished recordings counted."""
        return f"{(self.sound + more) / max(self.wall, 1e-3):.1f} times real time"

    def summary(self) -> str:
        """A line about all of it."""
        told = f"{self.done} of {self.count} recording{'' if self.count == 1 else 's'}"
        figures = f"{clock(self.sound)} of sound in {clock(self.wall)}, {self.speed()}"
        return f"{told}, {figures}" + (f"; {self.failed} failed" if self.failed else "")


class Display:
    """Says what went wrong, and nothing else. Numbers count recordings from 0; times are in seconds."""

    measures: ClassVar[bool] = False
    """Whether it wants to know how long recordings will be."""

    def __init__(self, errors: TextIO) -> None:
        self._errors = errors
        self.tally = Tally(0, time.monotonic())

    def begin(self, count: int) -> None:
        """So many recordings are about to be recognised: from here on time counts."""
        self.tally = Tally(count, time.monotonic())

    def expect(self, number: int, seconds: float) -> None:
        """A recording will be so long."""

    def heard(self, number: int, name: str, seconds: float) -> None:
        """It is recognised up to there."""

    def finished(self, number: int, name: str, seconds: float) -> None:
        """It is recognised, and so long."""
        self.tally.done += 1
        self.tally.sound += seconds

    def failed(self, number: int, name: str, reason: str) -> None:
        """It cannot be recognised."""
        self.tally.failed += 1
        self.note(f"failed: {printable(name)}: {reason}")

    def warned(self, name: str, warnings: Sequence[str]) -> None:
        """It is recognised, and its reader should know something."""

    def note(self, text: str) -> None:
        """Something worth a line of its own."""
        print(text, file=self._errors, flush=True)

    def write(self, text: str) -> None:
        """A text for standard output.

        Raises:
            BrokenPipeError: nobody reads it any more.
            EngineFailure: it cannot be written, for another reason.
        """
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise EngineFailure(f"Standard output cannot be written: {error.strerror or error}.") from error

    def close(self) -> None:
        """It is over."""


class Lines(Display):
    """A line for each recording, and the figures at the end."""

    def finished(self, number: int, name: str, seconds: float) -> None:
        """Say so."""
        super().finished(number, name, seconds)
        tally = self.tally
        place = f"{tally.done + tally.failed}/{tally.count}"
        self.note(f"{place} {printable(name)}: {clock(seconds)}, {tally.speed()} so far")

    def warned(self, name: str, warnings: Sequence[str]) -> None:
        """Name what."""
        self.note(_warning(name, warnings))

    def close(self) -> None:
        """The figures."""
        self.note(self.tally.summary())


class Bar(Display):
    """A bar of all sound, as far as its length is known, with the speed and the latest recording's name."""

    measures: ClassVar[bool] = True

    def __init__(self, errors: TextIO) -> None:
        super().__init__(errors)
        self._bar: tqdm[Any] | None = None
        self._lengths: dict[int, float] = {}
        self._parts: dict[int, float] = {}
        self._done = self._total = 0.0

    def begin(self, count: int) -> None:
        """Draw it."""
        super().begin(count)
        shape = "{percentage:3.0f}%|{bar}| {desc}"
        self._bar = tqdm(total=self._total or None, bar_format=shape, file=self._errors, leave=False)
        self._draw("")
        self._bar.refresh()

    def expect(self, number: int, seconds: float) -> None:
        """The bar gets longer."""
        if number not in self._lengths:
            self._lengths[number] = seconds
            self._stretch(seconds)

    def heard(self, number: int, name: str, seconds: float) -> None:
        """The bar moves on."""
        before = self._parts.get(number, 0.0)
        self._parts[number] = max(before, seconds)
        self._done += self._parts[number] - before
        self._draw(name)

    def finished(self, number: int, name: str, seconds: float) -> None:
        """The bar moves on; its length is put right."""
        self._stretch(seconds - self._lengths.get(number, 0.0))
        self._lengths[number] = seconds
        self._done += seconds - self._parts.pop(number, 0.0)
        super().finished(number, name, seconds)
        self._draw(name)
        if self._bar is not None:
            self._bar.refresh()

    def failed(self, number: int, name: str, reason: str) -> None:
        """Its sound is not waited for any more."""
        self._done -= self._parts.pop(number, 0.0)
        self._stretch(-self._lengths.get(number, 0.0))
        self._lengths[number] = 0.0
        super().failed(number, name, reason)
        self._draw("")

    def warned(self, name: str, warnings: Sequence[str]) -> None:
        """Name what."""
        self.note(_warning(name, warnings))

    def note(self, text: str) -> None:
        """A line above the bar."""
        with tqdm.external_write_mode(file=self._errors):
            super().note(text)

    def write(self, text: str) -> None:
        """A text above the bar, where standard output is the terminal, too."""
        with tqdm.external_write_mode(file=sys.stdout):
            super().write(text)

    def close(self) -> None:
        """Take it away, and leave the figures."""
        if self._bar is not None:
            self._bar.close()
        super().note(self.tally.summary())

    def _stretch(self, seconds: float) -> None:
        self._total += seconds
        if self._bar is not None:
            self._bar.total = self._total or None

    def _draw(self, name: str) -> None:
        if self._bar is None:
            return
        tally, unfinished = self.tally, sum(self._parts.values())
        over = f"{tally.done + tally.failed}/{tally.count}"
        sound = f"{clock(self._done)} of {clock(self._total)}"
        said = f"{over}, {sound}, {tally.speed(unfinished)} {printable(name)[-_LONGEST_NAME:]}"
        self._bar.set_description_str(said, refresh=False)
        self._bar.update(self._done - self._bar.n)


def display(errors: TextIO, *, quiet: bool) -> Display:
    """What fits where it is shown."""
    kind: Callable[[TextIO], Display] = Display if quiet else Bar if errors.isatty() else Lines
    return kind(errors)


def _warning(name: str, warnings: Sequence[str]) -> str:
    return f"warning: {printable(name)}: {', '.join(warnings)}"


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03, 2:03.4."""
    if seconds >= 3600:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
    minutes, tenths = divmod(round(seconds * 10), 600)
    return f"{minutes}:{tenths / 10:04.1f}"
