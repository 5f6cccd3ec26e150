"""A recording on disk while its request goes on: what is written there as it arrives, from wherever it comes."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from app.domain.errors import EngineFailure

NOT_STORED = "The recording could not be stored."


@contextmanager
def room_for_recording(folder: Path | None) -> Generator[IO[bytes], None, None]:
    """A file in `folder` (the system's temporary one when None) that only this user may read; removed at the end.

    Raises:
        EngineFailure: the disk does not take it.
    """
    try:
        room = NamedTemporaryFile(dir=folder, prefix="upload-")  # noqa: SIM115 - closed below, whatever the disk says
    except OSError as error:
        raise EngineFailure(NOT_STORED) from error
    try:
        yield room
    finally:
        with suppress(OSError):  # a full disk says so once more
            room.close()
