"""What is shown of streams: a live display on a terminal, lines anywhere else, JSON for machines."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TextIO

from tools.dialects.hearing import Heard, Said
from tools.figures import Summary, lines

_BAR = 12
_LONGEST_NAME = 28
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


@dataclass(slots=True)
class Shown:
    """A stream while it is played. `seconds` is how much sound there is, `began` when it was first sent."""

    number: int
    name: str
    seconds: float
    heard: Heard
    guess: str = ""

    @property
    def began(self) -> float:
        """When its first sound was sent, in seconds of time.perf_counter."""
        return self.heard.frames[0].sent if self.heard.frames else 0.0


class Display(Protocol):
    """Is told what happens, and shows it."""

    def begun(self, stream: Shown) -> None:
        """It is about to be played."""
        ...

    def told(self, stream: Shown, said: Said) -> None:
        """The server said something of it."""
        ...

    def finished(self, stream: Shown) -> None:
        """There is no more, for better or worse."""
        ...

    def failed(self, name: str, status: int | str, reason: str) -> None:
        """A recording was not heard to its end."""
        ...

    def tick(self) -> None:
        """Called ten times a second."""
        ...

    def close(self, run: Summary) -> None:
        """All are over."""
        ...


class Lines:
    """A line for each sentence, and, if wanted, for each text before it is final."""

    def __init__(self, out: TextIO, errors: TextIO, *, named: bool, guesses: bool) -> None:
        self._out = out
        self._errors = errors
        self._named = named
        self._guesses = guesses

    def begun(self, stream: Shown) -> None:
        """Nothing to see yet."""

    def told(self, stream: Shown, said: Said) -> None:
        """Print what was said, if it is to be seen."""
        if said.text and (said.kind == "final" or (said.kind == "partial" and self._guesses)):
            print(sentence(stream.name if self._named else "", said), file=self._out, flush=True)

    def finished(self, stream: Shown) -> None:
        """All of it was shown."""

    def failed(self, name: str, status: int | str, reason: str) -> None:
        """Print why."""
        print(f"{name}: failed ({status}): {printable(reason)}", file=self._errors, flush=True)

    def tick(self) -> None:
        """Nothing moves."""

    def close(self, run: Summary) -> None:
        """Print the figures."""
        if run.heard:
            print("", *lines(run), sep="\n", file=self._out, flush=True)


class Live(Lines):
    """Sentences scroll by; under them there is a row for each stream that is played, with what is being said."""

    def __init__(self, out: TextIO, *, named: bool) -> None:
        super().__init__(out, out, named=named, guesses=False)
        self._rows: dict[int, Shown] = {}
        self._drawn = 0
        self._dim, self._plain = ("", "") if os.environ.get("NO_COLOR") else (_DIM, _PLAIN)

    def begun(self, stream: Shown) -> None:
        """Give it a row."""
        self._rows[stream.number] = stream

    def told(self, stream: Shown, said: Said) -> None:
        """Print a sentence; a guess stays in the row."""
        stream.guess = said.text if said.kind == "partial" else ""
        if said.kind == "final":
            self._erase()
            super().told(stream, said)
            self.tick()

    def finished(self, stream: Shown) -> None:
        """Take its row away."""
        self._rows.pop(stream.number, None)

    def failed(self, name: str, status: int | str, reason: str) -> None:
        """Print why, above the rows."""
        self._erase()
        super().failed(name, status, reason)

    def tick(self) -> None:
        """Draw the rows."""
        size = shutil.get_terminal_size()
        room = max(1, size.lines - 2)
        rows = [self._row(stream, size.columns - 1) for stream in list(self._rows.values())[:room]]
        if len(self._rows) > room:
            rows.append(f"... and {len(self._rows) - room} more")
        self._erase()
        self._out.write("".join(f"{row}\n" for row in rows))
        self._out.flush()
        self._drawn = len(rows)

    def close(self, run: Summary) -> None:
        """Leave only what was said, and the figures."""
        self._erase()
        super().close(run)

    def _erase(self) -> None:
        if self._drawn:
            self._out.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def _row(self, stream: Shown, width: int) -> str:
        share = min(1.0, stream.heard.seconds / stream.seconds) if stream.seconds else 1.0
        full = round(share * _BAR)
        longest = max(columns(printable(one.name)) for one in self._rows.values())
        name = fitted(stream.name, min(longest, _LONGEST_NAME, width // 3))
        head = f"{name} {'█' * full}{'░' * (_BAR - full)} {stream.heard.seconds:6.1f}/{stream.seconds:.1f} s  "
        return f"{head}{self._dim}{tail(printable(stream.guess), width - columns(head))}{self._plain}"


class JsonLines:
    """An object in each line; times are seconds, `at` since the stream's first sound was sent."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def begun(self, stream: Shown) -> None:
        """An event of its own."""
        self._say("begun", stream, seconds=round(stream.seconds, 3))

    def told(self, stream: Shown, said: Said) -> None:
        """What was said, with all that is known of it."""
        known = {name: value for name, value in asdict(said).items() if value is not None and name != "kind"}
        self._say(said.kind, stream, **known | {"at": round(said.at - stream.began, 3)})

    def finished(self, stream: Shown) -> None:
        """All of it, with how late it came."""
        heard = stream.heard
        delays = {"first_delays": heard.first_delays(), "final_delays": heard.final_delays()}
        rounded = {name: [round(delay, 3) for delay in values] for name, values in delays.items()}
        late = {"slip": round(heard.slip, 3), "after_the_end": round(heard.after_the_end, 3)}
        self._say("finished", stream, text=heard.text, seconds=round(heard.seconds, 3), **rounded, **late)

    def failed(self, name: str, status: int | str, reason: str) -> None:
        """Why."""
        self._write({"event": "failed", "file": name, "status": status, "reason": reason})

    def tick(self) -> None:
        """Nothing moves."""

    def close(self, run: Summary) -> None:
        """The figures."""
        self._write({"event": "summary", **asdict(run)})

    def _say(self, event: str, stream: Shown, **more: Any) -> None:
        self._write({"event": event, "stream": stream.number, "file": stream.name, **more})

    def _write(self, message: dict[str, Any]) -> None:
        print(json.dumps(message, ensure_ascii=False), file=self._out, flush=True)


def sentence(name: str, said: Said) -> str:
    """A line: whose, when, by whom, what."""
    times = "" if said.start is None else clock(said.start) + ("" if said.end is None else f"-{clock(said.end)}")
    if said.kind == "partial":
        times = "..."
    parts = [name, times, f"[{said.speaker}]" if said.speaker else "", said.text.strip()]
    return "  ".join(printable(part) for part in parts if part)


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{int(minutes)}:{rest:04.1f}"


def printable(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def columns(text: str) -> int:
    """How wide a terminal shows it: Chinese characters take two."""
    return sum(_columns(letter) for letter in text)


def tail(text: str, width: int) -> str:
    """The last of a text, as much as fits: what is being said is at its end."""
    if columns(text) <= width:
        return text
    kept, room = len(text), width - 1
    while kept and (room := room - _columns(text[kept - 1])) >= 0:
        kept -= 1
    return f"…{text[kept:]}" if width > 0 else ""


def fitted(text: str, width: int) -> str:
    """A text in exactly so many columns, shortened at its beginning or filled up."""
    shown = tail(printable(text), width)
    return shown + " " * (width - columns(shown))


def _columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
