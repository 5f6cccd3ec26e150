"""A recording that is the whole body of a request: stored as it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.requests import Request

from app.audio.storing import not_stored, room_for_recording
from app.domain.errors import EmptyAudio, UploadTooLarge
from app.protocols.forms import too_large
from app.settings import Settings


@asynccontextmanager
async def stored_body(request: Request, settings: Settings, *, param: str) -> AsyncGenerator[Path]:
    """Where the body lies for as long as the block; only this user may read it. `param` names it in errors.

    Raises:
        EmptyAudio: there is none.
        UploadTooLarge: it has more bytes than MAX_AUDIO_SIZE.
        EngineFailure: the disk does not take it.
    """
    with room_for_recording(settings.temp_dir) as stored:
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            if received > settings.max_audio_size:
                raise UploadTooLarge(too_large(settings.max_audio_size), param=param)
            await _done(stored.write, chunk)
        if received == 0:
            raise EmptyAudio("The request has no audio in its body.", param=param)
        await _done(stored.flush)
        yield Path(stored.name)


async def _done(step: Callable[..., object], *given: bytes) -> None:
    try:
        await asyncio.to_thread(step, *given)
    except OSError as error:
        raise not_stored(error) from error
