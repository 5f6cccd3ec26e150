"""A JSON body, with a bound on its bytes, and read so that many large ones at once do not fill the memory."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from tempfile import SpooledTemporaryFile

from starlette.requests import Request

from app.domain.errors import EngineFailure, InvalidParameter, UploadTooLarge

IN_MEMORY = 256 * 1024
"""Bytes of a body that are kept in memory until all of it is there; a thousand terms are fewer. Longer ones wait on
disk and are parsed in asyncio's helper threads, of which there are few."""


async def receive_json(request: Request, *, max_bytes: int, max_values: int, folder: Path | None) -> object:
    """The request's body; where it is long, it waits in `folder` (the system's temporary one if None).

    Raises:
        InvalidParameter: it is not declared to be JSON, or is none, or has more than about `max_values` values.
        UploadTooLarge: it has more than `max_bytes`.
        EngineFailure: the disk does not take it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # also keeps other sites' pages out, which may send forms and text without asking
        raise InvalidParameter("Send JSON (Content-Type: application/json).")
    try:
        with SpooledTemporaryFile(IN_MEMORY, dir=folder and str(folder), prefix="upload-") as stored:
            received = 0
            async for chunk in request.stream():
                received += len(chunk)
                if received > max_bytes:
                    raise UploadTooLarge(f"The body has more than {max_bytes} bytes.")
                await asyncio.to_thread(stored.write, chunk)
            stored.seek(0)
            return await asyncio.to_thread(lambda: _parsed(stored.read(), max_values))
    except OSError as error:
        raise EngineFailure("The body could not be stored.") from error


def _parsed(body: bytes, max_values: int) -> object:
    # Before it is parsed: an empty object takes three bytes here and two dozen times as many in memory.
    if body.count(b",") > max_values:
        raise InvalidParameter(f"The body has more than {max_values} commas.")
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):  # without a cause: it would repeat what was sent in the log
        raise InvalidParameter("The body is not valid JSON.") from None


def _no_constant(name: str) -> object:
    """NaN and Infinity, which Python reads and JSON has not got."""
    raise ValueError(name)
