"""The command line of tools/stream.py: what is asked for, what goes wrong, and the exit status."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from tools.dialects import DIALECTS
from tools.dialects.hearing import StreamFailedError, UnspeakableError, Wishes
from tools.dialects.session import check
from tools.display import Display, JsonLines, Lines, Live
from tools.figures import summary
from tools.playing import Manner, Outcomes, play
from tools.recordings import UnreadableError, find

OK, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
_TOKEN = "STREAM_TOKEN"  # noqa: S105 - a variable's name
_LOCAL = "127.0.0.1"
_PORT = 8000
_SHORTEST, _LONGEST = 100, 10_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Play what is asked for. Returns 0 when all of it was heard, 1 when something was not, 2 when what is asked for
    makes no sense, 130 after Ctrl-C."""
    parser = _parser()
    given = parser.parse_args(arguments)
    dialect = DIALECTS[given.protocol]
    wishes = Wishes(
        language=given.language,
        model=given.model,
        hotwords=tuple(word for word in given.hotwords.replace("，", ",").split(",") if word.strip()),
        token=given.token or (os.environ.get(_TOKEN) if "token" in dialect.can_say else None) or None,
        silence=given.silence,
        speakers=given.speakers,
    )
    try:
        check(dialect, wishes)
        recordings = find(given.recordings)
    except (UnspeakableError, UnreadableError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return MISUSED
    manner = Manner(dialect, _url(given), wishes, given.pace or None, given.concurrency, given.loop)
    named = len(recordings) > 1 or given.concurrency > 1
    outcomes, began = Outcomes(), time.perf_counter()
    display = _display(given, named=named)
    status = _run(play(recordings, manner, display, outcomes))
    wall = time.perf_counter() - began
    display.close(summary(outcomes.heard, len(outcomes.failures), wall, paced=bool(given.pace)))
    for hint in dict.fromkeys(_hint(failure, given.protocol) for failure in outcomes.failures):
        if hint:
            print(hint, file=sys.stderr)
    return FAILED if status == OK and outcomes.failures else status


def _run(playing: Coroutine[Any, Any, None]) -> int:
    """Returns how it ended; after that, nobody may read what is printed any more."""
    try:
        asyncio.run(playing)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BaseExceptionGroup as group:
        if group.split(BrokenPipeError)[1] is not None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `| head` has seen enough
        return FAILED
    return OK


def _display(given: argparse.Namespace, *, named: bool) -> Display:
    if given.json:
        return JsonLines(sys.stdout)
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not given.guesses:
        return Live(sys.stdout, named=named)
    return Lines(sys.stdout, sys.stderr, named=named, guesses=given.guesses)


def _url(given: argparse.Namespace) -> str:
    return given.url or f"{_LOCAL}:{DIALECTS[given.protocol].port or _PORT}"


def _hint(failure: StreamFailedError | UnreadableError, protocol: str) -> str:
    """What to do about it."""
    if isinstance(failure, UnreadableError):
        return ""
    status = str(failure.status).lower()
    if status == "unreachable":
        variable = {"oddasr": "ODDASR_WS_PORT", "wyoming": "WYOMING_PORT"}.get(protocol)
        opened = f" with {variable} set" if variable else ""
        return f"Start the server (make run){opened}, or say where it is with --url."
    if status in {"401", "40000001"} or "authentication" in status:
        return f"Give a key of the server's API_KEYS with --token, or in the variable {_TOKEN}."
    if status in {"403", "404"}:
        return "The server does not speak this protocol at that path: look at --protocol and --url."
    return ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stream.py",
        description="Play recordings to a speech server as live streams, and see what it says while they are played.",
        epilog="Exit status: 0 all was heard, 1 something was not, 2 wrong usage, 130 after Ctrl-C.",
    )
    add = parser.add_argument
    add(
        "recordings",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="a recording in any format, a folder of them, or a list (FILE.scp: a name and a path in each line)",
    )
    add("--protocol", choices=DIALECTS, default="aliyun", help="what to speak (%(default)s)")
    add("--url", help=f"where the server is (http://{_LOCAL}:{_PORT}, or the protocol's port); may have a path")
    add("--token", help=f"an API key; better in the variable {_TOKEN}, where other users do not see it")
    add("--concurrency", type=_count, default=1, metavar="N", help="streams at once; too few files are repeated (1)")
    add("--pace", type=_pace, default=1.0, metavar="X", help="1: as it was spoken; 0: as fast as the server takes it")
    add("--loop", action="store_true", help="begin again after the last file, until Ctrl-C")
    add("--language", help="what is spoken, for instance zh or en")
    add("--model", help="which of the server's models")
    add("--hotwords", default="", metavar="A,B", help="words to listen for, with commas between them")
    add("--silence", type=_silence, metavar="MS", help="milliseconds of silence that end a sentence")
    add("--speakers", action="store_true", help="ask who speaks")
    add("--guesses", action="store_true", help="lines for texts that are not final, too, and no live display")
    add("--json", action="store_true", help="an object in each line, for machines")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError("a number from 1 to 10000 is expected")
    return int(text)


def _pace(text: str) -> float:
    try:
        pace = float(text)
    except ValueError:
        pace = -1.0
    if not 0 <= pace <= 1000:
        raise argparse.ArgumentTypeError("a number from 0 (as fast as possible) to 1000 is expected")
    return pace


def _silence(text: str) -> int:
    if not text.isdecimal() or not _SHORTEST <= int(text) <= _LONGEST:
        raise argparse.ArgumentTypeError(f"milliseconds from {_SHORTEST} to {_LONGEST} are expected")
    return int(text)
