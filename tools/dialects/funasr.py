"""FunASR's runtime protocol, in two passes."""

from __future__ import annotations

import json
import time
from typing import Any, ClassVar

from tools.dialects.hearing import Said
from tools.dialects.websocket import WebSocketSession

_WEIGHT = 20
"""Of a hotword, as FunASR's examples have it."""


class FunasrSession(WebSocketSession):
    """One recording. The server says nothing when it begins, so that a refusal comes while it is played."""

    path: ClassVar[str] = "/ws/funasr"
    can_say: ClassVar[frozenset[str]] = frozenset({"language", "model", "hotwords", "token", "speakers"})
    _index = 1
    _text = ""

    async def _begin(self) -> None:
        wishes = self.wishes
        said = {"language": wishes.language, "model": wishes.model}
        opening: dict[str, Any] = {"mode": "2pass", "wav_format": "pcm", "audio_fs": self.rate, "is_speaking": True}
        opening |= {name: value for name, value in said.items() if value is not None}
        opening |= (
            {"hotwords": json.dumps(dict.fromkeys(wishes.hotwords, _WEIGHT), ensure_ascii=False)}
            if wishes.hotwords
            else {}
        )
        opening |= {"enable_speaker_diarization": True} if wishes.speakers else {}
        await self._send(opening)

    async def _sound(self, data: bytes) -> None:
        await self._send(data)

    async def _end(self) -> None:
        await self._send({"is_speaking": False})

    def _hear(self, message: dict[str, Any]) -> None:
        if error := message.get("error"):
            told = error if isinstance(error, dict) else {"code": "error", "message": str(error)}
            self._has_failed(str(told["code"]), str(told["message"]))
            return
        at, text = time.perf_counter(), str(message.get("text", ""))
        if message["mode"] == "2pass-online" and text:
            self._text += text  # each says only what is new
            self._say(Said("partial", self._index, at, self._text))
        elif message["mode"] == "2pass-offline":
            self._final(message, at, text)
        if message.get("is_final") and self.heard.stopped < at:
            self._has_finished()

    def _final(self, message: dict[str, Any], at: float, text: str) -> None:
        pairs = json.loads(message.get("timestamp") or "[]")
        parts = message.get("stamp_sents") or []
        start = pairs[0][0] if pairs else parts[0]["start"] if parts else None
        end = pairs[-1][1] if pairs else parts[-1]["end"] if parts else None
        if text or self._text:
            told = Said("final", self._index, at, text, _seconds(start), _seconds(end), None, message.get("spk_name"))
            self._say(told)
            self._index += 1
        self._text = ""


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
