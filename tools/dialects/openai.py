"""OpenAI's realtime transcription, with the server telling speech from silence."""

from __future__ import annotations

import base64
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import soxr

from tools.dialects.hearing import Said
from tools.dialects.websocket import WebSocketSession

RATE = 24_000
"""Hz; the only rate that every server of this protocol takes."""


@dataclass(slots=True)
class _Item:
    """An utterance."""

    index: int
    text: str = ""
    start: float | None = None
    end: float | None = None
    done: bool = False
    speakers: list[str] = field(default_factory=list[str])


class OpenaiSession(WebSocketSession):
    """One session. There is no word for the end: what is left is committed, and the answer to a clear that follows says
    that everything before it was listened to; then the texts of all items are awaited."""

    path: ClassVar[str] = "/v1/realtime?intent=transcription"
    half_a_message: ClassVar[bytes] = b"\x81\xfe\x20\x00" + bytes(100)
    can_say: ClassVar[frozenset[str]] = frozenset({"language", "model", "hotwords", "token", "silence", "speakers"})

    async def _begin(self) -> None:
        self._items: dict[str, _Item] = {}
        self._heard_all = False
        self._commit = f"event_{uuid.uuid4().hex}"
        self._resampler = soxr.ResampleStream(self.rate, RATE, 1, dtype="int16")
        await self._send({"type": "session.update", "session": self._session()})
        await self._until_begun()

    def _session(self) -> dict[str, Any]:
        wishes = self.wishes
        said: dict[str, Any] = {"model": wishes.model, "language": wishes.language}
        said["keywords"] = list(wishes.hotwords)
        said["enable_speaker_diarization"] = wishes.speakers
        detection = {"type": "server_vad"} | ({"silence_duration_ms": wishes.silence} if wishes.silence else {})
        listening = {
            "format": {"type": "audio/pcm", "rate": RATE},
            "transcription": {"model": "whisper-1"} | {name: value for name, value in said.items() if value},
            "turn_detection": detection,
        }
        return {"type": "transcription", "audio": {"input": listening}}

    async def _sound(self, data: bytes) -> None:
        await self._append(self._resampler.resample_chunk(np.frombuffer(data, "<i2").astype(np.int16)))

    async def _append(self, samples: np.ndarray[Any, np.dtype[np.int16]]) -> None:
        if len(samples):
            audio = base64.b64encode(samples.astype("<i2").tobytes()).decode()
            await self._send({"type": "input_audio_buffer.append", "audio": audio})

    async def _end(self) -> None:
        await self._append(self._resampler.resample_chunk(np.zeros(0, np.int16), last=True))
        await self._send({"type": "input_audio_buffer.commit", "event_id": self._commit})
        await self._send({"type": "input_audio_buffer.clear"})

    def _hear(self, message: dict[str, Any]) -> None:
        at, kind = time.perf_counter(), str(message["type"])
        if kind == "session.updated":
            self._has_begun()
        elif kind == "input_audio_buffer.cleared":
            self._heard_all = True
        elif kind == "error":
            self._refused(message["error"])
        elif "item_id" in message:
            self._of_item(kind.rpartition(".")[2], message, at)
        if self._heard_all and all(item.done for item in self._items.values()):
            self._has_finished()

    def _refused(self, error: dict[str, Any]) -> None:
        nothing_left = error.get("code") == "input_audio_buffer_commit_empty" and error.get("event_id") == self._commit
        if not nothing_left:
            self._has_failed(error.get("code") or error["type"], error["message"])

    def _of_item(self, kind: str, message: dict[str, Any], at: float) -> None:
        item = self._items.setdefault(message["item_id"], _Item(len(self._items) + 1))
        if kind == "speech_started":
            item.start = message["audio_start_ms"] / 1000
            self._say(Said("started", item.index, at, start=item.start))
        elif kind == "speech_stopped":
            item.end = message["audio_end_ms"] / 1000
        elif kind == "delta":
            item.text += message["delta"]
            self._say(Said("partial", item.index, at, item.text, item.start))
        elif kind == "segment":
            item.speakers.append(message["speaker"])
        elif kind == "completed":
            item.done = True
            speaker = ", ".join(dict.fromkeys(item.speakers)) or None
            self._say(Said("final", item.index, at, message["transcript"], item.start, item.end, None, speaker))
        elif kind == "failed":
            item.done = True
            self._has_failed(message["error"].get("code") or "failed", message["error"]["message"])
