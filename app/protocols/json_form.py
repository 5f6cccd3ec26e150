"""A JSON body in place of a form, as Open WebUI sends it: its values are a form's fields, its sound a form's file."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, cast

from starlette.datastructures import FormData, Headers, UploadFile
from starlette.requests import Request

from app.audio.storing import leave_room, make_room
from app.domain.errors import InvalidParameter, UploadTooLarge
from app.protocols.body import receive_json_as
from app.protocols.forms import MAX_FIELDS, MAX_PART_BYTES, MAX_TEXT_BYTES, Form
from app.protocols.messages import MOST_COMMAS, is_text

INPUT = "input_audio"
"""The object that has the recording: {"data": base64, "format": "mp3"}."""
MAX_JSON_BYTES = 32 * 1024 * 1024
"""A body is parsed in memory. Open WebUI sends recordings of 20 MB, which are 27 here."""
_AT_ONCE = 4 * 65_536
"""Characters of base64 that are decoded at once."""
_BLANKS = b" \t\r\n\v\f"
_PARSED_AT_ONCE = 2
"""Large bodies: each may take four times its bytes in memory, as one character beyond the usual makes all wide."""
_MEDIA_TYPE = re.compile(r"[\w.+/;= -]{0,200}", re.ASCII)


async def receive_json_form(request: Request, folder: Path | None, *, setting: str = "TEMP_DIR") -> Form:
    """The request's JSON body; the recording in it is stored in `folder` (the system's temporary one if None), which
    `setting` names, for the log.

    Lists and objects are texts of JSON in the form, null is nothing.

    Raises:
        InvalidParameter: it is no JSON object, or a value is more than any field may have, or no text or sound.
        UploadTooLarge: it has more than MAX_JSON_BYTES.
        EngineFailure: the disk does not take it.
    """

    def made(body: object) -> Form:
        if not isinstance(body, dict):
            raise InvalidParameter("The body must be a JSON object.")
        fields = cast("dict[str, object]", body)
        if len(fields) > MAX_FIELDS:
            raise InvalidParameter(f"The body has more than {MAX_FIELDS} fields.")
        return Form(FormData(list(_items(fields, folder, setting))))

    try:
        return await receive_json_as(
            request,
            made,
            max_bytes=MAX_JSON_BYTES,
            max_values=MOST_COMMAS,
            folder=folder,
            turns=_turns(request),
            setting=setting,
        )
    except UploadTooLarge:
        told = "The body is larger than this server takes as JSON; send the recording as multipart/form-data."
        raise UploadTooLarge(told, param=INPUT) from None


def _turns(request: Request) -> asyncio.Semaphore:
    """The application's, for whom large bodies take turns."""
    state = request.app.state
    if not hasattr(state, "json_turns"):
        state.json_turns = asyncio.Semaphore(_PARSED_AT_ONCE)
    return state.json_turns


def _items(body: Mapping[str, object], folder: Path | None, setting: str) -> Iterator[tuple[str, str | UploadFile]]:
    room = MAX_TEXT_BYTES
    for name, value in body.items():
        if value is None or name == INPUT:
            continue
        text = _text(value)
        room -= len(text)
        if len(text) > MAX_PART_BYTES or room < 0 or not (is_text(name) and is_text(text)):
            shown = name[:40] if is_text(name) else None
            raise InvalidParameter("A value is too long, or no text.", param=shown)
        yield name, text
    # Last: nothing that is refused is stored.
    if (sound := body.get(INPUT)) is not None:
        yield INPUT, _upload(sound, folder, setting)


def _text(value: object) -> str:
    try:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except RecursionError:
        raise InvalidParameter("A value is nested too deep.") from None


def _upload(said: object, folder: Path | None, setting: str) -> UploadFile:
    fields = cast("dict[str, object]", said) if isinstance(said, dict) else {}
    data, kind = fields.get("data"), fields.get("format") or ""
    if not isinstance(data, str) or not isinstance(kind, str):
        raise InvalidParameter(f'{INPUT} must be {{"data": <base64>, "format": "mp3"}}.', param=INPUT)
    media_type = kind if "/" in kind or not kind else f"audio/{kind}"
    if data.startswith("data:"):
        head, _, data = data.partition(",")
        if not head.endswith(";base64"):
            raise InvalidParameter(f"{INPUT}: a data URL must be in base64.", param=INPUT)
        media_type = head.removeprefix("data:").removesuffix(";base64") or media_type
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise InvalidParameter(f"{INPUT}: format is no name of one.", param=INPUT)
    stored = make_room(folder, setting=setting)  # the Form leaves it
    try:
        size = sum(stored.write(part) for part in _decoded(data))
        stored.flush()
    except BaseException:
        leave_room(stored)
        raise
    return UploadFile(cast("BinaryIO", stored), size=size, filename="", headers=Headers({"content-type": media_type}))


def _decoded(data: str) -> Iterator[bytes]:
    """The bytes of base64, which may have line breaks and lack its padding.

    Raises:
        InvalidParameter: it is none.
    """
    told = InvalidParameter(f"{INPUT}: data is no base64.", param=INPUT)
    if not data.isascii():
        raise told
    left, padded = b"", False
    for first in range(0, len(data) + 1, _AT_ONCE):
        # A block at a time, as the data itself is large enough.
        said = left + data[first : first + _AT_ONCE].encode().translate(None, _BLANKS)
        last = first + _AT_ONCE > len(data)
        whole = said + b"=" * (-len(said) % 4) if last else said[: len(said) // 4 * 4]
        left = said[len(whole) :]
        if (padded and whole) or whole.find(b"=", 0, -2) >= 0:
            raise told
        padded = padded or b"=" in whole
        try:
            yield base64.b64decode(whole, validate=True)
        except ValueError:
            raise told from None
