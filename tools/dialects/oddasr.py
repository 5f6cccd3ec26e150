"""OddASR's live protocol, on a port of its own."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from tools.dialects.hearing import Said
from tools.dialects.websocket import WebSocketSession

_SUCCESS = 0


class OddasrSession(WebSocketSession):
    """One session. The last thing that a server says is a sentence END, which nobody spoke: it has no number of
    its own."""

    path: ClassVar[str] = "/v1/asr"
    port: ClassVar[int | None] = 8101
    can_say: ClassVar[frozenset[str]] = frozenset({"language", "model", "hotwords", "token", "silence", "speakers"})
    _last = 0

    async def _begin(self) -> None:
        wishes = self.wishes
        said = {"language": wishes.language, "model": wishes.model, "max_sentence_silence": wishes.silence}
        start: dict[str, Any] = {"name": "StartTranscription", "message_id": "", "token": wishes.token or ""}
        start |= {"task_id": "", "format": "pcm", "sample_rate": self.rate}
        start |= {name: value for name, value in said.items() if value is not None}
        start |= {"hotwords": list(wishes.hotwords)} if wishes.hotwords else {}
        start |= {"enable_speaker_diarization": True} if wishes.speakers else {}
        await self._send(start)
        await self._until_begun()

    async def _sound(self, data: bytes) -> None:
        await self._send(data)

    async def _end(self) -> None:
        await self._send({"name": "STOP_SESSION_REQ"})

    def _hear(self, message: dict[str, Any]) -> None:
        at, header = time.perf_counter(), message["header"]
        if header["status"] != _SUCCESS:
            self._has_failed(header["status"], header.get("status_text", ""))
            return
        told, name = message.get("payload") or {}, header["name"]
        if name == "SentenceBegin":
            self._has_begun()
        elif name == "TranscriptionResultChanged":
            self._say(Said("partial", told["index"], at, told["result"], told["begin_time"] / 1000))
        elif name == "SentenceEnd" and told["result"] == "END" and told["index"] <= self._last:
            self._has_finished()
        elif name == "SentenceEnd":
            start, end = told["begin_time"] / 1000, told.get("end_time")
            seconds = None if end is None else end / 1000
            self._last = told["index"]
            self._say(Said("final", told["index"], at, told["result"], start, seconds, None, told.get("speaker")))
