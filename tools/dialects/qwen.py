"""The Qwen protocol: a start, sound, a stop, and what was said in segments."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from tools.dialects.hearing import Said
from tools.dialects.websocket import WebSocketSession


class QwenSession(WebSocketSession):
    """One session. The server counts segments from 0."""

    path: ClassVar[str] = "/ws/v1/asr/qwen"
    can_say: ClassVar[frozenset[str]] = frozenset({"language", "model", "hotwords", "token", "silence", "speakers"})
    _last = 0

    async def _begin(self) -> None:
        wishes = self.wishes
        said = {"language": wishes.language, "model": wishes.model, "max_sentence_silence": wishes.silence}
        payload: dict[str, Any] = {"format": "pcm", "sample_rate": self.rate}
        payload |= {name: value for name, value in said.items() if value is not None}
        payload |= {"context": ", ".join(wishes.hotwords)} if wishes.hotwords else {}
        payload |= {"enable_speaker_diarization": True} if wishes.speakers else {}
        await self._send({"type": "start", "payload": payload})
        await self._until_begun()

    async def _sound(self, data: bytes) -> None:
        await self._send(data)

    async def _end(self) -> None:
        await self._send({"type": "stop"})

    def _hear(self, message: dict[str, Any]) -> None:
        at, kind = time.perf_counter(), message["type"]
        if kind == "started":
            self._has_begun()
        elif kind == "segment_start":
            self._say(Said("started", message["segment_index"] + 1, at, start=message.get("start")))
        elif kind == "result":
            for result in message["results"]:
                start = result.get("start")
                self._say(Said("partial", result["segment_index"] + 1, at, result["current_segment_text"], start))
        elif kind == "segment_end":
            result = message["result"]
            self._final(message["segment_index"], result["segment_text"], at, result)
        elif kind == "final":
            for segment in message["result"]["segments"]:  # the last one has no message of its own
                if segment["index"] + 1 > self._last:
                    self._final(segment["index"], segment["text"], at, segment)
            self._has_finished()
        elif kind == "error":
            self._has_failed(message["error_code"], message["message"])

    def _final(self, number: int, text: str, at: float, told: dict[str, Any]) -> None:
        self._last = number + 1
        self._say(Said("final", number + 1, at, text, told.get("start"), told.get("end"), None, told.get("speaker")))
