"""What the server and a vLLM process say to each other: frames of a JSON object and bytes, over a pair of sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any, cast

Message = dict[str, Any]
_LENGTHS = struct.Struct(">II")
"""Bytes of the JSON object, bytes of what follows it."""


def packed(message: Message, body: bytes = b"") -> bytes:
    """A frame."""
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    return _LENGTHS.pack(len(text), len(body)) + text + body


async def receive(reader: asyncio.StreamReader) -> tuple[Message, bytes] | None:
    """The next frame; None when the other side has gone."""
    try:
        text, body = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
        frame = await reader.readexactly(text + body)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return cast("Message", json.loads(frame[:text])), frame[text:]


def receive_blocking(sock: socket.socket) -> Message | None:
    """The next frame's object, before an event loop has taken the socket over; None when the other side has gone.

    Raises:
        TimeoutError: the socket's timeout has passed.
    """
    head = _exactly(sock, _LENGTHS.size)
    if head is None:
        return None
    text, body = _LENGTHS.unpack(head)
    frame = _exactly(sock, text + body)
    return None if frame is None else cast("Message", json.loads(frame[:text]))


def _exactly(sock: socket.socket, count: int) -> bytes | None:
    read = bytearray()
    while len(read) < count:
        try:
            part = sock.recv(count - len(read))
        except ConnectionError:
            return None
        if not part:
            return None
        read += part
    return bytes(read)
