"""Stands in for docker in docker/rolling_update.sh: each command is answered by the test, over a socket.

As a program (`fake_docker.py SOCKET ARGUMENT...`) it asks; `Docker` answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path

Answer = Callable[[Sequence[str]], Awaitable[tuple[int, str]]]
"""Exit status and output of a command."""


@contextlib.asynccontextmanager
async def docker(folder: Path, answer: Answer) -> AsyncGenerator[Path]:
    """A folder for PATH in which `docker` is what `answer` does."""
    where, programs = folder / "docker.socket", folder / "bin"
    programs.mkdir()
    program = programs / "docker"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__)}" "{where}" "$@"\n')
    program.chmod(0o755)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        status, told = await answer(json.loads(await reader.readline()))
        writer.write(json.dumps([status, told]).encode() + b"\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(talk, where):
        yield programs


def main() -> int:
    """Ask, and do as told."""
    with socket.socket(socket.AF_UNIX) as client, client.makefile("rw") as line:
        client.connect(sys.argv[1])
        line.write(json.dumps(sys.argv[2:]) + "\n")
        line.flush()
        status, told = json.loads(line.readline())
    sys.stdout.write(told)
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
