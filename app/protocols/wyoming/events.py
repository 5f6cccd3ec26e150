"""Wyoming's events as bytes: a line of JSON, then as much JSON and as much payload as the line says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from app.domain.errors import InvalidParameter, UploadTooSlow

LONGEST_LINE = 1024 * 1024
"""Bytes; older clients put an event's data into its line. A reader must be made with this limit."""
LONGEST_DATA = 1024 * 1024
"""Bytes: thousands of hotwords."""
LONGEST_PAYLOAD = 4 * 1024 * 1024
"""Bytes: two minutes of sound at 16 kHz. Home Assistant sends a tenth of a second at a time."""
LONGEST_TYPE = 100
EVENT_SECONDS = 60.0
"""How long an event may take from its first byte to its last."""


@dataclass(frozen=True, slots=True)
class Event:
    """What one side tells the other."""

    type: str
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    payload: bytes = b""


async def read_event(reader: asyncio.StreamReader) -> Event | None:
    """The next event; None once the other side has gone, be it in the middle of one. Lengths are checked before
    anything of that length is read.

    Raises:
        InvalidParameter: it is none, or too large. What follows cannot be told apart any more.
        UploadTooSlow: it has begun, and does not go on.
    """
    try:
        first = await reader.readexactly(1)
        async with asyncio.timeout(EVENT_SECONDS):
            return await _rest(reader, first)
    except TimeoutError:
        raise UploadTooSlow(f"The rest of an event did not arrive within {EVENT_SECONDS:g} s.") from None
    except asyncio.LimitOverrunError:
        raise InvalidParameter(f"An event begins with a line of {LONGEST_LINE} bytes at most.") from None
    except (asyncio.IncompleteReadError, OSError):
        return None


async def _rest(reader: asyncio.StreamReader, first: bytes) -> Event:
    line = first if first == b"\n" else first + await reader.readuntil(b"\n")
    header = _object(line, "An event begins with a line that is a JSON object.")
    kind = header.get("type")
    if not isinstance(kind, str) or not 0 < len(kind) <= LONGEST_TYPE:
        raise InvalidParameter("An event has a type, which is a string.", param="type")
    size = _length(header, "data_length", LONGEST_DATA)
    payload_size = _length(header, "payload_length", LONGEST_PAYLOAD)
    data = _data(header.get("data"))
    if size:
        data |= _object(await reader.readexactly(size), "An event's data is a JSON object.")
    return Event(kind, data, await reader.readexactly(payload_size) if payload_size else b"")


def encode(event: Event) -> bytes:
    """The event as it is sent."""
    header: dict[str, object] = {"type": event.type}
    data = _json(event.data) if event.data else b""
    if data:
        header["data_length"] = len(data)
    if event.payload:
        header["payload_length"] = len(event.payload)
    return b"".join((_json(header), b"\n", data, event.payload))


def _json(value: Mapping[str, object]) -> bytes:
    # Halves of characters, which JSON may have and UTF-8 may not, are replaced.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _object(text: bytes, told: str) -> dict[str, Any]:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidParameter(f"This is Wyoming's protocol. {told}")
    return cast("dict[str, Any]", value)


def _data(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidParameter("An event's data is a JSON object.", param="data")
    return dict(cast("dict[str, Any]", value))


def _length(header: Mapping[str, Any], name: str, most: int) -> int:
    value: object = header.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise InvalidParameter(f"{name} is a number of bytes, {most} at most.", param=name)
    return value
