"""How long recordings are, as their headers say: `python -m app.audio.measuring` takes paths from stdin, one after the
other, and exits when stdin closes. Headers are bytes from outside, too: they are read with the decoder's limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import av.logging

from app.audio.decoding import decoder_environment
from app.audio.worker import allow_cpu, open_container, restrain
from app.domain.errors import SpeechError

_CPU_SECONDS = 10.0
"""For one recording; a header takes milliseconds."""


def measured(paths: Iterable[Path]) -> Iterator[float | None]:
    """The seconds of each recording (None: it does not say), from a process that ends with the iteration. Blocking.

    It is short of answers where the process dies of a recording.
    """
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "app.audio.measuring"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=decoder_environment(),
        bufsize=0,
        start_new_session=True,  # a terminal's Ctrl-C is for the parent
    ) as process:
        if process.stdin is None or process.stdout is None:
            return
        try:
            for path in paths:
                process.stdin.write(json.dumps(os.fspath(path)).encode() + b"\n")
                if not (answer := process.stdout.readline()):
                    return
                yield json.loads(answer)
        except ConnectionError:
            return
        finally:
            process.kill()


def seconds(path: Path) -> float | None:
    """What the header of `path` says; None where it says nothing, or the decoder would not take it."""
    try:
        with path.open("rb") as source, open_container(source) as container:
            return None if container.duration is None else container.duration / av.time_base
    except (OSError, SpeechError):
        return None


def main() -> None:
    """Answer until stdin closes."""
    av.logging.set_level(None)
    # A C library that prints must not end up between two answers.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    restrain()
    for line in sys.stdin.buffer:
        allow_cpu(_CPU_SECONDS)
        answers.write(json.dumps(seconds(Path(json.loads(line)))).encode() + b"\n")


if __name__ == "__main__":
    main()
