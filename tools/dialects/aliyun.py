"""Alibaba's live protocol (SpeechTranscriber)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from tools.dialects.hearing import Heard, Said, Wishes
from tools.dialects.session import PATIENCE, RATE, Tell
from tools.dialects.websocket import WebSocketSession

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Sixteen = NDArray[np.int16]

_FINAL, _PARTIAL, _BEGIN = "SentenceEnd", "TranscriptionResultChanged", "SentenceBegin"


@dataclass(frozen=True, slots=True)
class Message:
    """What the server said. `at` is when it came, in seconds of time.perf_counter."""

    at: float
    header: Mapping[str, Any]
    payload: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What kind of message it is."""
        return str(self.header["name"])


@dataclass(slots=True)
class Messages(Heard):
    """What was heard, and the protocol's own messages, too."""

    messages: list[Message] = field(default_factory=list)

    @property
    def finals(self) -> list[Message]:
        """Sentences."""
        return [message for message in self.messages if message.name == _FINAL]

    @property
    def partials(self) -> list[Message]:
        """Texts that were not final."""
        return [message for message in self.messages if message.name == _PARTIAL]


class LiveClient(WebSocketSession):
    """One session; `payload` goes into the start message as it is."""

    path: ClassVar[str] = "/ws/v1/asr"
    can_say: ClassVar[frozenset[str]] = frozenset({"language", "model", "hotwords", "token", "silence", "speakers"})

    def __init__(
        self, url: str, wishes: Wishes | None = None, *, rate: int = RATE, tell: Tell | None = None, **payload: Any
    ) -> None:
        super().__init__(url, wishes, rate=rate, tell=tell)
        self.heard: Messages = Messages()
        self.task_id = uuid.uuid4().hex
        self._payload = self._start() | payload
        self._begins: dict[int, float] = {}

    def _start(self) -> dict[str, Any]:
        wishes = self.wishes
        start: dict[str, Any] = {"format": "pcm", "sample_rate": self.rate}
        start["enable_intermediate_result"] = wishes.guesses
        said = {"language": wishes.language, "model": wishes.model, "max_sentence_silence": wishes.silence}
        start |= {name: value for name, value in said.items() if value is not None}
        start |= {"hotwords": list(wishes.hotwords)} if wishes.hotwords else {}
        return start | ({"enable_speaker_diarization": True} if wishes.speakers else {})

    @property
    def _headers(self) -> dict[str, str]:
        return {"X-NLS-Token": self.wishes.token} if self.wishes.token else {}

    async def _begin(self) -> None:
        await self._command("StartTranscription", self._payload)
        await self._until_begun()

    async def _sound(self, data: bytes) -> None:
        await self._send(data)

    async def _end(self) -> None:
        await self._command("StopTranscription")

    async def _command(self, name: str, payload: Mapping[str, Any] | None = None) -> None:
        header = {
            "message_id": uuid.uuid4().hex,
            "task_id": self.task_id,
            "namespace": "SpeechTranscriber",
            "name": name,
            "appkey": "any",
        }
        await self._send({"header": header} | ({"payload": payload} if payload else {}))

    def _hear(self, message: dict[str, Any]) -> None:
        said = Message(time.perf_counter(), message["header"], message.get("payload", {}))
        self.heard.messages.append(said)
        if said.name == "TranscriptionStarted":
            self._has_begun()
        elif said.name == "TranscriptionCompleted":
            self._has_finished()
        elif said.name == "TaskFailed":
            self._has_failed(said.header["status"], said.header.get("status_text", ""))
        elif said.name in {_BEGIN, _PARTIAL, _FINAL}:
            self._say(self._sentence(said))

    def _sentence(self, message: Message) -> Said:
        told, index = message.payload, int(message.payload["index"])
        if message.name == _BEGIN:
            self._begins[index] = told["time"] / 1000
            return Said("started", index, message.at, start=self._begins[index])
        text, start = str(told["result"]), self._begins.get(index)
        if message.name == _PARTIAL:
            return Said("partial", index, message.at, text, start)
        words = told.get("words") or []
        return Said(
            "final",
            index,
            message.at,
            text,
            told["begin_time"] / 1000 if "begin_time" in told else start,
            words[-1]["endTime"] / 1000 if words else None,
            told["time"] / 1000,
            told.get("speaker"),
        )


async def listen(
    url: str,
    samples: Sixteen,
    *,
    pace: float | None = None,
    patience: float = PATIENCE,
    rate: int = RATE,
    **payload: Any,
) -> Messages:
    """A whole session: start, play, stop. Raises StreamFailedError."""
    async with LiveClient(url, rate=rate, **payload) as client:
        await client.play(samples, pace)
        await client.stop(patience)
        return client.heard
