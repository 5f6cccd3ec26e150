"""vLLM's realtime protocol: one text for all of the sound."""

from __future__ import annotations

import base64
import time
from typing import Any, ClassVar

import numpy as np
import soxr

from tools.dialects.hearing import Said
from tools.dialects.websocket import WebSocketSession

RATE = 16_000


class VllmSession(WebSocketSession):
    """One session. The settings are not confirmed, so that a refusal comes while it is played. vLLM itself
    insists on a model, and has hotwords for files only."""

    path: ClassVar[str] = "/v1/realtime"
    half_a_message: ClassVar[bytes] = b"\x81\xfe\x20\x00" + bytes(100)
    can_say: ClassVar[frozenset[str]] = frozenset({"language", "model", "hotwords", "token"})
    _text = ""

    async def _begin(self) -> None:
        wishes = self.wishes
        self._resampler = soxr.ResampleStream(self.rate, RATE, 1, dtype="int16") if self.rate != RATE else None
        await self._until_begun()
        said = {"language": wishes.language, "hotwords": ", ".join(wishes.hotwords)}
        known = {name: value for name, value in said.items() if value}
        await self._send({"type": "session.update", "model": wishes.model or "whisper-1"} | known)
        await self._send({"type": "input_audio_buffer.commit"})

    async def _sound(self, data: bytes) -> None:
        samples = np.frombuffer(data, "<i2").astype(np.int16)
        await self._append(self._resampler.resample_chunk(samples) if self._resampler else samples)

    async def _append(self, samples: np.ndarray[Any, np.dtype[np.int16]]) -> None:
        if len(samples):
            audio = base64.b64encode(samples.astype("<i2").tobytes()).decode()
            await self._send({"type": "input_audio_buffer.append", "audio": audio})

    async def _end(self) -> None:
        if self._resampler:
            await self._append(self._resampler.resample_chunk(np.zeros(0, np.int16), last=True))
        await self._send({"type": "input_audio_buffer.commit", "final": True})

    def _hear(self, message: dict[str, Any]) -> None:
        at, kind = time.perf_counter(), message["type"]
        if kind == "session.created":
            self._has_begun()
        elif kind == "transcription.delta":
            self._text += message["delta"]
            self._say(Said("partial", 1, at, self._text))
        elif kind == "transcription.done":
            self._say(Said("final", 1, at, message["text"]))
            self._has_finished()
        elif kind == "error":
            error = message["error"]  # a text; OpenAI's shape comes from a server that does not know this dialect
            told: dict[str, Any] = error if isinstance(error, dict) else {"message": error, "code": message.get("code")}
            self._has_failed(told.get("code") or "error", str(told["message"]))
