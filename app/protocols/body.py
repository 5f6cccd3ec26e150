"""A JSON body, with a bound on its bytes, and read so that many large ones at once do not fill the memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import TypeVar

from starlette.requests import Request

from app.audio.storing import not_stored
from app.domain.errors import InvalidParameter, UploadTooLarge

_T = TypeVar("_T")

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

    def whole(body: object) -> object:
        return body

    return await receive_json_as(request, whole, max_bytes=max_bytes, max_values=max_values, folder=folder)


async def receive_json_as(
    request: Request,
    made: Callable[[object], _T],
    *,
    max_bytes: int,
    max_values: int,
    folder: Path | None,
    turns: asyncio.Semaphore | None = None,
    setting: str = "TEMP_DIR",
) -> _T:
    """What `made` makes of the body in the thread that has parsed it, so that what it does not keep is not kept
    waiting in memory. Bodies longer than IN_MEMORY are parsed in `turns`, if they are given. `setting` names the
    folder, for the log. Everything else is as `receive_json` has it; an OSError of `made` is the disk's, too.
    """
    if not is_json(request):  # also keeps other sites' pages out, which may send forms and text without asking
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
            async with turns if turns and received > IN_MEMORY else nullcontext():
                return await asyncio.to_thread(lambda: made(_parsed(stored.read(), max_values)))
    except OSError as error:
        raise not_stored(error, "The body could not be stored.", setting=setting) from error


def is_json(request: Request) -> bool:
    """Whether the body is declared to be JSON."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


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
