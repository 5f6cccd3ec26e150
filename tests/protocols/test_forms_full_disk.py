"""Uploads for which the disk has no room: whatever they came in, nothing of them stays."""

from __future__ import annotations

import asyncio
import base64
import json
import resource
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from app.domain.errors import StorageFull
from app.protocols.forms import Form, receive_form
from app.protocols.json_form import receive_json_form

ROOM = 4096
"""Bytes that a file may have here: fewer than wait in its buffer, so that closing it fails once more."""
SOUND = bytes(6000)


@pytest.fixture
def _full() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def multipart(temp: Path) -> tuple[str, bytes, Callable[[Request], Awaitable[Form]]]:
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + SOUND + b"\r\n"
    return "multipart/form-data; boundary=b", part * 3 + b"--b--\r\n", lambda request: receive_form(request, temp)


def in_json(temp: Path) -> tuple[str, bytes, Callable[[Request], Awaitable[Form]]]:
    body = {"input_audio": {"data": base64.b64encode(SOUND).decode(), "format": "wav"}}
    return "application/json", json.dumps(body).encode(), lambda request: receive_json_form(request, temp)


@pytest.mark.usefixtures("_full")
@pytest.mark.parametrize("way", [multipart, in_json])
def test_nothing_stays_of_what_a_full_disk_does_not_take(
    tmp_path: Path, way: Callable[[Path], tuple[str, bytes, Callable[[Request], Awaitable[Form]]]]
) -> None:
    kind, body, received = way(tmp_path)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", kind.encode())]
    scope = {"type": "http", "method": "POST", "headers": headers, "app": Starlette()}
    with pytest.raises(StorageFull, match="disk is full") as caught:
        asyncio.run(_awaited(received(Request(scope, receive))))

    assert list(tmp_path.iterdir()) == []
    assert caught.value.code == "storage_full"


async def _awaited(work: Awaitable[Form]) -> Form:
    return await work
