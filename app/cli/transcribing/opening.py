"""A recording as a file that a decoder can read, wherever it comes from."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from app.audio.declared import DeclaredSound
from app.audio.storing import room_for_recording
from app.cli.transcribing.sources import Source
from app.domain.errors import EmptyAudio, EngineFailure, UndecodableAudio, UploadTooLarge
from app.service.admission import Ticket
from app.service.loading import unawaited
from app.service.service import SpeechService

BARE = DeclaredSound("s16le", 16_000)
_CHUNK = 1024 * 1024
_STDIN = 0


@asynccontextmanager
async def opened(source: Source, service: SpeechService, ticket: Ticket) -> AsyncGenerator[Path, None]:
    """Its path while the block lasts.

    Raises:
        SpeechError: there is none.
    """
    if source.kind == "file":
        yield _readable(Path(source.place))
    elif source.kind == "address":
        async with service.fetched(source.place, ticket) as path:
            yield path
    else:
        with room_for_recording(service.settings.temp_dir) as file:
            # On a thread that the end of the program does not wait for: there may be nothing to read for ever.
            await unawaited(lambda: _copy(file.fileno(), service.settings.max_audio_size))
            yield Path(file.name)


def _readable(path: Path) -> Path:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise UndecodableAudio("There is no such file.") from None
    except OSError as error:
        raise UndecodableAudio(f"{error.strerror}.") from error
    if not stat.S_ISREG(mode):
        raise UndecodableAudio("It is no regular file.")
    if not os.access(path, os.R_OK):
        raise UndecodableAudio("This file may not be read.")
    return path


def _copy(target: int, most: int) -> None:
    """Standard input, to its end. (Not by way of sys.stdin, which a thread must not hold when Python ends.)"""
    size = 0
    try:
        while chunk := os.read(_STDIN, _CHUNK):
            size += len(chunk)
            if size > most:
                raise UploadTooLarge(f"Standard input has more than the {most:,} bytes a recording may have.")
            while chunk:
                chunk = chunk[os.write(target, chunk) :]
    except OSError as error:
        raise EngineFailure(f"Standard input could not be stored: {error.strerror}.") from error
    if not size:
        raise EmptyAudio("There is nothing on standard input.")
