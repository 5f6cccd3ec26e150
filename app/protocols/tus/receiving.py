"""A part of an upload on its way in: each piece is in the file as soon as it is here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Message

from app.domain.errors import ServerEnding
from app.protocols.connected import end
from app.protocols.tus.headers import Checksum
from app.service.lifecycle import Lifecycle
from app.service.resumable.holding import QUIET_SECONDS
from app.service.resumable.upload import ChecksumMismatch
from app.service.resumable.writing import Writing


async def receive_part(request: Request, writing: Writing, checksum: Checksum | None) -> None:
    """Add the body of a request. What has arrived of it counts, however it ends, but for a part with a checksum: all
    of that counts, or nothing.

    Raises:
        ClientDisconnect: its sender left.
        UploadTooSlow: nothing, or hardly anything, arrives.
        UploadBusy: nothing arrives, and another connection wants to go on.
        ServerEnding: the server ends, and the rest can be sent to its next start, or to another one.
        ChecksumMismatch: it is not what it is said to be.
        SpeechError: see Writing.append.
    """
    if checksum is None:
        await _receive(request, writing, None)
        return
    await writing.begin_checked()
    try:
        await _receive(request, writing, checksum)
        if not checksum.right:
            told = "What arrived is not what Upload-Checksum says; nothing of it was kept. Send it again."
            raise ChecksumMismatch(told, param="Upload-Checksum")
        await writing.keep()
    except BaseException:
        await writing.drop()
        raise


async def _receive(request: Request, writing: Writing, checksum: Checksum | None) -> None:
    lifecycle: Lifecycle = request.app.state.lifecycle
    async with aclosing(_pieces(request, writing)) as pieces:
        async for piece in pieces:
            await writing.append(piece)
            if checksum is not None:  # which is waited for: cut off, it would be sent again
                await asyncio.to_thread(checksum.add, piece)
            elif lifecycle.closed and writing.offset != writing.length:
                raise ServerEnding("The server ends; what has arrived counts. Go on when it is back.")


async def _pieces(request: Request, writing: Writing) -> AsyncGenerator[bytes]:
    waiting: asyncio.Task[Message] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(_next(request))
            await asyncio.wait({waiting}, timeout=QUIET_SECONDS)
            if not waiting.done():
                await writing.give_way()
                continue
            message, waiting = waiting.result(), None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            if piece := message.get("body", b""):
                yield piece
            if not message.get("more_body", False):
                return
    finally:
        if waiting is not None:
            await end(waiting)


async def _next(request: Request) -> Message:
    return await request.receive()
