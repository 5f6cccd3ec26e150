"""JSON bodies that have words in them."""

from __future__ import annotations

from typing import cast

from fastapi import Request

from app.domain.errors import InvalidParameter
from app.protocols.body import receive_json
from app.protocols.vocabularies.bodies import BODY_SLACK, BYTES_PER_HOTWORD, COMMAS_PER_HOTWORD
from app.settings import Settings

_OTHER_COMMAS = 100
"""What everything but the words may have."""


async def received_object(request: Request, settings: Settings) -> dict[str, object]:
    """The body's object.

    Raises:
        InvalidParameter: it is no JSON, or no object.
        UploadTooLarge: it is longer than MAX_HOTWORDS words can be.
        EngineFailure: the disk does not take it.
    """
    most = settings.max_hotwords
    body = await receive_json(
        request,
        max_bytes=most * BYTES_PER_HOTWORD + BODY_SLACK,
        max_values=most * COMMAS_PER_HOTWORD + _OTHER_COMMAS,
        folder=settings.temp_dir,
    )
    if not isinstance(body, dict):
        raise InvalidParameter("The body must be a JSON object.")
    return cast("dict[str, object]", body)


def words_in(said: object, *, param: str) -> list[str]:
    """A list of words, without the blank ones that a text area's lines leave.

    Raises:
        InvalidParameter: it is no list of strings.
    """
    items = cast("list[object]", said) if isinstance(said, list) else [None]
    if not all(isinstance(item, str) for item in items):
        raise InvalidParameter(f"{param} must be a list of strings.", param=param)
    return [word for word in cast("list[str]", items) if word.strip()]
