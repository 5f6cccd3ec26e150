"""A job's form as it arrives: multipart or JSON with the recording in it, or plain fields where that is elsewhere."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from app.domain.errors import InvalidParameter, UploadTooLarge
from app.protocols.forms import MAX_FIELDS, MAX_PART_BYTES, Form
from app.protocols.openai.asking import received

FORM: Final = "application/x-www-form-urlencoded"


async def received_job(request: Request, folder: Path) -> Form:
    """The request's fields; files are stored in `folder`, which is in JOBS_DIR.

    Raises:
        InvalidParameter: it is no form that can be read.
        UploadTooLarge: more bytes arrive than the service takes.
        EngineFailure: the disk does not take it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM:
        return await received(request, folder, setting="JOBS_DIR")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_PART_BYTES:
            raise UploadTooLarge("The form is too long; send it as multipart/form-data.")
    return await asyncio.to_thread(_fields, body)


def _fields(body: bytearray) -> Form:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:  # without a cause: it would repeat what was sent in the log
        raise InvalidParameter(f"The form cannot be read, or has more than {MAX_FIELDS} fields.") from None
    return Form(FormData(list[tuple[str, str | UploadFile]](pairs)))
