"""One request over HTTP and what it met; and clients that vanish."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from dataclasses import dataclass

import httpx

from benchmarks.soak.asks import Ask, plain
from benchmarks.soak.outcomes import CUT_OFF, GONE, LATE, REFUSED, Outcome

PATIENCE = 120.0
_SHOWN = 300


async def ask(
    http: httpx.AsyncClient, wanted: Ask, wav: bytes, *, kept: bool, expected: str | None = None, others: set[str]
) -> Outcome:
    """Ask, and compare with what was `expected`; `others` are the answers to other clips."""
    began = time.monotonic()
    headers = wanted.headers | ({} if kept else {"connection": "close"})
    try:
        answer = await http.post(wanted.path, headers=headers, **wanted.content(wav))
    except httpx.ConnectError as error:
        return Outcome(wanted.name, began, time.monotonic(), REFUSED, kept=kept, detail=repr(error))
    except httpx.TimeoutException as error:
        return Outcome(wanted.name, began, time.monotonic(), LATE, kept=kept, detail=repr(error))
    except httpx.TransportError as error:
        return Outcome(wanted.name, began, time.monotonic(), CUT_OFF, kept=kept, detail=repr(error))
    said = plain(answer.text)
    right = answer.status_code == wanted.status and expected in {None, said}
    detail = "" if right else answer.text[:_SHOWN]
    if not right and answer.status_code == wanted.status:
        detail = f"{said[:_SHOWN]} in place of {str(expected)[:_SHOWN]}"
    return Outcome(
        wanted.name,
        began,
        time.monotonic(),
        str(answer.status_code),
        right,
        stranger=not right and said in others,
        after="retry-after" in answer.headers,
        kept=kept,
        detail=detail,
    )


@dataclass(frozen=True, slots=True)
class Vanishing:
    """A form that is sent in part, or whole, before its client goes."""

    moment: str
    reset: bool
    chance: random.Random

    async def go(self, port: int, wanted: Ask, wav: bytes) -> Outcome:
        """Send it, and vanish."""
        name, began = "vanishing", time.monotonic()
        sound = {"content": wav} if not wanted.file else wanted.content(wav)
        request = httpx.Request("POST", f"http://127.0.0.1:{port}{wanted.path}", headers=wanted.headers, **sound)
        body = request.read()
        lines = [f"POST {wanted.path} HTTP/1.1", *(f"{key}: {value}" for key, value in request.headers.items())]
        head = "\r\n".join([*lines, "", ""]).encode()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            return Outcome(name, began, time.monotonic(), REFUSED, detail=repr(error))
        try:
            part = {"before the body": 0, "in the body": self.chance.randrange(1, len(body))}
            writer.write(head + body[: part.get(self.moment, len(body))])
            await writer.drain()
            if self.moment == "in the answer":
                async with asyncio.timeout(PATIENCE):
                    await reader.read(64)
            else:
                await asyncio.sleep(self.chance.uniform(0, 0.3))
        except (OSError, TimeoutError):
            pass  # whoever goes anyway does not mind
        finally:
            if self.reset and not writer.transport.is_closing():
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return Outcome(name, began, time.monotonic(), GONE, right=True)
