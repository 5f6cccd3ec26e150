"""Bodies of the routes that store lists of words: received within bounds, and drawn beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response

from app.protocols.body import receive_json
from app.protocols.vocabularies.wire import Sent
from app.settings import Settings

BYTES_PER_HOTWORD = 1300
"""The longest term (200 characters), each written as JSON's escapes (6 bytes), with its weight."""
BODY_SLACK = 64 * 1024
"""What a body's name, description and white space may take on top of its terms."""
COMMAS_PER_HOTWORD = 8
"""Two are enough for a term and its weight; some terms have commas in them."""
NOTHING = Sent(None, None, None)
"""What a body says that says nothing."""


async def received(request: Request, settings: Settings, read: Callable[[object, int], Sent]) -> Sent:
    """What the body says, as `read` reads it.

    Raises:
        InvalidParameter: it makes no sense.
        UploadTooLarge: it is longer than MAX_HOTWORDS terms can be.
        EngineFailure: the disk does not take it.
    """
    most = settings.max_hotwords
    body = await receive_json(
        request,
        max_bytes=most * BYTES_PER_HOTWORD + BODY_SLACK,
        max_values=most * COMMAS_PER_HOTWORD + 100,
        folder=settings.temp_dir,
    )
    return await asyncio.to_thread(read, body, most)


async def answer(draw: Callable[[], BaseModel], status: int = 200) -> Response:
    """What `draw` makes. In a thread: ten thousand terms take a while to draw."""
    content = await asyncio.to_thread(lambda: draw().model_dump_json())
    return Response(content, status_code=status, media_type="application/json")
