"""Wyoming, Home Assistant's protocol: lines of JSON and bytes over TCP, one text for all of the sound."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, ClassVar

from tools.dialects.hearing import Said, StreamFailedError
from tools.dialects.session import PATIENCE, Session

_LONGEST_LINE = 1024 * 1024


class WyomingSession(Session):
    """One transcription on a connection of its own."""

    port: ClassVar[int | None] = 10300
    half_a_message: ClassVar[bytes] = b'{"type": "audio-chunk", "data_length": 44, "payload_len'
    can_say: ClassVar[frozenset[str]] = frozenset({"language", "model", "hotwords"})
    _text = ""

    @property
    def _format(self) -> dict[str, int]:
        return {"rate": self.rate, "width": 2, "channels": 1}

    @property
    def _transport(self) -> asyncio.WriteTransport:
        return self._writer.transport

    async def _connect(self) -> None:
        where = self._where
        try:
            async with asyncio.timeout(PATIENCE):
                self._reader, self._writer = await asyncio.open_connection(
                    where.hostname, where.port, limit=_LONGEST_LINE
                )
        except (OSError, TimeoutError) as error:
            shown = f"tcp://{where.hostname}:{where.port}"
            raise StreamFailedError("unreachable", f"nothing answers at {shown} ({error})") from error

    async def _disconnect(self) -> None:
        self._writer.close()
        self._reader.feed_eof()  # whoever reads learns of it, too

    async def _begin(self) -> None:
        wishes = self.wishes
        said = {"name": wishes.model, "language": wishes.language, "transcript_terms": list(wishes.hotwords) or None}
        await self._send("transcribe", {name: value for name, value in said.items() if value})
        await self._send("audio-start", self._format)

    async def _sound(self, data: bytes) -> None:
        await self._send("audio-chunk", self._format, data)

    async def _end(self) -> None:
        await self._send("audio-stop")

    async def _send(self, kind: str, data: dict[str, Any] | None = None, payload: bytes = b"") -> None:
        body = json.dumps(data, ensure_ascii=False).encode() if data else b""
        head: dict[str, Any] = {"type": kind, "version": "1.5.0"}
        head |= {"data_length": len(body)} if body else {}
        head |= {"payload_length": len(payload)} if payload else {}
        if self._over:
            raise ConnectionError("the server closed it")
        self._writer.write(json.dumps(head).encode() + b"\n" + body + payload)
        await self._writer.drain()

    async def _read(self) -> None:
        try:
            while line := await self._reader.readline():
                head = json.loads(line)
                data = head.get("data") or {}
                data |= json.loads(await self._reader.readexactly(head.get("data_length") or 0) or b"{}")
                await self._reader.readexactly(head.get("payload_length") or 0)
                self._hear(head["type"], data)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass

    def _hear(self, kind: str, data: dict[str, Any]) -> None:
        at = time.perf_counter()
        if kind == "transcript-chunk":
            self._text += data["text"]
            self._say(Said("partial", 1, at, self._text))
        elif kind == "transcript":
            self._say(Said("final", 1, at, data["text"]))
            self._has_finished()
        elif kind == "error":
            self._has_failed(data.get("code") or "error", data["text"])
